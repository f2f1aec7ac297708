// Scheme 1, partition (the green list of Kirchenbauer et al., 2301.10226): green tokens gain δ in logit.
#ifndef COUNTERMARK_MARK_PARTITION_H_
#define COUNTERMARK_MARK_PARTITION_H_

#include <cmath>
#include <cstdint>

#include "countermark/mark/platform.h"

namespace countermark {

// A token is green when its byte under the window's seed is below G: a share γ = G/256 of all tokens.
COUNTERMARK_HD inline bool IsGreen(uint8_t byte, uint32_t green) { return byte < green; }

// round(2²³·e^−δ), what a red token's weight is multiplied by. Computed once a hook, on the host: 0 < δ ≤ 16.
inline uint64_t RedFactor(double delta) { return static_cast<uint64_t>(std::llround(std::ldexp(std::exp(-delta), 23))); }

// What a green token's logit gains where a host divides by the temperature afterwards: δ·T, at most 30,000. A request hotter than that is uniform in
// effect, and its logits must stay finite.
COUNTERMARK_HD inline float GreenGain(double delta, float temperature) {
  const float gain = static_cast<float>(delta) * temperature;
  return gain < 30000.0f ? gain : 30000.0f;
}

// ⌊w·factor/2²³⌋; w ≤ 2⁴⁰ and factor ≤ 2²³ stay within 64 bits.
COUNTERMARK_HD inline uint64_t RedWeight(uint64_t w, uint64_t red_factor) { return w * red_factor >> 23; }

}  // namespace countermark

#endif  // COUNTERMARK_MARK_PARTITION_H_
