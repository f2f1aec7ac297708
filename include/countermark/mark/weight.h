// A token's weight: a 64-bit integer that is the same on every device, whatever the order in which weights are summed.
#ifndef COUNTERMARK_MARK_WEIGHT_H_
#define COUNTERMARK_MARK_WEIGHT_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#include "countermark/mark/platform.h"

namespace countermark {

inline constexpr int kWeightBits = 40;                        // the likeliest token weighs 2⁴⁰
inline constexpr float kMinTemperature = 1e-6f;               // below it a request counts as greedy

// log₂(e)/T, rounded once to double and once to float. T ≥ kMinTemperature.
COUNTERMARK_HD inline float InverseTemperature(float temperature) {
  return static_cast<float>(1.4426950408889634 / static_cast<double>(temperature));
}

// ⌊exp((z − max)/T)·2⁴⁰⌋ as a float, which holds it exactly: it has at most 24 significant bits.
//
// `scale` is InverseTemperature(T); z ≤ max, max finite. z = −inf gives 0. Not for NaN. Steps, each one IEEE operation in single
// precision: d = z − max; t = d·scale, below −41 → 0; n = t rounded to even; r = fma(d, scale, −n), so that the rounding of t does not
// matter; p = 2^r by a polynomial of degree 6 with fma, relative error below 2⁻²³; the result ⌊p·2^(n+40)⌋.
//
// Two things a caller must know. A token farther from max may outweigh a nearer one by one unit in the last place of a float, never by more
// (tests/mark/weight_test.cc): order by weight, and leave that much room when logits are used to leave tokens out. And the rounding of
// `scale` acts as a temperature off by at most 2⁻²⁴ of itself, the same on every device.
COUNTERMARK_HD inline float WeightAsFloat(float z, float max, float scale) {
  const float d = z - max;
  const float t = d * scale;
  if (!(t >= -41.0f)) return 0.0f;
  const float n = std::nearbyintf(t);
  const float r = std::fmaf(d, scale, -n);
  float p = 1.537070493e-04f;
  p = std::fmaf(p, r, 1.339984825e-03f);
  p = std::fmaf(p, r, 9.618373588e-03f);
  p = std::fmaf(p, r, 5.550329015e-02f);
  p = std::fmaf(p, r, 2.402264774e-01f);
  p = std::fmaf(p, r, 6.931471825e-01f);
  p = std::fmaf(p, r, 1.0f);
  // Multiply by 2^(n+40) by adding to the exponent: p is in [0.70, 1.42], n + 40 in [−1, 40].
  uint32_t bits;
  std::memcpy(&bits, &p, sizeof bits);
  bits += static_cast<uint32_t>(static_cast<int32_t>(n) + kWeightBits) << 23;
  float scaled;
  std::memcpy(&scaled, &bits, sizeof scaled);
  return std::truncf(scaled);
}

// The smallest float that is not below the integer `value` ≤ 2⁴⁰: weights are floats, so w ≥ value just when w ≥ this.
COUNTERMARK_HD inline float NotBelow(uint64_t value) {
  float f = static_cast<float>(value);
  if (static_cast<double>(f) < static_cast<double>(value)) {  // rounded down: the next one
    uint32_t bits;
    std::memcpy(&bits, &f, sizeof bits);
    ++bits;
    std::memcpy(&f, &bits, sizeof f);
  }
  return f;
}

COUNTERMARK_HD inline uint64_t Weight(float z, float max, float scale) {
  return static_cast<uint64_t>(WeightAsFloat(z, max, scale));
}

}  // namespace countermark

#endif  // COUNTERMARK_MARK_WEIGHT_H_
