#include "src/detect/foreign/two_gamma_tail.h"

#include <algorithm>
#include <cmath>

#include "countermark/detect/tails.h"

namespace countermark {
namespace {

constexpr long double kLn10 = 2.302585092994045684017991454684364208L;
constexpr long double kMostTerms = 2e7L;

// A positive number beyond a long double's range: mantissa · 2^exponent.
struct Wide {
  long double mantissa = 0;
  long long exponent = 0;
  static Wide Exp(long double x) {
    const long double power = std::floor(x / 0.693147180559945309417232121458176568L);
    return {std::exp(x - power * 0.693147180559945309417232121458176568L), static_cast<long long>(power)};
  }
  void Normalise() {
    if (mantissa == 0) return;
    int shift = 0;
    mantissa = std::frexp(mantissa, &shift);
    exponent += shift;
  }
};

int Shift(long long exponent) { return static_cast<int>(std::clamp<long long>(exponent, -40000, 40000)); }

double Chernoff(long double n, long double a, long double b, long double w) {
  // The derivative of θw + n ln(1 − aθ) + n ln(1 − bθ) falls in θ; its root by bisection on [0, 1/max).
  long double low = 0, high = 1 / std::max(a, b);
  for (int i = 0; i < 200; ++i) {
    const long double t = (low + high) / 2;
    (w - n * a / (1 - a * t) - n * b / (1 - b * t) > 0 ? low : high) = t;
  }
  const long double exponent = -low * w - n * std::log1p(-a * low) - n * std::log1p(-b * low);
  return static_cast<double>(std::min(0.0L, exponent / kLn10));
}

}  // namespace

double Log10TwoGammaTail(uint64_t n, double a, double b, double w) {
  if (n == 0 || !(a >= 0) || !(b >= 0) || !(a + b > 0) || !(w > 0) || !std::isfinite(a + b)) return 0;
  const long double s = std::min(a, b), g = std::max(a, b), shape = static_cast<long double>(n);
  if (s == 0) return Log10GammaTail(n, static_cast<double>(w / g));
  if (s == g) return Log10GammaTail(2 * n, static_cast<double>(w / g));
  const long double q = s / g, x = static_cast<long double>(w) / s;
  // Terms matter up to where Q is near 1, and then fall like (1 − q)^k.
  const long double terms = std::max(x - 2 * shape, shape * (1 - q) / q) + 60 * std::sqrt(x + shape) + 60 / q;
  if (!(terms < kMostTerms)) return Chernoff(shape, a, b, w);

  // weight_k, tail_k = Q(2n + k, x), step_k = x^(2n+k) e^−x / (2n+k)!: tail_{k+1} = tail_k + step_k. tail and step share an exponent.
  Wide weight = Wide::Exp(shape * std::log(q));
  Wide tail = Wide::Exp(static_cast<long double>(Log10GammaTail(2 * n, static_cast<double>(x))) * kLn10);
  Wide step = Wide::Exp(2 * shape * std::log(x) - x - std::lgamma(2 * shape + 1));
  weight.Normalise();
  tail.Normalise();
  long double step_mantissa = std::ldexp(step.mantissa, Shift(step.exponent - tail.exponent));
  Wide sum;
  const long double miss = 1 - q;
  for (long double k = 0; k < 4 * kMostTerms; ++k) {
    const long double term = weight.mantissa * tail.mantissa;
    const long long exponent = weight.exponent + tail.exponent;
    if (sum.mantissa == 0) {
      sum = {term, exponent};
    } else if (exponent > sum.exponent + 60) {
      sum = {std::ldexp(sum.mantissa, Shift(sum.exponent - exponent)) + term, exponent};
    } else {
      sum.mantissa += std::ldexp(term, Shift(exponent - sum.exponent));
    }
    const long double ratio = miss * (shape + k) / (k + 1);
    // The rest is at most the weights' rest, a geometric one, as tails are at most 1.
    if (ratio < 1) {
      const long double rest = weight.mantissa * ratio / (1 - ratio);
      if (std::ldexp(rest, Shift(weight.exponent - sum.exponent)) < 1e-17L * sum.mantissa) {
        sum.mantissa += std::ldexp(rest, Shift(weight.exponent - sum.exponent));
        break;
      }
    }
    weight.mantissa *= ratio;
    tail.mantissa += step_mantissa;
    step_mantissa *= x / (2 * shape + k + 1);
    if (static_cast<long long>(k) % 16 == 15) {
      weight.Normalise();
      const long long before = tail.exponent;
      tail.Normalise();
      step_mantissa = std::ldexp(step_mantissa, Shift(before - tail.exponent));
    }
  }
  const long double log2 = std::log2(sum.mantissa) + static_cast<long double>(sum.exponent);
  return static_cast<double>(std::min(0.0L, log2 * 0.301029995663981195213738894724493027L));
}

}  // namespace countermark
