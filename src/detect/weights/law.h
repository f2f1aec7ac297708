// The cumulant generating function of S = Σ weight·draw, and the λ at which its tilted mean is a given sum.
#ifndef COUNTERMARK_SRC_DETECT_WEIGHTS_LAW_H_
#define COUNTERMARK_SRC_DETECT_WEIGHTS_LAW_H_

#include <span>

#include "countermark/detect/weighted.h"
#include "src/detect/tails_math.h"

namespace countermark::weights {

using tails::Real;

// Of one draw: Bernoulli(numerator/denominator), or Exp(1).
struct DrawLaw {
  bool exponential = false;
  uint32_t numerator = 1, denominator = 2;
  static DrawLaw Of(const MarkParameters& parameters);
};

// K'(λ), K''(λ), K'''(λ) of S in units of weight·draw.
struct Derivatives {
  double first = 0, second = 0, third = 0;
};

class WeightedLaw {
 public:
  // groups: not empty, weights and draws above 0.
  WeightedLaw(std::span<const WeightGroup> groups, const DrawLaw& draw);

  double mean() const { return mean_; }
  uint32_t largest() const { return largest_; }
  uint32_t smallest() const { return smallest_; }
  uint32_t span() const { return span_; }    // greatest common divisor of the weights
  double Most() const { return most_; }      // Σ weight·draws: the largest value of a Bernoulli sum
  Derivatives At(double lambda) const;
  // ln M(λ), rounded to nearest in Real: a sum of terms of one sign. λ·largest < 1 where exponential.
  Real LogMgf(double lambda) const;
  // The same, above the true value, λ > 0 with at most 32 bits of mantissa.
  double LogMgfAbove(double lambda) const;
  // K'(λ) = s for 0 < s, s < Most() where Bernoulli: negative below the mean. Not rounded. λ is bounded by 64 over the smallest weight.
  double Saddlepoint(double s) const;

 private:
  std::span<const WeightGroup> groups_;
  DrawLaw draw_;
  double probability_ = 0, log_odds_ = 0;
  double mean_ = 0, most_ = 0;
  uint32_t largest_ = 0, smallest_ = 0, span_ = 0;
};

// λ with 32 bits of mantissa, towards 0.
double ShortLambda(double lambda);

// ln(1 − Φ(r)) and the display's tail: ln of Lugannani and Rice's approximation at the saddlepoint λ of s, for the lattice of step `span` where Bernoulli.
double SaddlepointLogTail(const WeightedLaw& law, double s, bool lattice);

}  // namespace countermark::weights

#endif  // COUNTERMARK_SRC_DETECT_WEIGHTS_LAW_H_
