// Weights against the exponential they stand for, and what selection builds on.
#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "countermark/mark/weight.h"

namespace countermark {
namespace {

constexpr float kTemperatures[] = {0.3f, 0.7f, 1.0f, 1.3f, 5.0f};

// Calls look(d, w) for distances d > 0, ascending: every float in four dense stretches, and every 997th from 2⁻³⁰ to weight 0.
template <typename Look>
void Sweep(float scale, Look look) {
  const auto stretch = [&](float first, float last, uint32_t step) {
    for (uint32_t bits = std::bit_cast<uint32_t>(first); bits < std::bit_cast<uint32_t>(last); bits += step) {
      const float d = std::bit_cast<float>(bits);
      look(d, WeightAsFloat(-d, 0.0f, scale));
    }
  };
  stretch(0x1p-30f, 42.0f / scale, 997);
  stretch(0x1.0p-8f, 0x1.2p-8f, 1);
  stretch(0.499f / scale, 0.501f / scale, 1);  // where the power of two changes
  stretch(7.49f / scale, 7.51f / scale, 1);
  stretch(40.4f / scale, 41.1f / scale, 1);    // the last weights above 0
}

TEST(Weight, TheLikeliestWeighs2To40) {
  for (const float temperature : {kMinTemperature, 0.3f, 1.0f, 5.0f, 100.0f}) {
    const float scale = InverseTemperature(temperature);
    for (const float z : {0.0f, -0.0f, 1.5f, -40.0f, FLT_MAX, -FLT_MAX, FLT_MIN, std::numeric_limits<float>::denorm_min()}) {
      EXPECT_EQ(Weight(z, z, scale), uint64_t{1} << 40) << z << " at " << temperature;
    }
    EXPECT_EQ(Weight(-0.0f, 0.0f, scale), uint64_t{1} << 40);
  }
}

TEST(Weight, MinusInfinityWeighsNothing) {
  for (const float temperature : {kMinTemperature, 0.3f, 1.0f, 5.0f, 100.0f}) {
    for (const float max : {0.0f, FLT_MAX, -FLT_MAX}) {
      EXPECT_EQ(Weight(-std::numeric_limits<float>::infinity(), max, InverseTemperature(temperature)), 0u);
    }
    EXPECT_EQ(Weight(-FLT_MAX, FLT_MAX, InverseTemperature(temperature)), 0u) << "a difference that overflows";
  }
}

TEST(Weight, IsAWholeNumberUpTo2To40) {
  for (const float temperature : kTemperatures) {
    Sweep(InverseTemperature(temperature), [](float d, float w) {
      ASSERT_TRUE(w >= 0 && w <= 0x1p40f && w == std::floor(w)) << d;
      ASSERT_EQ(static_cast<float>(static_cast<uint64_t>(w)), w) << d;
    });
  }
}

// Against the true exponential: 2⁻²³ for the polynomial, and the rounding of log₂(e)/T, which acts as a temperature off by 2⁻²⁴ at most.
TEST(Weight, IsTheExponentialRoundedDown) {
  for (const float temperature : kTemperatures) {
    const float scale = InverseTemperature(temperature);
    Sweep(scale, [&](float d, float w) {
      const double exponent = static_cast<double>(d) * static_cast<double>(scale);  // exact: 48 bits
      const double as_scaled = std::exp2(40 - exponent);
      ASSERT_LE(w, as_scaled * (1 + 0x1p-23)) << d << " at " << temperature;
      ASSERT_GE(w, as_scaled * (1 - 0x1p-23) - (as_scaled < 0x1p24 ? 1 : 0)) << d << " at " << temperature;
      if (as_scaled >= 0x1p24) {
        const double exact = std::exp(-static_cast<double>(d) / static_cast<double>(temperature)) * 0x1p40;
        ASSERT_NEAR(w / exact, 1.0, 0x1p-23 + exponent * 0.6931471806 * 0x1.02p-24) << d << " at " << temperature;
      }
    });
  }
}

// A farther logit may outweigh a nearer one by the last place of a float, never by more: truncation that looks for candidates among the
// logits must leave that much room, and order by weight.
TEST(Weight, FallsWithDistanceButForTheLastPlace) {
  for (const float temperature : kTemperatures) {
    float least = 0x1p40f, previous = 0;
    Sweep(InverseTemperature(temperature), [&](float d, float w) {
      if (d < previous) least = 0x1p40f;  // the next stretch
      previous = d;
      ASSERT_LE(w, std::nextafter(least, FLT_MAX)) << d << " at " << temperature;
      least = std::min(least, w);
    });
  }
}

TEST(Weight, ShiftingAllLogitsChangesNothingWhereTheDifferenceIsExact) {
  const float scale = InverseTemperature(0.8f);
  for (int i = 0; i < 4000; ++i) {
    const float d = static_cast<float>(i) / 128;
    ASSERT_EQ(Weight(-d, 0.0f, scale), Weight(16 - d, 16.0f, scale));
    ASSERT_EQ(Weight(-d, 0.0f, scale), Weight(-1024 - d, -1024.0f, scale));
  }
}

}  // namespace
}  // namespace countermark
