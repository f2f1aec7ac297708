// What a report may say.
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "countermark/detect/regions.h"
#include "countermark/detect/tails.h"
#include "countermark/evidence/report.h"
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
  if (!(report.coverage_floor >= 0 && report.coverage_floor <= 1)) return Wrong("coverage_floor", "0 to 1 is expected");
  return absl::OkStatus();
}

absl::Status ValidateReadings(const Report& report) {
  if (report.readings.empty()) return Wrong("readings", "at least one is expected");
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (size_t i = 0; i < report.readings.size(); ++i) {
    const ReportReading& reading = report.readings[i];
    const std::string at = Cat("readings[", i, "]");
    if (reading.view != "raw" && reading.view != "cleaned") return Wrong(at + ".view", "raw or cleaned is expected");
    if (reading.tokenizer_sha256.empty()) {
      if (reading.view != "raw" || report.readings.size() > 1) return Wrong(at, "token ids have one reading, the raw one");
    } else if (!IsLowerHex(reading.tokenizer_sha256, 32)) {
      return Wrong(at + ".tokenizer_sha256", "64 lower-case hex digits are expected");
    }
    if (!seen.emplace(reading.view, reading.tokenizer_sha256).second) return Wrong(at, "the same reading twice");
  }
  // Declared for fewer, every value would be corrected too little.
  const TestLedger& ledger = report.ledger;
  if (ledger.views > report.readings.size() || ledger.tokenizers > report.readings.size() || ledger.views * ledger.tokenizers != report.readings.size()) {
    return Wrong("readings", "as many as the ledger's views times its tokenizers are expected");
  }
  return absl::OkStatus();
}

absl::Status ValidateLedger(const TestLedger& ledger) {
  const std::pair<const char*, uint64_t> factors[] = {
      {"keys", ledger.keys}, {"channels", ledger.channels}, {"schemes", ledger.schemes}, {"views", ledger.views}, {"tokenizers", ledger.tokenizers}};
  for (const auto& [name, value] : factors) {
    if (value < 1 || value > kMaxCount) return Wrong(Cat("ledger.", name), "1 to 2^53 is expected");
  }
  const std::pair<const char*, uint64_t> counts[] = {
      {"records", ledger.records}, {"candidates", ledger.candidates}, {"regions", ledger.regions}, {"weighted", ledger.weighted}};
  for (const auto& [name, value] : counts) {
    if (value > kMaxCount) return Wrong(Cat("ledger.", name), "0 to 2^53 is expected");
  }
  // Not the signer's to choose: fewer would give each question more than its part of alpha.
  if (ledger.questions != TestLedger::QuestionsOf(ledger.records, ledger.regions > 0, ledger.weighted > 0)) {
    return Wrong("ledger.questions", "1 is expected where records is 1, and else 2; twice that with weighted tests; and 1 more with regions");
  }
  return absl::OkStatus();
}

absl::Status ValidateName(const Report& report, const std::string& at, uint64_t record, const std::string& subject, uint64_t reading, const std::string& name) {
  if (record > kMaxCount) return Wrong(at + ".record", "above 2^53");
  if (record == 0 && !subject.empty()) return Wrong(at + ".subject", "a pooled test (record 0) has no subject");
  if (reading >= report.readings.size()) return Wrong(at + ".reading", "there is no such reading");
  if (name.empty()) return Wrong(at + ".name", "empty");
  return absl::OkStatus();
}

absl::Status ValidateCount(const Report& report, const std::string& at, const ChannelCount& count) {
  if (count.scored > kMaxCount) return Wrong(at + ".scored", "above 2^53");
  if (!PossibleCount(count, report.mark)) return Wrong(at + ".statistic", "more than the scored pairs can have under this scheme");
  return absl::OkStatus();
}

absl::Status ValidateValues(const std::string& at, std::initializer_list<double> probabilities, std::initializer_list<double> others) {
  for (const auto& values : {probabilities, others}) {
    for (const double value : values) {
      if (!std::isfinite(value)) return Wrong(at, "a value that is not a finite number");
    }
  }
  for (const double log10_p : probabilities) {
    if (log10_p > 0) return Wrong(at, "a probability above 1");
  }
  return absl::OkStatus();
}

// What is listed of one subject in one reading, held against what the ledger counts.
struct Names {
  std::set<std::string_view> channels, accounts;

  absl::Status Add(const std::string& at, TestKind kind, const std::string& name, const TestLedger& ledger) {
    std::set<std::string_view>& names = kind == TestKind::kChannel ? channels : accounts;
    if (!names.insert(name).second) return Wrong(at, Cat("the same test twice ('", name, "')"));
    if (names.size() > (kind == TestKind::kChannel ? ledger.channels : ledger.candidates)) return Wrong(at, "more tests of one subject than the ledger counts");
    return absl::OkStatus();
  }
};

absl::Status ValidateTests(const Report& report) {
  std::map<std::pair<uint64_t, uint64_t>, Names> subjects;  // of record and reading
  for (size_t i = 0; i < report.tests.size(); ++i) {
    const ReportTest& test = report.tests[i];
    const std::string at = Cat("tests[", i, "]");
    CM_RETURN_IF_ERROR(ValidateName(report, at, test.record, test.subject, test.reading, test.name));
    CM_RETURN_IF_ERROR(ValidateCount(report, at, test.count));
    CM_RETURN_IF_ERROR(ValidateValues(at, {test.log10_p, test.log10_p_adjusted}, {test.log10_e}));
    CM_RETURN_IF_ERROR((subjects[{test.record, test.reading}].Add(at, test.kind, test.name, report.ledger)));
  }
  return absl::OkStatus();
}

absl::Status ValidateRegions(const Report& report) {
  if (report.regions.empty()) return absl::OkStatus();
  if (report.ledger.regions == 0) return Wrong("ledger.regions", "0, and there are regions");
  const ChannelCounts searched = ChannelCountsOf(report);
  std::set<std::tuple<uint64_t, uint64_t, std::string_view, uint64_t, uint64_t>> seen;
  for (size_t i = 0; i < report.regions.size(); ++i) {
    const ReportRegion& region = report.regions[i];
    const std::string at = Cat("regions[", i, "]");
    if (region.record == 0) return Wrong(at + ".record", "a passage lies in a record, from 1");
    CM_RETURN_IF_ERROR(ValidateName(report, at, region.record, region.subject, region.reading, region.name));
    CM_RETURN_IF_ERROR(ValidateCount(report, at, region.count));
    CM_RETURN_IF_ERROR(ValidateValues(at, {region.log10_p, region.log10_p_adjusted}, {}));
    if (region.begin >= region.end || region.end > kMaxCount) return Wrong(at, "begin below end, and end at most 2^53, are expected");
    const auto whole = searched.find({region.record, region.reading, region.name});
    if (whole == searched.end()) return Wrong(at, "the test of its record, reading and channel is not listed, and says how much was searched");
    const ChannelCount& all = *whole->second;
    if (RegionTries(all.scored, region.count.scored) == 0 || region.count.statistic > all.statistic) return Wrong(at, "a part of the record's own count is expected");
    if (!seen.emplace(region.record, region.reading, region.name, region.begin, region.end).second) return Wrong(at, "the same region twice");
  }
  return absl::OkStatus();
}

absl::Status ValidateWeighted(const Report& report) {
  if (!report.weighted.empty() && report.ledger.weighted == 0) return Wrong("ledger.weighted", "0, and there are weighted tests");
  std::map<std::tuple<uint64_t, uint64_t, std::string_view, std::string_view>, Names> subjects;  // of record, reading, model and rule
  std::map<std::pair<uint64_t, uint64_t>, std::set<std::pair<std::string_view, std::string_view>>> ways;
  for (size_t i = 0; i < report.weighted.size(); ++i) {
    const ReportWeighted& test = report.weighted[i];
    const std::string at = Cat("weighted[", i, "]");
    CM_RETURN_IF_ERROR(ValidateName(report, at, test.record, test.subject, test.reading, test.name));
    if (test.scored > kMaxCount) return Wrong(at + ".scored", "above 2^53");
    CM_RETURN_IF_ERROR(ValidateValues(at, {test.log10_p, test.log10_p_adjusted, test.display_log10_p}, {test.lambda, test.log_mgf}));
    if (!IsLowerHex(test.model_sha256, 32)) return Wrong(at + ".model_sha256", "64 lower-case hex digits are expected");
    if (test.rule.empty()) return Wrong(at + ".rule", "empty");
    if (!(test.lambda > 0)) return Wrong(at + ".lambda", "above 0 is expected");
    if (test.log_mgf < 0) return Wrong(at + ".log_mgf", "0 or more is expected: scores and weights are not negative");
    if (test.scored == 0 && (test.sum != 0 || test.log_mgf != 0)) return Wrong(at, "a sum of no pairs");
    CM_RETURN_IF_ERROR((subjects[{test.record, test.reading, test.model_sha256, test.rule}].Add(at, test.kind, test.name, report.ledger)));
    std::set<std::pair<std::string_view, std::string_view>>& of_subject = ways[{test.record, test.reading}];
    of_subject.emplace(test.model_sha256, test.rule);
    if (of_subject.size() > report.ledger.weighted) return Wrong(at, "more weights of one subject than the ledger counts");
  }
  return absl::OkStatus();
}

absl::Status ValidateRecords(const Report& report) {
  std::set<uint64_t> records;
  for (const ReportTest& test : report.tests) records.insert(test.record);
  for (const ReportWeighted& test : report.weighted) records.insert(test.record);
  records.erase(0);
  if (report.ledger.records > 0 && records.size() > report.ledger.records) return Wrong("tests", "more records than the ledger counts");
  return absl::OkStatus();
}

// A single record is its own pool: what stands with either is said of one text, and the ledger must count all of it.
absl::Status ValidateSingleNames(const Report& report) {
  using Way = std::tuple<std::string_view, std::string_view>;  // model and rule
  const TestLedger& ledger = report.ledger;
  std::map<std::pair<uint64_t, TestKind>, std::set<std::string_view>> names;  // of reading
  for (const ReportTest& test : report.tests) {
    std::set<std::string_view>& of = names[{test.reading, test.kind}];
    of.insert(test.name);
    if (of.size() > (test.kind == TestKind::kChannel ? ledger.channels : ledger.candidates)) return Wrong("tests", "more tests of the single record and its pool than the ledger counts");
  }
  std::map<std::tuple<uint64_t, TestKind, Way>, std::set<std::string_view>> weighted;
  std::map<uint64_t, std::set<Way>> ways;
  for (const ReportWeighted& test : report.weighted) {
    const Way way(test.model_sha256, test.rule);
    std::set<std::string_view>& of = weighted[{test.reading, test.kind, way}];
    of.insert(test.name);
    std::set<Way>& of_reading = ways[test.reading];
    of_reading.insert(way);
    if (of_reading.size() > ledger.weighted || of.size() > (test.kind == TestKind::kChannel ? ledger.channels : ledger.candidates)) {
      return Wrong("weighted", "more tests of the single record and its pool than the ledger counts");
    }
  }
  return absl::OkStatus();
}

// Two counts of it would be two tests, and `questions` corrects for one.
absl::Status ValidateSingleRecord(const Report& report) {
  if (report.ledger.records != 1) return absl::OkStatus();
  CM_RETURN_IF_ERROR(ValidateSingleNames(report));
  const auto compare = [](const auto& tests, const char* member, const auto& key, const auto& same) -> absl::Status {
    std::map<decltype(key(tests[0])), size_t> pool;
    for (size_t i = 0; i < tests.size(); ++i) {
      if (tests[i].pooled()) pool.emplace(key(tests[i]), i);
    }
    for (size_t i = 0; i < tests.size(); ++i) {
      if (tests[i].pooled()) continue;
      const auto it = pool.find(key(tests[i]));
      if (it != pool.end() && !same(tests[it->second], tests[i])) {
        return Wrong(Cat(member, "[", i, "]"), Cat("where ledger.records is 1, the record's count is the pool's ('", tests[i].name, "')"));
      }
    }
    return absl::OkStatus();
  };
  CM_RETURN_IF_ERROR(compare(
      report.tests, "tests", [](const ReportTest& test) { return std::tuple(test.reading, test.kind, std::string_view(test.name)); },
      [](const ReportTest& a, const ReportTest& b) { return a.count.scored == b.count.scored && a.count.statistic == b.count.statistic; }));
  return compare(
      report.weighted, "weighted",
      [](const ReportWeighted& test) {
        return std::tuple(test.reading, test.kind, std::string_view(test.name), std::string_view(test.model_sha256), std::string_view(test.rule));
      },
      [](const ReportWeighted& a, const ReportWeighted& b) {
        return std::tie(a.scored, a.lambda, a.sum, a.log_mgf) == std::tie(b.scored, b.lambda, b.sum, b.log_mgf);
      });
}

}  // namespace

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
  CM_RETURN_IF_ERROR(ValidateReadings(report));
  CM_RETURN_IF_ERROR(ValidateTests(report));
  CM_RETURN_IF_ERROR(ValidateRegions(report));
  CM_RETURN_IF_ERROR(ValidateWeighted(report));
  CM_RETURN_IF_ERROR(ValidateRecords(report));
  return ValidateSingleRecord(report);
}

}  // namespace countermark
