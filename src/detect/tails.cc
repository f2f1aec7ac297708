#include "countermark/detect/tails.h"

#include <cmath>
#include <limits>

#include "src/detect/tails_sum.h"

namespace countermark {
namespace {

using tails::Real;

// A tail is computed on the side of the mode where it is the smaller one: the upper tail as it is, below the mode the lower tail C, and
// then ln(1 − C) = log1p(−C), which loses nothing however small C is. Both are a mass or density times a sum of positive terms.

double ToLog10(Real natural) {
  return natural < 0 ? static_cast<double>(natural / tails::kLn10) : 0.0;
}

double UpperFromLog(Real log_upper) { return ToLog10(log_upper); }
double UpperFromLogOfLower(Real log_lower) { return ToLog10(std::log1p(-std::exp(log_lower))); }

bool UseQuadrature(Real variance, Real distance) {
  constexpr Real kReach = tails::kQuadratureDeviations * tails::kQuadratureDeviations;
  return variance >= tails::kQuadratureVariance && distance * distance <= kReach * variance;
}

// ln P(Binomial(n, a/c) ≥ k) for k ≥ (n+1)·a/c, 1 ≤ k ≤ n.
Real LogUpperBinomial(uint64_t n, uint64_t k, uint32_t numerator, uint32_t denominator) {
  const Real p = static_cast<Real>(numerator) / denominator;
  const Real q = static_cast<Real>(denominator - numerator) / denominator;
  const Real hits = static_cast<Real>(k);
  const Real mass = tails::LogBinomialMass(n, k, numerator, denominator);
  const Real distance = tails::Distance(k, static_cast<unsigned __int128>(n) + 1, numerator, denominator);
  if (UseQuadrature(static_cast<Real>(n) * p * q, distance)) {
    const double sum = tails::Quadrature({.c1 = static_cast<double>(k - 1),
                                          .w1 = -1,
                                          .c2 = static_cast<double>(n - k),
                                          .w2 = static_cast<double>(p / q),
                                          .slope = static_cast<double>(tails::Distance(k - 1, n - 1, numerator, denominator) / q)});
    return mass + std::log(hits * sum);
  }
  const Real fraction = tails::LowerFraction(
      {.a = hits, .distance = distance, .x = p, .y = q, .b = static_cast<Real>(n - k) + 1, .gamma = false});
  return mass + std::log(hits * q * fraction);
}

double GammaTail(uint64_t n, Real s) {
  if (n == 0 || !(s > 0)) return 0.0;
  const Real size = static_cast<Real>(n);
  const Real mass = tails::LogPoissonMass(n - 1, s);  // ln of the density at s
  const bool upper = s >= size;
  Real sum;
  if (UseQuadrature(size, s - size)) {
    const double slope = static_cast<double>(s - (size - 1));
    sum = tails::Quadrature({.c1 = static_cast<double>(n - 1), .w1 = upper ? 1.0 : -1.0, .c2 = 0, .w2 = 0, .slope = upper ? slope : -slope});
  } else if (upper) {
    sum = tails::UpperGammaFraction(size, s);
  } else {
    sum = tails::LowerFraction({.a = size, .distance = size - s, .x = s, .y = 1, .b = 0, .gamma = true});
  }
  const Real natural = mass + std::log(s * sum);
  return upper ? UpperFromLog(natural) : UpperFromLogOfLower(natural);
}

// ⌊32·ln 2·2⁴⁰⌋: the score of the last word.
constexpr uint64_t kMaxGumbelScore = 24387948313145;

// statistic/2⁴⁰ rounded down to what a Real holds: down is towards the larger p.
Real ScoreFromStatistic(Statistic statistic) {
  int excess = -std::numeric_limits<Real>::digits;
  for (Statistic rest = statistic; rest != 0; rest >>= 1) ++excess;
  if (excess > 0) statistic = (statistic >> excess) << excess;
  return std::ldexp(static_cast<Real>(statistic), -40);
}

}  // namespace

double Log10BinomialTail(uint64_t n, uint64_t k, uint32_t numerator, uint32_t denominator) {
  if (k == 0 || k > n || numerator == 0 || numerator >= denominator) return 0.0;
  const auto mode = (static_cast<unsigned __int128>(n) + 1) * numerator;
  if (static_cast<unsigned __int128>(k) * denominator >= mode) return UpperFromLog(LogUpperBinomial(n, k, numerator, denominator));
  // P(hits ≤ k − 1) = P(misses ≥ n − k + 1).
  return UpperFromLogOfLower(LogUpperBinomial(n, n - k + 1, denominator - numerator, denominator));
}

double Log10GammaTail(uint64_t n, double s) {
  return s > 0 ? GammaTail(n, std::fmin(s, std::numeric_limits<double>::max())) : 0.0;
}

double Log10P(const ChannelCount& count, const MarkParameters& parameters) {
  if (!PossibleCount(count, parameters)) return 0.0;
  switch (parameters.scheme) {
    case Scheme::kPartition:
      return Log10BinomialTail(count.scored, static_cast<uint64_t>(count.statistic), static_cast<uint32_t>(parameters.green), 256);
    case Scheme::kTournament:
      return Log10BinomialTail(count.scored * static_cast<uint64_t>(parameters.layers), static_cast<uint64_t>(count.statistic), 1, 2);
    case Scheme::kGumbel:
      return GammaTail(count.scored, ScoreFromStatistic(count.statistic));
  }
  return 0.0;
}

bool PossibleCount(const ChannelCount& count, const MarkParameters& parameters) {
  switch (parameters.scheme) {
    case Scheme::kPartition:
      return parameters.green >= 1 && parameters.green <= 255 && count.statistic <= count.scored;
    case Scheme::kTournament:
      return parameters.layers >= 1 && parameters.layers <= kMaxLayers &&
             count.scored <= std::numeric_limits<uint64_t>::max() / kMaxLayers &&
             count.statistic <= static_cast<Statistic>(count.scored) * static_cast<uint64_t>(parameters.layers);
    case Scheme::kGumbel:
      return count.statistic <= static_cast<Statistic>(count.scored) * kMaxGumbelScore;
  }
  return false;
}

}  // namespace countermark
