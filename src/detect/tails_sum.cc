#include "src/detect/tails_sum.h"

#include <array>
#include <cmath>
#include <limits>

namespace countermark::tails {
namespace {

// Steps of a fraction of positive terms overshoot in turn, so the last step bounds what is left.
constexpr Real kEnough = std::numeric_limits<Real>::epsilon() / 4;

constexpr int kNodes = 40;  // e^−48 … 1, exponential to Gaussian in shape: exact to 1e-17 from 32 nodes on

struct Rule {
  std::array<double, kNodes> node, weight;  // on (0, 1)
};

// Newton's method on the Legendre polynomial, once a process.
Rule MakeRule() {
  Rule rule;
  constexpr Real kPi = 3.141592653589793238462643383279502884L;
  for (int i = 0; i < kNodes; ++i) {
    Real z = std::cos(kPi * (i + 0.75L) / (kNodes + 0.5L)), slope = 1;
    for (int step = 0; step < 8; ++step) {
      Real current = 1, previous = 0;
      for (int j = 1; j <= kNodes; ++j) {
        const Real next = ((2 * j - 1) * z * current - (j - 1) * previous) / j;
        previous = current;
        current = next;
      }
      slope = kNodes * (z * current - previous) / (z * z - 1);
      z -= current / slope;
    }
    rule.node[i] = static_cast<double>((1 - z) / 2);
    rule.weight[i] = static_cast<double>(1 / ((1 - z * z) * slope * slope));
  }
  return rule;
}

// Log1pMinus for |x| ≤ 0.4 in doubles: 13 terms of the series leave 2e-17.
double ShortLog1pMinus(double x) {
  const double r = x / (2 + x), y = r * r;
  double sum = 1.0 / 27;
  for (int odd = 25; odd >= 3; odd -= 2) sum = sum * y + 1.0 / odd;
  return r * (2 * y * sum - x);
}

}  // namespace

// Steed's form of the modified Lentz recurrence: one division a step, and the step itself without a subtraction.
Real LowerFraction(const FractionTerms& t) {
  Real below = 0, above = 1 / (t.a + 1);  // 1/(a + 2i ∓ 1)
  Real d = 1 / (t.a * above * (t.distance + 1));
  Real step = d, sum = d;
  for (Real i = 1; std::fabs(step) > kEnough * sum; i += 1) {
    below = above;
    above = 1 / (t.a + 2 * i + 1);
    const Real u = t.gamma ? t.x : (t.b - i) * t.x;                       // (b − i)·x, s in the limit
    const Real w = t.gamma ? t.x * u : (t.a + t.b + i - 1) * t.x * u;     // (a + b + i − 1)(b − i)·x²
    const Real alpha = (t.a + i - 1) * below * i * below * w;
    const Real beta = i + i * u * below + (t.a + i) * above * (t.distance + 1 + i * (1 + t.y));
    const Real next = 1 / (beta + alpha * d);
    step *= -alpha * d * next;
    d = next;
    sum += step;
  }
  return sum;
}

Real UpperGammaFraction(Real n, Real s) {
  Real d = 1 / (s - n + 1);
  Real step = d, sum = d;
  for (Real i = 1; std::fabs(step) > kEnough * sum; i += 1) {
    const Real alpha = i * (n - i);
    const Real next = 1 / (s - n + 1 + 2 * i + alpha * d);
    step *= -alpha * d * next;
    d = next;
    sum += step;
  }
  return sum;
}

double Quadrature(const SmoothTail& tail) {
  static const Rule rule = MakeRule();
  // The end: where a parabola of this slope and curvature has fallen by 48. The third derivative takes at most a few units off that.
  const double curvature = tail.c1 * tail.w1 * tail.w1 + tail.c2 * tail.w2 * tail.w2;
  const double end = 96 / (tail.slope + std::sqrt(tail.slope * tail.slope + 96 * curvature));
  double sum = 0;
  for (int i = 0; i < kNodes; ++i) {
    const double u = end * rule.node[i];
    double exponent = tail.c1 * ShortLog1pMinus(tail.w1 * u) - tail.slope * u;
    if (tail.c2 != 0) exponent += tail.c2 * ShortLog1pMinus(tail.w2 * u);
    sum += rule.weight[i] * std::exp(exponent);
  }
  return end * sum;
}

}  // namespace countermark::tails
