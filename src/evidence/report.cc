// How a report's values follow from its counts (rule 2 in report.h).
#include "countermark/evidence/report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include "countermark/detect/regions.h"
#include "countermark/detect/tails.h"
#include "countermark/detect/weighted.h"
#include "src/base/status_macros.h"
#include "src/evidence/rule.h"

namespace countermark {
namespace {

// Holm within each family of accounts, then the families; a channel is a family of its own. T: a test with record, kind, log10_p and log10_p_adjusted.
template <typename T, typename Family>
void Adjust(std::vector<T>& tests, const TestLedger& ledger, double log10_more, const Family& family_of) {
  std::map<decltype(family_of(tests[0])), std::vector<T*>> families;
  for (T& test : tests) {
    if (test.kind == TestKind::kAccount) {
      families[family_of(test)].push_back(&test);
    } else {
      test.log10_p_adjusted = std::min(0.0, test.log10_p + Log10Families(ledger, test.pooled()) + log10_more);
    }
  }
  std::vector<double> log10_p;
  for (const auto& [family, members] : families) {
    log10_p.clear();
    for (const T* test : members) log10_p.push_back(test->log10_p);
    const std::vector<double> holm = HolmAdjust(log10_p, ledger.candidates);
    const double log10_m = Log10Families(ledger, members[0]->pooled()) + log10_more;
    for (size_t i = 0; i < members.size(); ++i) members[i]->log10_p_adjusted = std::min(0.0, holm[i] + log10_m);
  }
}

void DeriveRegions(Report* report) {
  if (report->regions.empty()) return;
  const ChannelCounts searched = ChannelCountsOf(*report);
  const double log10_m = Log10Families(report->ledger, /*pooled=*/false) + std::log10(static_cast<double>(report->ledger.regions));
  for (ReportRegion& region : report->regions) {
    region.tries = RegionTries(searched.at({region.record, region.reading, region.name})->scored, region.count.scored);
    region.log10_p = Log10P(region.count, report->mark);
    region.log10_p_adjusted = std::min(0.0, region.log10_p + log10_m + std::log10(static_cast<double>(region.tries)));
  }
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

double Coverage(const Report& report) {
  double records = 0;
  double unreadable = 0;
  for (const ReportInput& input : report.inputs) {
    records += static_cast<double>(input.records);
    unreadable += static_cast<double>(input.unreadable);
  }
  return records == 0 ? 1 : (records - unreadable) / records;
}

ChannelCounts ChannelCountsOf(const Report& report) {
  ChannelCounts counts;
  for (const ReportTest& test : report.tests) {
    if (test.kind == TestKind::kChannel) counts.emplace(std::tuple(test.record, test.reading, std::string_view(test.name)), &test.count);
  }
  return counts;
}

std::vector<Claim> DecisiveClaims(const Report& report) {
  std::vector<Claim> claims;
  for (const ReportTest& test : report.tests) claims.push_back({test.record, test.kind, test.name, test.count.scored, test.log10_p_adjusted});
  for (const ReportRegion& region : report.regions) claims.push_back({region.record, TestKind::kChannel, region.name, region.count.scored, region.log10_p_adjusted});
  for (const ReportWeighted& test : report.weighted) claims.push_back({test.record, test.kind, test.name, test.scored, test.log10_p_adjusted});
  // Of a number of records that nobody knows, the best one is no evidence, whatever its value.
  if (report.ledger.records == 0) std::erase_if(claims, [](const Claim& claim) { return claim.record > 0; });
  return claims;
}

Verdict VerdictOf(const Report& report) {
  bool scored = false;
  bool found = false;
  for (const Claim& claim : DecisiveClaims(report)) {
    scored = scored || claim.scored > 0;
    found = found || claim.log10_p_adjusted <= std::log10(report.alpha);
  }
  if (!scored || Coverage(report) < report.coverage_floor) return Verdict::kInconclusive;
  return found ? Verdict::kEvidence : Verdict::kNoEvidence;
}

double Log10Families(const TestLedger& ledger, bool pooled) {
  // A sum of logarithms: a product of factors might not fit 64 bits, and a saturated one would correct too little.
  double log10_m = 0;
  for (const uint64_t factor : {ledger.questions, ledger.keys, ledger.schemes, ledger.views, ledger.tokenizers, ledger.channels + (ledger.candidates > 0 ? 1 : 0),
                                pooled || ledger.records == 0 ? 1 : ledger.records}) {
    log10_m += std::log10(static_cast<double>(factor));
  }
  return log10_m;
}

absl::Status DeriveValues(Report* report) {
  for (ReportTest& test : report->tests) test.log10_p = test.log10_e = test.log10_p_adjusted = 0;
  for (ReportRegion& region : report->regions) region.log10_p = region.log10_p_adjusted = 0;
  for (ReportWeighted& test : report->weighted) test.log10_p = test.log10_p_adjusted = 0;
  CM_RETURN_IF_ERROR(ValidateReport(*report));
  for (ReportTest& test : report->tests) {
    test.log10_p = Log10P(test.count, report->mark);
    test.log10_e = Log10E(test.count, report->mark);
  }
  Adjust(report->tests, report->ledger, 0, [](const ReportTest& test) { return std::tuple(test.record, test.reading); });
  DeriveRegions(report);
  for (ReportWeighted& test : report->weighted) {
    test.log10_p = ChernoffLog10P(test.lambda, test.log_mgf, test.sum);
  }
  Adjust(report->weighted, report->ledger, std::log10(static_cast<double>(std::max<uint64_t>(report->ledger.weighted, 1))),
         [](const ReportWeighted& test) { return std::tuple(test.record, test.reading, std::string_view(test.model_sha256), std::string_view(test.rule)); });
  report->verdict = VerdictOf(*report);
  return absl::OkStatus();
}

}  // namespace countermark
