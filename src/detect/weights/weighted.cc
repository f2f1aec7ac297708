// Counts and tests of detect/weighted.h. Its proofs stand in the header.
#include "countermark/detect/weighted.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/base/internal/raw_logging.h"
#include "countermark/detect/pair_words.h"
#include "countermark/mark/log.h"
#include "src/detect/weights/law.h"

namespace countermark {
namespace {

using tails::Real;
using weights::DrawLaw;
using weights::WeightedLaw;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The sum as a Real, rounded down: towards the larger p.
Real RoundDown(Statistic sum) {
  int excess = -std::numeric_limits<Real>::digits;
  for (Statistic rest = sum; rest != 0; rest >>= 1) ++excess;
  if (excess > 0) sum = (sum >> excess) << excess;
  return static_cast<Real>(sum);
}

uint64_t DrawsOfPair(const MarkParameters& parameters) {
  return parameters.scheme == Scheme::kTournament ? static_cast<uint64_t>(parameters.layers) : 1;
}

std::vector<WeightGroup> GroupsOf(std::span<const uint32_t> which, std::span<const PairWeight> weights, const MarkParameters& parameters) {
  std::vector<PairWeight> sorted;
  sorted.reserve(which.size());
  for (const uint32_t index : which) sorted.push_back(weights[index]);
  std::sort(sorted.begin(), sorted.end());
  std::vector<WeightGroup> groups;
  for (const PairWeight weight : sorted) {
    if (weight == 0) continue;
    if (groups.empty() || groups.back().weight != weight) groups.push_back({weight, 0});
    groups.back().draws += DrawsOfPair(parameters);
  }
  return groups;
}

// The listed pairs as columns side by side, and the words of all of them under a key, in batches that stay in the caches.
class GatheredPairs {
 public:
  GatheredPairs(const PairSet& pairs, std::span<const uint32_t> which) : window_(pairs.window()) {
    for (int j = 0; j < window_; ++j) Gather(pairs.window_token(j), which, &columns_[j]);
    Gather(pairs.token(), which, &columns_[kMaxWindow]);
  }
  // take(first, words): those of the listed pairs first … first + words.size() − 1.
  void ForWords(const Secret32& key, Scheme scheme, const auto& take) const {
    constexpr size_t kBatch = 1024;
    uint32_t words[kBatch];
    const size_t size = columns_[kMaxWindow].size();
    for (size_t first = 0; first < size; first += kBatch) {
      PairSpan span;
      for (int j = 0; j < window_; ++j) span.window[j] = columns_[j].data() + first;
      span.token = columns_[kMaxWindow].data() + first;
      span.size = std::min(kBatch, size - first);
      const std::span<uint32_t> of_batch(words, span.size);
      PairWords(span, key, scheme, window_, of_batch);
      take(first, of_batch);
    }
    std::fill_n(words, kBatch, 0);
  }

 private:
  static void Gather(std::span<const uint32_t> from, std::span<const uint32_t> which, std::vector<uint32_t>* to) {
    to->resize(which.size());
    for (size_t i = 0; i < which.size(); ++i) (*to)[i] = from[which[i]];
  }
  int window_;
  std::vector<uint32_t> columns_[kMaxWindow + 1];
};

Statistic SumUnder(const GatheredPairs& gathered, std::span<const uint32_t> which, const Secret32& key, const MarkParameters& parameters,
                   std::span<const PairWeight> weights) {
  Statistic sum = 0;
  std::vector<uint64_t> scores;
  gathered.ForWords(key, parameters.scheme, [&](size_t first, std::span<const uint32_t> words) {
    scores.resize(words.size());
    ScoresOfWords(words, parameters, scores);
    for (size_t i = 0; i < words.size(); ++i) sum += Statistic{scores[i]} * weights[which[first + i]];
  });
  return sum;
}

// Whether some draw of the key gives this sum.
bool Possible(std::span<const WeightGroup> groups, Statistic sum, const DrawLaw& draw) {
  Statistic most = 0;
  for (const WeightGroup& group : groups) most += static_cast<Statistic>(group.weight) * group.draws;
  return sum <= most * (draw.exponential ? FixedNegativeLog(0xFFFFFFFF) : 1);
}

}  // namespace

WeightedCount CountWeighted(const PairSet& pairs, std::span<const uint8_t> channel, int which, const Secret32& key, const MarkParameters& parameters,
                            std::span<const PairWeight> weights) {
  ABSL_RAW_CHECK(channel.size() == pairs.size(), "one channel a pair");
  WeightedCount count;
  count.sum = CountWeightedCandidates(pairs, PairsOnChannel(channel, which), {&key, 1}, parameters, weights, &count)[0];
  return count;
}

std::vector<Statistic> CountWeightedCandidates(const PairSet& pairs, std::span<const uint32_t> which, std::span<const Secret32> keys,
                                               const MarkParameters& parameters, std::span<const PairWeight> weights, WeightedCount* shared) {
  ABSL_RAW_CHECK(weights.size() == pairs.size(), "one weight a pair");
  *shared = {which.size(), GroupsOf(which, weights, parameters), 0};
  const GatheredPairs gathered(pairs, which);
  std::vector<Statistic> sums;
  sums.reserve(keys.size());
  for (const Secret32& key : keys) sums.push_back(SumUnder(gathered, which, key, parameters, weights));
  return sums;
}

WeightedCount CountLayers(const PairSet& pairs, std::span<const uint8_t> channel, int which, const Secret32& key, const MarkParameters& parameters) {
  ABSL_RAW_CHECK(channel.size() == pairs.size(), "one channel a pair");
  ABSL_RAW_CHECK(parameters.scheme == Scheme::kTournament, "only a tournament has layers");
  const std::vector<uint32_t> on_channel = PairsOnChannel(channel, which);
  WeightedCount count;
  count.scored = on_channel.size();
  if (on_channel.empty()) return count;
  for (int layer = parameters.layers - 1; layer >= 0; --layer) count.groups.push_back({LayerWeight(layer, parameters.layers), count.scored});
  GatheredPairs(pairs, on_channel).ForWords(key, parameters.scheme, [&](size_t, std::span<const uint32_t> words) {
    for (int layer = 0; layer < parameters.layers; ++layer) {
      uint64_t ones = 0;
      for (const uint32_t word : words) ones += word >> layer & 1;
      count.sum += Statistic{ones} * LayerWeight(layer, parameters.layers);
    }
  });
  return count;
}

double ChernoffLog10P(double lambda, double log_mgf, Statistic sum) {
  if (!(lambda > 0 && lambda < kInfinity && log_mgf >= 0 && log_mgf < kInfinity)) return 0;
  const Real product = static_cast<Real>(lambda) * RoundDown(sum);
  const Real margin = 8 * std::numeric_limits<Real>::epsilon() * (product + log_mgf);
  const Real natural = (log_mgf - product) + margin;
  return natural < 0 ? std::nextafter(static_cast<double>(natural / tails::kLn10), 0.0) : 0;
}

WeightedTest TestWeighted(std::span<const WeightGroup> groups, Statistic sum, const MarkParameters& parameters) {
  const DrawLaw draw = DrawLaw::Of(parameters);
  const int unit = draw.exponential ? -40 : 0;  // binary exponent of the sum's unit
  WeightedTest test;
  test.lambda = std::ldexp(1.0, unit - 40);
  if (groups.empty()) return test;
  const WeightedLaw law(groups, draw);
  const double s = static_cast<double>(std::ldexp(RoundDown(sum), unit));
  const bool possible = Possible(groups, sum, draw);
  double lambda = std::ldexp(1.0, -40);
  if (possible && s > law.mean()) lambda = weights::ShortLambda(law.Saddlepoint(s));
  if (!(lambda > 0)) lambda = std::ldexp(1.0, -40);  // a sum that is the mean but for the last bits
  test.lambda = std::ldexp(lambda, unit);
  test.log_mgf = law.LogMgfAbove(lambda);
  if (!possible || sum == 0) return test;
  test.log10_p = ChernoffLog10P(test.lambda, test.log_mgf, sum);

  double natural;
  if (!draw.exponential && s >= law.Most()) {
    natural = 0;
    const double hit = std::log(static_cast<double>(draw.numerator) / draw.denominator);
    for (const WeightGroup& group : groups) natural += static_cast<double>(group.draws) * hit;
  } else {
    natural = weights::SaddlepointLogTail(law, s, !draw.exponential);
  }
  const double display = natural / static_cast<double>(tails::kLn10);
  test.display_log10_p = display <= test.log10_p ? display : test.log10_p;
  return test;
}

WeightedTest TestLayers(std::span<const WeightGroup> groups, Statistic sum, const MarkParameters& parameters) {
  WeightedTest test = TestWeighted(groups, sum, parameters);
  if (parameters.scheme != Scheme::kTournament || test.log10_p > std::log10(0.05)) return test;
  if (const std::optional<double> exact = Log10LatticeTail(groups, sum, 1, 2)) {
    test.exact = true;
    test.log10_p = std::min(test.log10_p, *exact);
    test.display_log10_p = test.log10_p;
  }
  return test;
}

}  // namespace countermark
