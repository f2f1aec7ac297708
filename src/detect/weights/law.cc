#include "src/detect/weights/law.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace countermark::weights {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Real kUnit = std::numeric_limits<Real>::epsilon();

// ln(1 − p + p·e^x).
Real LogBernoulliMgf(Real x, Real p) {
  if (x > 40) return x + std::log(p) + std::log1p((1 - p) / p * std::exp(-x));
  return std::log1p(p * std::expm1(x));
}

// Mills' ratio (1 − Φ(r))/φ(r), r > 0.
double MillsRatio(double r) {
  if (r < 6) return std::erfc(r / std::sqrt(2.0)) / 2 / (std::exp(-r * r / 2) / std::sqrt(2 * M_PI));
  double fraction = r;
  for (int k = 60; k >= 1; --k) fraction = r + k / fraction;
  return 1 / fraction;
}

}  // namespace

DrawLaw DrawLaw::Of(const MarkParameters& parameters) {
  switch (parameters.scheme) {
    case Scheme::kPartition:
      return {false, static_cast<uint32_t>(parameters.green), 256};
    case Scheme::kTournament:
      return {false, 1, 2};
    case Scheme::kGumbel:
      break;
  }
  return {true, 1, 1};
}

WeightedLaw::WeightedLaw(std::span<const WeightGroup> groups, const DrawLaw& draw) : groups_(groups), draw_(draw) {
  probability_ = static_cast<double>(draw.numerator) / draw.denominator;
  log_odds_ = draw.exponential ? 0 : std::log(static_cast<double>(draw.numerator) / (draw.denominator - draw.numerator));
  smallest_ = std::numeric_limits<uint32_t>::max();
  for (const WeightGroup& group : groups) {
    most_ += static_cast<double>(group.weight) * static_cast<double>(group.draws);
    largest_ = std::max(largest_, group.weight);
    smallest_ = std::min(smallest_, group.weight);
    span_ = std::gcd(span_, group.weight);
  }
  mean_ = draw.exponential ? most_ : most_ * probability_;
}

Derivatives WeightedLaw::At(double lambda) const {
  Derivatives sum;
  for (const WeightGroup& group : groups_) {
    const double w = group.weight, n = static_cast<double>(group.draws);
    if (draw_.exponential) {
      const double tilted = w / (1 - lambda * w);
      sum.first += n * tilted;
      sum.second += n * tilted * tilted;
      sum.third += 2 * n * tilted * tilted * tilted;
    } else {
      const double x = lambda * w + log_odds_;
      const double p = 1 / (1 + std::exp(-x)), q = 1 / (1 + std::exp(x));
      sum.first += n * w * p;
      sum.second += n * w * w * p * q;
      sum.third += n * w * w * w * p * q * (q - p);
    }
  }
  return sum;
}

Real WeightedLaw::LogMgf(double lambda) const {
  const Real p = static_cast<Real>(draw_.numerator) / draw_.denominator;
  Real sum = 0;
  for (const WeightGroup& group : groups_) {
    const Real x = static_cast<Real>(lambda) * group.weight;
    sum += static_cast<Real>(group.draws) * (draw_.exponential ? -std::log1p(-x) : LogBernoulliMgf(x, p));
  }
  return sum;
}

double WeightedLaw::LogMgfAbove(double lambda) const {
  const Real above = LogMgf(lambda) * (1 + (static_cast<Real>(groups_.size()) + 32) * kUnit);
  return std::nextafter(static_cast<double>(above), kInfinity);
}

double WeightedLaw::Saddlepoint(double s) const {
  double low = 0, high = 0;
  if (s >= mean_) {
    high = 64.0 / smallest_;
    if (draw_.exponential) {
      // The heaviest draws alone, of which there is at least one, have that tilted mean: the root is at or below.
      high = (1 - std::min(1.0, largest_ / s)) / largest_;
      high = std::min(high + 1e-9 / largest_, (1 - 1e-12) / largest_);
    }
  } else {
    low = -64.0 / smallest_;
    if (draw_.exponential) {  // each tilted mean is w/(1 + |λ|w) < 1/|λ|, so at |λ| = N/s their sum is below s
      double draws = 0;
      for (const WeightGroup& group : groups_) draws += static_cast<double>(group.draws);
      low = -draws / s;
    }
  }
  double lambda = (s - mean_) / At(0).second;
  for (int step = 0; step < 200; ++step) {
    if (!(lambda > low && lambda < high)) lambda = (low + high) / 2;
    const Derivatives d = At(lambda);
    (d.first < s ? low : high) = lambda;
    const double next = lambda - (d.first - s) / d.second;
    if (std::fabs(next - lambda) <= 1e-13 * std::fabs(lambda) || high - low <= 1e-14 * std::fabs(lambda)) break;
    lambda = next;
  }
  return lambda;
}

double ShortLambda(double lambda) {
  int exponent;
  const double mantissa = std::frexp(lambda, &exponent);
  return std::ldexp(std::trunc(std::ldexp(mantissa, 32)), exponent - 32);
}

double SaddlepointLogTail(const WeightedLaw& law, double s, bool lattice) {
  const double lambda = law.Saddlepoint(s);
  const Derivatives d = law.At(lambda);
  const double deviance = static_cast<double>(2 * (static_cast<Real>(lambda) * s - law.LogMgf(lambda)));
  const double r = std::copysign(std::sqrt(std::max(deviance, 0.0)), lambda);
  const double step = law.span();
  // A lattice's tail includes its end (Daniels 1987, first continuity correction): 1 − e^{−λ·step} in place of λ·step.
  const double q = (lattice ? -std::expm1(-lambda * step) / step : lambda) * std::sqrt(d.second);
  if (std::fabs(r) < 1e-3) {  // the limit at the mean
    const double p = 0.5 - d.third / (6 * std::sqrt(2 * M_PI) * std::pow(d.second, 1.5)) + (lattice ? step / (2 * std::sqrt(2 * M_PI * d.second)) : 0) -
                     r / std::sqrt(2 * M_PI);
    return std::log(std::min(std::max(p, 1e-300), 1.0));
  }
  if (r < 0) {
    const double p = std::erfc(r / std::sqrt(2.0)) / 2 + std::exp(-r * r / 2) / std::sqrt(2 * M_PI) * (1 / q - 1 / r);
    return std::log(std::min(std::max(p, 1e-300), 1.0));
  }
  const double factor = MillsRatio(r) + (1 / q - 1 / r);
  // Far out the difference of the two last is lost in rounding where q is nearly r; the tail is then the leading term.
  return -r * r / 2 - 0.5 * std::log(2 * M_PI) + std::log(factor > 0 ? factor : 1 / q);
}

}  // namespace countermark::weights
