// The integer arithmetic of partition, tournament, truncation and plain draws: its bounds and its error.
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "countermark/mark/partition.h"
#include "countermark/mark/scheme.h"
#include "countermark/mark/select.h"
#include "countermark/mark/tournament.h"
#include "countermark/mark/wide_integer.h"

namespace countermark {
namespace {

constexpr uint64_t kBig = uint64_t{1} << 40;

TEST(MultiplyHigh, IsTheUpperHalf) {
  EXPECT_EQ(MultiplyHigh(~uint64_t{0}, ~uint64_t{0}), ~uint64_t{0} - 1);
  EXPECT_EQ(MultiplyHigh(uint64_t{1} << 32, uint64_t{1} << 32), 1u);
  EXPECT_EQ(MultiplyHigh((uint64_t{1} << 32) - 1, uint64_t{1} << 32), 0u);
  std::mt19937_64 random(1);
  for (int i = 0; i < 100000; ++i) {
    const uint64_t a = random(), b = random();
    // By halves, in 64 bits alone.
    const uint64_t low = (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF), left = (a >> 32) * (b & 0xFFFFFFFF), right = (a & 0xFFFFFFFF) * (b >> 32);
    const uint64_t middle = (low >> 32) + (left & 0xFFFFFFFF) + (right & 0xFFFFFFFF);
    ASSERT_EQ(MultiplyHigh(a, b), (a >> 32) * (b >> 32) + (left >> 32) + (right >> 32) + (middle >> 32));
  }
}

TEST(Partition, GreenIsBelowTheBound) {
  for (int green = 1; green <= 255; ++green) {
    int count = 0;
    for (int byte = 0; byte < 256; ++byte) count += IsGreen(static_cast<uint8_t>(byte), static_cast<uint32_t>(green));
    ASSERT_EQ(count, green);
  }
}

TEST(Partition, RedNeverOverflowsAndNeverGains) {
  EXPECT_EQ(RedFactor(1e-12), uint64_t{1} << 23);
  EXPECT_EQ(RedWeight(kBig, uint64_t{1} << 23), kBig);
  std::mt19937_64 random(2);
  for (int i = 0; i < 100000; ++i) {
    const uint64_t w = random() >> 24, factor = random() % ((uint64_t{1} << 23) + 1);
    const uint64_t red = RedWeight(w, factor);
    ASSERT_LE(red, w);
    ASSERT_EQ(red, static_cast<uint64_t>(static_cast<Uint128>(w) * factor >> 23));
  }
}

TEST(Tournament, ShiftBringsEveryTotalIntoPlace) {
  const auto check = [](uint64_t total) {
    const int shift = TournamentShift(total);
    ASSERT_GE(total << shift, uint64_t{1} << 59) << total;
    ASSERT_LT(total << shift, uint64_t{1} << 60) << total;
    ASSERT_EQ((total << shift) >> shift, total);
  };
  for (int k = 0; k < 60; ++k) {
    check(uint64_t{1} << k);
    check((uint64_t{1} << k) + ((uint64_t{1} << k) - 1));
    if (k > 1) check((uint64_t{1} << k) + 1);
  }
}

// Each layer against the exact rational w·(g·W + W − A)/W: a token's new weight falls short of it by less than two units, where the
// units are at most 2⁻⁵⁹ of the total, so below 4e-18; the total by at most one unit a token and one for the ratio, and it never grows.
TEST(Tournament, TheRatioByDoublesIsTheExactOne) {
  std::mt19937_64 random(5);
  const uint64_t low = uint64_t{1} << 59, high = (uint64_t{1} << 60) - 1;
  const auto check = [](uint64_t total, uint64_t ones) {
    ASSERT_EQ(TournamentRatioByDoubles(total, ones), TournamentRatio(total, ones)) << total << " " << ones;
  };
  for (uint64_t total : {low - 40000, low, low + 1, low + 2, high - 1, high, low + (low >> 1), uint64_t{0x0D3C21BCECCEDA00}}) {
    for (uint64_t n : {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{3}, total / 3, total / 2, total / 2 + 1, total - 3, total - 2, total - 1, total}) {
      check(total, n);
    }
  }
  for (int i = 0; i < 2000000; ++i) {
    const uint64_t total = low + random() % low;
    check(total, i % 4 == 0 ? total - (random() >> (random() % 64)) % total : random() % (total + 1));
  }
}

TEST(Tournament, ALayerKeepsTheTotalAndTheDistribution) {
  std::mt19937_64 random(3);
  for (int run = 0; run < 200; ++run) {
    const size_t n = run % 5 == 0 ? 1024 : 1 + random() % 40;
    std::vector<uint64_t> weights(n);
    std::vector<uint32_t> words(n);
    uint64_t total = 0;
    for (size_t i = 0; i < n; ++i) {
      weights[i] = random() >> (24 + random() % 40);
      words[i] = run % 7 == 0 ? 0 : run % 11 == 0 ? 0xFFFFFFFF : static_cast<uint32_t>(random());
      total += weights[i];
    }
    weights[0] += 1;
    const int shift = TournamentShift(total + 1);
    for (uint64_t& w : weights) w <<= shift;
    total = (total + 1) << shift;
    for (int layer = 0; layer < kMaxLayers; ++layer) {
      uint64_t ones = 0, next = 0;
      for (size_t i = 0; i < n; ++i) ones += words[i] >> layer & 1 ? weights[i] : 0;
      const uint64_t ratio = TournamentRatio(total, ones);
      ASSERT_LE(ratio, uint64_t{1} << 63);
      for (size_t i = 0; i < n; ++i) {
        const uint32_t g = words[i] >> layer & 1;
        const uint64_t now = TournamentWeight(weights[i], g, ratio);
        const uint64_t exact = static_cast<uint64_t>(static_cast<Uint128>(weights[i]) * ((g ? total : 0) + total - ones) / total);
        ASSERT_LE(now, exact);
        ASSERT_LE(exact - now, 1u);
        weights[i] = now;
        next += now;
      }
      ASSERT_LE(next, total);
      ASSERT_LE(total - next, n + 1);
      total = next;
    }
  }
}

TEST(Truncation, ComparisonsHoldAtTheirEnds) {
  const uint64_t one = uint64_t{1} << 32, most = uint64_t{0xFFFFFF} << 40;  // the heaviest vocabulary there can be
  EXPECT_TRUE(TopPReached(most, most, one));
  EXPECT_FALSE(TopPReached(most - 1, most, one));
  EXPECT_TRUE(TopPReached(most / 2, most, one / 2));
  EXPECT_FALSE(TopPReached(most / 2 - 1, most, one / 2));
  EXPECT_TRUE(TopPReached(0, most, 0));
  EXPECT_TRUE(MinPKeeps(kBig, kBig, one));
  EXPECT_FALSE(MinPKeeps(kBig - 1, kBig, one));
  EXPECT_TRUE(MinPKeeps(1, kBig, 0));
  EXPECT_TRUE(ComesBefore(2, 9, 1, 0));
  EXPECT_TRUE(ComesBefore(1, 0, 1, 9));
  EXPECT_FALSE(ComesBefore(1, 9, 1, 9));
}

TEST(Draw, TargetIsBelowTheTotal) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 100000; ++i) {
    const uint64_t total = (random() >> random() % 64) | 1;
    ASSERT_LT(DrawTarget(random(), total), total);
    ASSERT_EQ(DrawTarget(~uint64_t{0}, total), total - 1);
    ASSERT_EQ(DrawTarget(0, total), 0u);
  }
}

// Each of key, position and draw number changes the bits.
TEST(Draw, BitsDependOnEverything) {
  uint32_t key[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  const uint64_t bits = DrawBits(key, 7, 0);
  EXPECT_NE(bits, DrawBits(key, 8, 0));
  EXPECT_NE(bits, DrawBits(key, 7 + (uint64_t{1} << 32), 0));
  EXPECT_NE(bits, DrawBits(key, 7, 1));
  key[7] ^= 1;
  EXPECT_NE(bits, DrawBits(key, 7, 0));
}

}  // namespace
}  // namespace countermark
