// Both logarithms against oracles: the C library's 64-bit-mantissa logl on a million words, Boost.Multiprecision on some thousands. Every
// word of all is looked at by log_exhaustive.cc.
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include <boost/multiprecision/cpp_bin_float.hpp>
#include <gtest/gtest.h>

#include "countermark/mark/gumbel.h"
#include "countermark/mark/log.h"

namespace countermark {
namespace {

using Exact = boost::multiprecision::cpp_bin_float_50;

// 0, 2³² − 1, and everything near powers of two and where the logarithms change their reduction.
std::vector<uint32_t> EdgeWords() {
  std::vector<uint32_t> words;
  const auto around = [&](uint64_t center) {
    for (int d = -3; d <= 3; ++d) words.push_back(static_cast<uint32_t>(center + d));
  };
  for (int k = 0; k <= 32; ++k) {
    around(uint64_t{1} << k);
    around((uint64_t{1} << 32) - (uint64_t{1} << k));
    around(static_cast<uint64_t>(0x1.6A09E667F3BCDp+31) >> k);  // m = √2
  }
  for (uint64_t i = 0; i < 128; ++i) around((uint64_t{1} << 31) - (i << 24));
  return words;
}

Exact AsExact(SignedInt128 x) {
  return ldexp(Exact(static_cast<int64_t>(x >> 64)), 64) + Exact(static_cast<uint64_t>(x));
}

double UnitInTheLastPlace(double x) { return std::ldexp(1.0, std::ilogb(x) - 52); }

TEST(NegativeLog, WithinAUnitInTheLastPlaceOfBoost) {
  std::vector<uint32_t> words = EdgeWords();
  std::mt19937 random(1);
  for (int i = 0; i < 1000; ++i) words.push_back(random());
  for (const uint32_t word : words) {
    const Exact exact = -log(ldexp(Exact(2 * static_cast<uint64_t>(word) + 1), -33));
    const double ours = NegativeLog(word);
    ASSERT_LE(abs(Exact(ours) - exact), Exact(UnitInTheLastPlace(ours))) << word;
  }
}

TEST(NegativeLog, WithinAUnitInTheLastPlaceOfLogl) {
  if (LDBL_MANT_DIG < 64) GTEST_SKIP() << "long double is no wider than double on this machine";
  for (uint64_t i = 0; i < 1000000; ++i) {
    const uint32_t word = static_cast<uint32_t>(i * 4294967291u >> 7 ^ i * 2654435761u);
    const long double exact = -std::log(std::ldexp(static_cast<long double>(2 * static_cast<uint64_t>(word) + 1), -33));
    const double ours = NegativeLog(word);
    ASSERT_LE(std::fabs(ours - exact), static_cast<long double>(UnitInTheLastPlace(ours))) << word;
  }
}

TEST(NegativeLog, FallsStrictlyAsTheWordGrows) {
  std::vector<uint32_t> starts = EdgeWords();
  std::mt19937 random(2);
  for (int i = 0; i < 1000; ++i) starts.push_back(random());
  for (const uint32_t start : starts) {
    for (uint64_t word = start; word < uint64_t{start} + 200 && word < 0xFFFFFFFF; ++word) {
      ASSERT_LT(NegativeLog(static_cast<uint32_t>(word) + 1), NegativeLog(static_cast<uint32_t>(word))) << word;
    }
  }
  EXPECT_GT(NegativeLog(0xFFFFFFFF), 0.0);
}

TEST(FixedNegativeLog, IsTheExactFloor) {
  std::vector<uint32_t> words = EdgeWords();
  std::mt19937 random(3);
  for (int i = 0; i < 1000; ++i) words.push_back(random());
  for (const uint32_t word : words) {
    const Exact exact = -log(ldexp(Exact((uint64_t{1} << 32) - word), -32));
    ASSERT_EQ(FixedNegativeLog(word), static_cast<uint64_t>(floor(ldexp(exact, 40)))) << word;
    if (word == 0) continue;
    const FixedLogParts parts = SplitForFixedLog(word);
    ASSERT_LE(abs(AsExact(FixedLogUnits(parts)) - ldexp(exact, 64)), 32) << word;
    ASSERT_LE(abs(AsExact(FixedLogUnitsFine(parts)) - ldexp(exact, 96)), 4096) << word;
  }
  EXPECT_EQ(FixedNegativeLog(0), 0u);
  EXPECT_LE(FixedNegativeLog(0xFFFFFFFF), static_cast<uint64_t>(std::ldexp(22.2, 40)));
}

// The words whose scores lie nearest to an integer, found by check_log_exhaustive: 64 bits do not settle them.
TEST(FixedNegativeLog, IsTheExactFloorWhereItIsHardest) {
  for (const uint32_t word : {3560128570u, 1164674341u, 3574484118u, 1412233888u, 3448136182u, 2710634202u, 620258876u,
                              3360391885u, 1855047721u, 1780973049u, 2453598943u, 47774515u}) {
    const Exact exact = -log(ldexp(Exact((uint64_t{1} << 32) - word), -32));
    EXPECT_EQ(FixedNegativeLog(word), static_cast<uint64_t>(floor(ldexp(exact, 40)))) << word;
  }
}

// Mean and variance of the score under a uniform word are those of Exp(1): over all words of a stride the sum is within a hair of 2⁴⁰ each.
TEST(FixedNegativeLog, AveragesToOne) {
  constexpr uint64_t kWords = 1 << 20;
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < kWords; ++i) {
    const double x = std::ldexp(static_cast<double>(FixedNegativeLog(static_cast<uint32_t>(i << 12 | 0x800))), -40);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kWords, 1.0, 1e-5);      // the mid-point rule's error, about ln(2)/2²¹
  EXPECT_NEAR(squares / kWords, 2.0, 1e-4);
}

TEST(GumbelArrival, BoundNeverExceedsIt) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 10000000; ++i) {
    const uint64_t bits = random();
    // Half of the words near the top, where winners are; weights of every size up to 2⁴⁰.
    const uint32_t word = bits & 1 ? static_cast<uint32_t>(bits >> 32) : 0xFFFFFFFFu - static_cast<uint32_t>(bits >> 52);
    const double weight = static_cast<double>(1 + ((bits * 0x9E3779B97F4A7C15u) >> 24 >> (bits >> 1 & 31)));
    ASSERT_LE(GumbelArrivalBound(word, weight), GumbelArrival(word, weight)) << word << " " << weight;
  }
  for (const uint32_t word : EdgeWords()) {
    for (int k = 0; k <= 40; ++k) {
      for (const double weight : {std::ldexp(1.0, k), std::ldexp(1.0, k) + 1, std::ldexp(1.0, k) - 1}) {
        if (weight < 1) continue;
        ASSERT_LE(GumbelArrivalBound(word, weight), GumbelArrival(word, weight)) << word << " " << weight;
      }
    }
  }
}

// The bound would be useless if it were loose: for the top hundredth of words it is within a hundredth of the arrival.
TEST(GumbelArrival, BoundIsTightWhereWinnersAre) {
  for (uint64_t word = 0xFD70A3D7; word <= 0xFFFFFFFF; word += 65521) {
    const uint32_t top = static_cast<uint32_t>(word);
    ASSERT_GE(GumbelArrivalBound(top, 12345.0), 0.99 * GumbelArrival(top, 12345.0)) << word;
  }
}

}  // namespace
}  // namespace countermark
