// What a tail is beyond its first mass: continued fractions where they are short, a quadrature where they are long.
//
// With v the variance of the law, near the mean a fraction needs about 10·v^(1/3) steps; some deviations away a few dozen at any size.
// So far tails and small counts take a fraction, and the middle of a large count a Gauss–Legendre rule whose cost does not grow.
#ifndef COUNTERMARK_DETECT_TAILS_SUM_H_
#define COUNTERMARK_DETECT_TAILS_SUM_H_

#include "src/detect/tails_math.h"

namespace countermark::tails {

// The fraction f of I_x(a, b) = x^a·y^b/B(a, b)·f, y = 1 − x, and of its limit, the lower gamma tail P(a, s) = s^a·e^−s/Γ(a)·f.
// DiDonato & Morris 1992 (TOMS 708), equation 9: for distance = a − (a+b)·x ≥ 0 (a − s for gamma) every coefficient is positive, so
// nothing cancels. It ends by itself when b is an integer.
struct FractionTerms {
  Real a;         // ≥ 1
  Real distance;  // ≥ 0
  Real x;         // s for gamma
  Real y;         // 1 for gamma
  Real b;         // unused for gamma
  bool gamma;
};
Real LowerFraction(const FractionTerms& terms);

// The fraction f of Q(n, s) = s^n·e^−s/Γ(n)·f for s ≥ n (Abramowitz & Stegun 6.5.31, contracted): again all positive, ends at step n.
Real UpperGammaFraction(Real n, Real s);

// ∫₀^∞ exp(c₁·m(w₁u) + c₂·m(w₂u) − slope·u) du with m(t) = ln(1+t) − t: a tail divided by the density at its end, for a law of
// variance ≥ kQuadratureVariance within kQuadratureDeviations standard deviations of its mean. Relative error below 1e-15.
struct SmoothTail {
  double c1, w1, c2, w2, slope;
};
inline constexpr double kQuadratureVariance = 1000;
inline constexpr double kQuadratureDeviations = 6;
double Quadrature(const SmoothTail& tail);

}  // namespace countermark::tails

#endif  // COUNTERMARK_DETECT_TAILS_SUM_H_
