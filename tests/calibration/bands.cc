#include "tests/calibration/bands.h"

#include <algorithm>
#include <cmath>

namespace countermark::calibration {
namespace {

// P(Binomial(n, p) ≥ k) ≤ 0.1, for k from the first such to n.
std::vector<long double> SmallTails(size_t n, long double p) {
  std::vector<long double> mass(n + 1);
  for (size_t k = 0; k <= n; ++k) {
    const long double choose = std::lgamma(n + 1.0L) - std::lgamma(k + 1.0L) - std::lgamma(n - k + 1.0L);
    mass[k] = std::exp(choose + static_cast<long double>(k) * std::log(p) + static_cast<long double>(n - k) * std::log1p(-p));
  }
  std::vector<long double> tails;
  long double sum = 0;
  for (size_t k = n + 1; k-- > 0 && sum + mass[k] <= 0.1L;) tails.push_back(sum += mass[k]);
  std::reverse(tails.begin(), tails.end());
  return tails;
}

// Quantiles of Poisson(mean): masses from the mode outwards.
long double PoissonMass(uint64_t k, long double mean) {
  return std::exp(static_cast<long double>(k) * std::log(mean) - mean - std::lgamma(static_cast<long double>(k) + 1));
}

}  // namespace

AttainedLevels::AttainedLevels(const MarkParameters& mark, size_t most_pairs) : continuous_(mark.scheme == Scheme::kGumbel) {
  if (continuous_) return;
  const bool partition = mark.scheme == Scheme::kPartition;
  const size_t draws = partition ? 1 : static_cast<size_t>(mark.layers);
  const long double p = partition ? static_cast<long double>(mark.green) / 256 : 0.5L;
  for (size_t n = 0; n <= most_pairs; ++n) tails_.push_back(SmallTails(n * draws, p));
}

double AttainedLevels::At(size_t pairs, double alpha) const {
  if (pairs == 0) return 0;
  if (continuous_) return alpha;
  const std::vector<long double>& tails = tails_[pairs];
  const auto first = std::lower_bound(tails.begin(), tails.end(), static_cast<long double>(alpha), [](long double tail, long double level) { return tail > level; });
  return first == tails.end() ? 0 : static_cast<double>(*first);
}

HitCheck CheckHits(uint64_t hits, double expected, double odds) {
  HitCheck check{hits, expected, 0, 0};
  if (expected <= 0) return check;
  const long double mean = expected;
  const auto reach = static_cast<uint64_t>(12 * std::sqrt(expected) + 40);
  const auto middle = static_cast<uint64_t>(expected);
  const uint64_t first = middle > reach ? middle - reach : 0;
  const uint64_t last = middle + reach;
  // The least k with P(X ≤ k) > odds/2, and the least with P(X > k) ≤ odds/2.
  long double below = 0;
  for (check.low = first; (below += PoissonMass(check.low, mean)) <= odds / 2; ++check.low) continue;
  long double above = 0;
  for (check.high = last; above + PoissonMass(check.high, mean) <= odds / 2; --check.high) above += PoissonMass(check.high, mean);
  // The comparison holds beyond one from the mean.
  check.low = std::min<uint64_t>(check.low, static_cast<uint64_t>(std::max(0.0, std::floor(expected - 1))));
  check.high = std::max<uint64_t>(check.high, static_cast<uint64_t>(std::ceil(expected + 1)));
  return check;
}

double UniformDistance(std::span<double> values) {
  std::sort(values.begin(), values.end());
  const double n = static_cast<double>(values.size());
  double distance = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    distance = std::max({distance, values[i] - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - values[i]});
  }
  return distance;
}

double UniformDistanceBound(size_t values, double odds) { return std::sqrt(std::log(2 / odds) / (2 * static_cast<double>(values))); }

}  // namespace countermark::calibration
