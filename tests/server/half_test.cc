// 16-bit logits: every number of either kind, and rounding at and beside each midpoint, against the definitions.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "src/server/half.h"

namespace countermark::server {
namespace {

// The value of a sign, exponent and fraction, by IEEE 754's definition.
double ValueOf(uint32_t bits, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
  const uint32_t fraction = bits & ((1u << fraction_bits) - 1);
  const int exponent = static_cast<int>(bits >> fraction_bits) & top;
  const double sign = bits >> (exponent_bits + fraction_bits) & 1 ? -1.0 : 1.0;
  if (exponent == top) return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp(fraction + (1u << fraction_bits), exponent - bias - fraction_bits);
}

struct Kind {
  const char* name;
  int exponent_bits, fraction_bits;
  float (*to)(uint16_t);
  uint16_t (*from)(float);
};
const Kind kKinds[] = {{"half", 5, 10, FloatOfHalf, HalfOf}, {"bfloat16", 8, 7, FloatOfBfloat, BfloatOf}};

TEST(Half, EveryNumber) {
  for (const Kind& kind : kKinds) {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      const double value = ValueOf(bits, kind.exponent_bits, kind.fraction_bits);
      const float x = kind.to(static_cast<uint16_t>(bits));
      if (std::isnan(value)) {
        ASSERT_TRUE(std::isnan(x)) << kind.name << " " << bits;
        ASSERT_TRUE(std::isnan(kind.to(kind.from(x))));
        continue;
      }
      ASSERT_EQ(static_cast<double>(x), value) << kind.name << " " << bits;
      ASSERT_EQ(std::signbit(x), bits >> 15 != 0);
      ASSERT_EQ(kind.from(x), bits) << kind.name;
    }
  }
}

TEST(Half, RoundsToNearestAndTiesToEven) {
  for (const Kind& kind : kKinds) {
    const uint32_t infinity = ((1u << kind.exponent_bits) - 1) << kind.fraction_bits;
    for (uint32_t bits = 0; bits < infinity; ++bits) {
      const double below = ValueOf(bits, kind.exponent_bits, kind.fraction_bits);
      // Beyond the largest number the next step is infinity, and the midpoint to it rounds up.
      const double above = bits + 1 == infinity ? 2 * below - ValueOf(bits - 1, kind.exponent_bits, kind.fraction_bits)
                                                : ValueOf(bits + 1, kind.exponent_bits, kind.fraction_bits);
      const double middle = (below + above) / 2;
      const float m = static_cast<float>(middle);
      if (static_cast<double>(m) != middle) continue;  // not a single: bfloat16's own last steps
      ASSERT_EQ(kind.from(m), bits + (bits & 1)) << kind.name << " " << bits;
      ASSERT_EQ(kind.from(-m), (bits + (bits & 1)) | 0x8000u);
      ASSERT_EQ(kind.from(std::nextafter(m, 0.0f)), bits) << kind.name << " " << bits;
      if (std::isfinite(m)) {
        ASSERT_EQ(kind.from(std::nextafter(m, HUGE_VALF)), bits + 1) << kind.name << " " << bits;
      }
    }
  }
}

}  // namespace
}  // namespace countermark::server
