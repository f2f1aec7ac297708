// What a report may say, and how its values follow from its counts (rule 1 in report.h).
#include "countermark/evidence/report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "countermark/detect/tails.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/evidence/rule.h"

namespace countermark {
namespace {

constexpr uint64_t kMaxCount = uint64_t{1} << 53;  // what every JSON reader holds exactly

absl::Status Wrong(const std::string& member, std::string_view what) { return absl::InvalidArgumentError(Cat(member, ": ", what)); }

// 2026-11-01T00:00:00Z, each field in its range.
bool IsUtcTime(std::string_view text) {
  constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:ddZ";
  if (text.size() != kForm.size()) return false;
  for (size_t i = 0; i < kForm.size(); ++i) {
    if (kForm[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != kForm[i]) return false;
  }
  const auto field = [&](size_t at) { return (text[at] - '0') * 10 + (text[at + 1] - '0'); };
  return field(5) >= 1 && field(5) <= 12 && field(8) >= 1 && field(8) <= 31 && field(11) <= 23 && field(14) <= 59 && field(17) <= 60;
}

absl::Status ValidateMark(const Report& report) {
  const MarkParameters& mark = report.mark;
  if (mark.window < kMinWindow || mark.window > kMaxWindow) return Wrong("parameters.window", "1 to 4 is expected");
  if (mark.green < 1 || mark.green > 255) return Wrong("parameters.green", "1 to 255 is expected");
  if (mark.layers < 1 || mark.layers > kMaxLayers) return Wrong("parameters.layers", "1 to 32 is expected");
  if (!(mark.delta > 0 && mark.delta <= 16)) return Wrong("parameters.delta", "above 0 and at most 16 is expected");
  if (report.weights.empty() || report.weights.size() > kMaxChannels) return Wrong("parameters.weights", "one to four are expected");
  uint64_t sum = 0;
  for (const uint32_t weight : report.weights) sum += weight;
  if (sum != 65536) return Wrong("parameters.weights", "a sum of 65536 is expected");
  return absl::OkStatus();
}

absl::Status ValidateInputs(const Report& report) {
  uint64_t records = 0;
  for (size_t i = 0; i < report.inputs.size(); ++i) {
    const ReportInput& input = report.inputs[i];
    const std::string at = Cat("inputs[", i, "]");
    if (!IsLowerHex(input.sha256, 32)) return Wrong(at + ".sha256", "64 lower-case hex digits are expected");
    if (input.bytes > kMaxCount || input.records > kMaxCount) return Wrong(at, "a count above 2^53");
    if (input.unreadable > input.records) return Wrong(at + ".unreadable", "more than the records met");
    // Declared for fewer, every record would be corrected too little. 0: not known, and the report says so.
    if (report.ledger.records > 0 && input.records > report.ledger.records - records) return Wrong(at + ".records", "more records than the ledger counts");
    records += input.records;
  }
  // A commitment binds a key to its epoch record, and cannot be opened without.
  if (!report.commitments.empty() && report.epoch_record.empty()) {
    return Wrong("commitments", "none can be without an epoch_record, which each of them covers");
  }
  std::set<std::string_view> committed;
  for (size_t i = 0; i < report.commitments.size(); ++i) {
    const ReportCommitment& commitment = report.commitments[i];
    const std::string at = Cat("commitments[", i, "]");
    if (commitment.name.empty()) return Wrong(at + ".name", "empty");
    if (!IsLowerHex(commitment.commitment, 32)) return Wrong(at + ".commitment", "64 lower-case hex digits are expected");
    if (!commitment.salt.empty() && !IsLowerHex(commitment.salt, 32)) return Wrong(at + ".salt", "64 lower-case hex digits are expected");
    if (!committed.insert(commitment.name).second) return Wrong(at + ".name", "the same name twice");
  }
  if (!report.tokenizer_sha256.empty() && !IsLowerHex(report.tokenizer_sha256, 32)) {
    return Wrong("tokenizer_sha256", "64 lower-case hex digits are expected");
  }
  if (!(report.coverage_floor >= 0 && report.coverage_floor <= 1)) return Wrong("coverage_floor", "0 to 1 is expected");
  return absl::OkStatus();
}

absl::Status ValidateLedger(const TestLedger& ledger) {
  const std::pair<const char*, uint64_t> factors[] = {{"keys", ledger.keys},       {"channels", ledger.channels}, {"schemes", ledger.schemes},
                                                      {"views", ledger.views},     {"regions", ledger.regions},   {"tokenizers", ledger.tokenizers}};
  for (const auto& [name, value] : factors) {
    if (value < 1 || value > kMaxCount) return Wrong(Cat("ledger.", name), "1 to 2^53 is expected");
  }
  if (ledger.records > kMaxCount) return Wrong("ledger.records", "0 to 2^53 is expected");
  if (ledger.candidates > kMaxCount) return Wrong("ledger.candidates", "0 to 2^53 is expected");
  // Not the signer's to choose: 1 would give the pool and the records a whole alpha each.
  if (ledger.questions != TestLedger::QuestionsOf(ledger.records)) {
    return Wrong("ledger.questions", "1 is expected where records is 1, and else 2");
  }
  return absl::OkStatus();
}

// A single record is its own pool: two counts of it would be two tests, and `questions` corrects for one.
absl::Status ValidateSingleRecord(const Report& report) {
  std::map<std::pair<TestKind, std::string_view>, const ChannelCount*> pooled;
  for (const ReportTest& test : report.tests) {
    if (test.pooled()) pooled.emplace(std::pair(test.kind, std::string_view(test.name)), &test.count);
  }
  for (size_t i = 0; i < report.tests.size(); ++i) {
    const ReportTest& test = report.tests[i];
    if (test.pooled()) continue;
    const auto it = pooled.find({test.kind, test.name});
    if (it != pooled.end() && (it->second->scored != test.count.scored || it->second->statistic != test.count.statistic)) {
      return Wrong(Cat("tests[", i, "]"), Cat("where ledger.records is 1, the record's count is the pool's ('", test.name, "')"));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateTests(const Report& report) {
  struct Seen {
    std::set<std::string_view> channels, accounts;
  };
  std::map<uint64_t, Seen> subjects;
  uint64_t records = 0;
  for (size_t i = 0; i < report.tests.size(); ++i) {
    const ReportTest& test = report.tests[i];
    const std::string at = Cat("tests[", i, "]");
    if (test.record > kMaxCount) return Wrong(at + ".record", "above 2^53");
    if (test.pooled() && !test.subject.empty()) return Wrong(at + ".subject", "a pooled test (record 0) has no subject");
    if (test.name.empty()) return Wrong(at + ".name", "empty");
    if (test.count.scored > kMaxCount) return Wrong(at + ".scored", "above 2^53");
    if (!PossibleCount(test.count, report.mark)) {
      return Wrong(at + ".statistic", "more than the scored pairs can have under this scheme");
    }
    const double values[] = {test.log10_p, test.log10_e, test.log10_p_adjusted};
    for (const double value : values) {
      if (!std::isfinite(value)) return Wrong(at, "a value that is not a finite number");
    }
    if (test.log10_p > 0 || test.log10_p_adjusted > 0) return Wrong(at, "a probability above 1");
    const auto [entry, fresh] = subjects.try_emplace(test.record);
    if (fresh && !test.pooled()) ++records;
    std::set<std::string_view>& names = test.kind == TestKind::kChannel ? entry->second.channels : entry->second.accounts;
    if (!names.insert(test.name).second) return Wrong(at, Cat("the same test twice ('", test.name, "')"));
    const uint64_t counted = test.kind == TestKind::kChannel ? report.ledger.channels : report.ledger.candidates;
    if (names.size() > counted) return Wrong(at, "more tests of one subject than the ledger counts");
  }
  if (report.ledger.records > 0 && records > report.ledger.records) return Wrong("tests", "more records than the ledger counts");
  return report.ledger.records == 1 ? ValidateSingleRecord(report) : absl::OkStatus();
}

}  // namespace

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kNoEvidence: return "no evidence";
    case Verdict::kEvidence: return "evidence";
    case Verdict::kInconclusive: break;
  }
  return "inconclusive";
}

absl::Status ValidateReport(const Report& report) {
  if (report.tool.empty()) return Wrong("tool", "empty");
  if (report.version.empty()) return Wrong("version", "empty");
  if (report.format != 1) return Wrong("mark_format", Cat("this build knows format 1, not ", report.format));
  if (!IsUtcTime(report.created)) return Wrong("created", "a UTC time like 2026-11-01T00:00:00Z is expected");
  if (!(report.alpha > 0 && report.alpha < 1)) return Wrong("alpha", "above 0 and below 1 is expected");
  if (report.commitments_published > kMaxCount) return Wrong("commitments_published", "above 2^53");
  CM_RETURN_IF_ERROR(ValidateMark(report));
  CM_RETURN_IF_ERROR(ValidateInputs(report));
  CM_RETURN_IF_ERROR(ValidateLedger(report.ledger));
  return ValidateTests(report);
}

double Coverage(const Report& report) {
  double records = 0;
  double unreadable = 0;
  for (const ReportInput& input : report.inputs) {
    records += static_cast<double>(input.records);
    unreadable += static_cast<double>(input.unreadable);
  }
  return records == 0 ? 1 : (records - unreadable) / records;
}

std::vector<const ReportTest*> DecisiveTests(const Report& report) {
  const bool pool_alone = report.ledger.records == 0 &&
                          std::any_of(report.tests.begin(), report.tests.end(), [](const ReportTest& test) { return test.pooled(); });
  std::vector<const ReportTest*> tests;
  for (const ReportTest& test : report.tests) {
    if (!pool_alone || test.pooled()) tests.push_back(&test);
  }
  return tests;
}

Verdict VerdictOf(const Report& report) {
  bool scored = false;
  bool found = false;
  for (const ReportTest* test : DecisiveTests(report)) {
    scored = scored || test->count.scored > 0;
    found = found || test->log10_p_adjusted <= std::log10(report.alpha);
  }
  if (!scored || Coverage(report) < report.coverage_floor) return Verdict::kInconclusive;
  return found ? Verdict::kEvidence : Verdict::kNoEvidence;
}

double Log10Families(const TestLedger& ledger, bool pooled) {
  // A sum of logarithms: a product of factors might not fit 64 bits, and a saturated one would correct too little.
  double log10_m = 0;
  for (const uint64_t factor : {ledger.questions, ledger.keys, ledger.schemes, ledger.views, ledger.regions, ledger.tokenizers,
                                ledger.channels + (ledger.candidates > 0 ? 1 : 0), pooled || ledger.records == 0 ? 1 : ledger.records}) {
    log10_m += std::log10(static_cast<double>(factor));
  }
  return log10_m;
}

absl::Status DeriveValues(Report* report) {
  for (ReportTest& test : report->tests) test.log10_p = test.log10_e = test.log10_p_adjusted = 0;
  CM_RETURN_IF_ERROR(ValidateReport(*report));
  std::map<uint64_t, std::vector<ReportTest*>> accounts;
  for (ReportTest& test : report->tests) {
    test.log10_p = Log10P(test.count, report->mark);
    test.log10_e = Log10E(test.count, report->mark);
    if (test.kind == TestKind::kAccount) {
      accounts[test.record].push_back(&test);
    } else {
      test.log10_p_adjusted = std::min(0.0, test.log10_p + Log10Families(report->ledger, test.pooled()));
    }
  }
  std::vector<double> log10_p;
  for (const auto& [record, tests] : accounts) {
    log10_p.clear();
    for (const ReportTest* test : tests) log10_p.push_back(test->log10_p);
    const std::vector<double> holm = HolmAdjust(log10_p, report->ledger.candidates);
    const double log10_m = Log10Families(report->ledger, record == 0);
    for (size_t i = 0; i < tests.size(); ++i) tests[i]->log10_p_adjusted = std::min(0.0, holm[i] + log10_m);
  }
  report->verdict = VerdictOf(*report);
  return absl::OkStatus();
}

}  // namespace countermark
