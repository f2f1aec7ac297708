// 16-bit logits to and from single precision, whole rows at once: loops without branches, which compilers widen.
//
//   FloatsOfHalf(halves, n, floats);      // exact: every 16-bit number is a single
//   HalvesOf(floats, n, halves);          // to nearest, ties to even
#ifndef COUNTERMARK_SRC_SERVER_HALF_H_
#define COUNTERMARK_SRC_SERVER_HALF_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace countermark::server {

inline float FloatOfHalf(uint16_t h) {
  // The exponent is moved by a multiplication, so that subnormal numbers come out right; infinities and NaN are put back.
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7FFF) << 13;
  const uint32_t scaled = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const uint32_t special = magnitude + (uint32_t{255 - 31} << 23);
  return std::bit_cast<float>((magnitude >= 0x0F800000u ? special : scaled) | static_cast<uint32_t>(h & 0x8000) << 16);
}

inline uint16_t HalfOf(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = bits & 0x7FFFFFFFu, sign = bits >> 16 & 0x8000u;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // 65520 and beyond round to infinity
  if (magnitude < 0x38800000u) {  // below 2⁻¹⁴: counted in steps of 2⁻²⁴ by an addition that rounds
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u));
  }
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xFFFu + (magnitude >> 13 & 1)) >> 13));
}

inline float FloatOfBfloat(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }

inline uint16_t BfloatOf(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFFu;
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_HALF_H_
