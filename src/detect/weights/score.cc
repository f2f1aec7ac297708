// The detector's tests with weights.
#include <algorithm>
#include <cmath>
#include <limits>

#include "countermark/detect/detector.h"

namespace countermark {

WeightedResult Detector::ScoreWeighted(const PairSet& pairs, std::span<const PairWeight> weights) const {
  WeightedResult result;
  const std::vector<uint8_t> channel = RoutePairs(pairs, route_key_, record_.mark.scheme, weights_);
  const WeightedCount base = CountWeighted(pairs, channel, 0, base_key_, record_.mark, weights);
  result.channels.push_back({record_.channels[0].name, base.scored, base.sum, TestWeighted(base.groups, base.sum, record_.mark)});
  if (accounts_.empty()) return result;

  WeightedCount shared;
  const std::vector<uint32_t> which = PairsOnChannel(channel, account_channel_);
  const std::vector<Statistic> sums = CountWeightedCandidates(pairs, which, account_keys_, record_.mark, weights, &shared);
  std::vector<double> log10_p;
  result.accounts.reserve(sums.size());
  log10_p.reserve(sums.size());
  for (const Statistic sum : sums) {
    result.accounts.push_back({shared.scored, sum, TestWeighted(shared.groups, sum, record_.mark), 0});
    log10_p.push_back(result.accounts.back().test.log10_p);
  }
  const std::vector<double> adjusted = HolmAdjust(log10_p);
  for (size_t i = 0; i < sums.size(); ++i) result.accounts[i].log10_p_adjusted = adjusted[i];
  return result;
}

RecordVerdict Detector::JudgeWeighted(const WeightedResult& result, const TestLedger& ledger, double alpha, bool of_record) {
  const auto counted = [](const auto& test) { return test.scored > 0; };
  if (std::none_of(result.channels.begin(), result.channels.end(), counted) && std::none_of(result.accounts.begin(), result.accounts.end(), counted)) {
    return RecordVerdict::kInconclusive;
  }
  if (of_record && ledger.records == 0) return RecordVerdict::kUncorrected;
  uint64_t tests;
  if (__builtin_mul_overflow(Multiplier(ledger, of_record), std::max<uint64_t>(ledger.weighted, 1), &tests)) tests = std::numeric_limits<uint64_t>::max();
  const double level = std::log10(alpha);
  const auto marked = [&](double log10_p) { return BonferroniAdjust(log10_p, tests) <= level; };
  const bool any = std::any_of(result.channels.begin(), result.channels.end(), [&](const auto& test) { return marked(test.test.log10_p); }) ||
                   std::any_of(result.accounts.begin(), result.accounts.end(), [&](const auto& test) { return marked(test.log10_p_adjusted); });
  return any ? RecordVerdict::kMarked : RecordVerdict::kNoEvidence;
}

}  // namespace countermark
