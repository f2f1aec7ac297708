// Whole verdicts over simulated data sets, through Detector, as watermark-detect gives them.
#include <cmath>

#include "countermark/detect/detector.h"
#include "countermark/detect/pairs.h"
#include "tests/calibration/blocks.h"
#include "tests/calibration/nulls.h"

namespace countermark::calibration {
namespace {

// Under independent account keys, given the pairs, the least of k p-values is ≤ α/k with chance 1 − (1 − level(α/k))^k, and Holm's
// least adjusted value is k times it.
double NamedChance(const AttainedLevels& levels, size_t pairs, size_t accounts, double alpha) {
  const double k = static_cast<double>(accounts);
  return -std::expm1(k * std::log1p(-levels.At(pairs, alpha / k)));
}

}  // namespace

VerdictTally RunVerdicts(const std::vector<Kind>& corpus, const VerdictOptions& options) {
  EpochRecord record;
  record.mark.scheme = options.scheme;
  const AttainedLevels levels(record.mark, options.records == 1 ? kPassageTokens : 0);
  std::vector<std::string> accounts;
  for (size_t a = 0; a < options.accounts; ++a) accounts.push_back("account-" + std::to_string(a));

  const auto work = [&](uint64_t set, VerdictTally& tally) {
    Source source(options.seed, set);
    const absl::StatusOr<Detector> detector = Detector::Create(EpochKeys{record, source.Key(), {}}, accounts);
    const TestLedger ledger = detector->Ledger(options.records);
    PairSet pairs(detector->window()), pool(detector->window());
    bool some_record = false;
    for (size_t r = 0; r < options.records; ++r) {
      const std::span<const uint32_t> passage = source.Passage(corpus[(set + r) % corpus.size()]);
      pairs.Clear();
      pairs.Add(passage);
      pool.Add(passage);
      some_record |= detector->Judge(detector->Score(pairs), ledger, options.alpha) == RecordVerdict::kMarked;
    }
    const DetectionResult pooled = detector->Score(pool);
    const bool pool_marked = detector->Judge(pooled, ledger, options.alpha, /*of_record=*/false) == RecordVerdict::kMarked;
    ++tally.sets;
    tally.records_marked += some_record;
    tally.pool_marked += pool_marked;
    tally.either += some_record || pool_marked;
    double least = 0;
    for (const AccountTest& account : pooled.accounts) least = std::min(least, account.log10_p_adjusted);
    for (size_t i = 0; i < kAlphas.size(); ++i) {
      tally.account_named[i] += least <= std::log10(kAlphas[i]);
      if (options.records == 1) tally.account_expected[i] += NamedChance(levels, pooled.accounts[0].count.scored, options.accounts, kAlphas[i]);
    }
  };
  VerdictTally sum;
  for (const VerdictTally& tally : InBlocks<VerdictTally>(options.sets, options.threads, work)) {
    sum.sets += tally.sets;
    sum.records_marked += tally.records_marked;
    sum.pool_marked += tally.pool_marked;
    sum.either += tally.either;
    for (size_t i = 0; i < kAlphas.size(); ++i) {
      sum.account_named[i] += tally.account_named[i];
      sum.account_expected[i] += tally.account_expected[i];
    }
  }
  return sum;
}

}  // namespace countermark::calibration
