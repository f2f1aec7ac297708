// The tails against mpmath (tests/vectors/tails.json), Boost.Math and their own laws: monotone, bounded, never NaN.
#include "countermark/detect/tails.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <boost/math/special_functions/beta.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace countermark {
namespace {

using nlohmann::json;

constexpr bool kWide = std::numeric_limits<long double>::digits >= 64;
constexpr double kRelative = kWide ? 2e-15 : 1e-12;  // of log10 p
constexpr double kInfinity = std::numeric_limits<double>::infinity();

const json& Vectors() {
  static const json vectors = json::parse(std::ifstream(COUNTERMARK_TEST_VECTORS "/tails.json"));
  return vectors;
}

Statistic ParseStatistic(const std::string& digits) {
  Statistic value = 0;
  for (const char c : digits) value = value * 10 + static_cast<unsigned>(c - '0');
  return value;
}

// |got − want| as a share of want; below 1e-300 a double has no relative precision left, and both count as zero.
double RelativeError(double got, double want) {
  if (std::fabs(got) < 1e-300 && std::fabs(want) < 1e-300) return 0;
  return std::fabs(got - want) / std::fabs(want);
}

void ExpectProbability(double log10_p, const std::string& where) {
  ASSERT_FALSE(std::isnan(log10_p)) << where;
  ASSERT_LE(log10_p, 0) << where;
  ASSERT_GT(log10_p, -kInfinity) << where;
}

TEST(Tails, BinomialIsMpmaths) {
  double worst = 0;
  for (const json& row : Vectors()["binomial"]) {
    const double got = Log10BinomialTail(row[0], row[1], row[2], row[3]);
    const double error = RelativeError(got, row[4]);
    EXPECT_LE(error, kRelative) << row << " got " << got;
    worst = std::max(worst, error);
  }
  EXPECT_GT(Vectors()["binomial"].size(), 1000u);
  RecordProperty("worst_relative_error", std::to_string(worst * 1e16) + "e-16");
}

TEST(Tails, GammaIsMpmaths) {
  double worst = 0;
  for (const json& row : Vectors()["gamma"]) {
    const double got = Log10GammaTail(row[0], row[1]);
    const double error = RelativeError(got, row[2]);
    EXPECT_LE(error, kRelative) << row << " got " << got;
    worst = std::max(worst, error);
  }
  EXPECT_GT(Vectors()["gamma"].size(), 200u);
  RecordProperty("worst_relative_error", std::to_string(worst * 1e16) + "e-16");
}

TEST(Tails, CountsAreMpmaths) {
  for (const json& row : Vectors()["counts"]) {
    MarkParameters parameters;
    const std::string scheme = row[0];
    parameters.scheme = scheme == "partition" ? Scheme::kPartition : scheme == "tournament" ? Scheme::kTournament : Scheme::kGumbel;
    if (scheme == "partition") parameters.green = row[1];
    if (scheme == "tournament") parameters.layers = row[1];
    const double got = Log10P({row[2], ParseStatistic(row[3])}, parameters);
    EXPECT_LE(RelativeError(got, row[4]), kRelative) << row << " got " << got;
  }
}

// Boost fails in its own way (it underflows at 1e-308), so it is asked only where it can answer. Its error grows with n; 1e-10 is its own.
TEST(Tails, BoostAgrees) {
  std::mt19937_64 random(1);
  int asked = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto n = static_cast<uint64_t>(std::exp(std::uniform_real_distribution<>(0, std::log(1e5))(random)));
    const double deviations = std::uniform_real_distribution<>(-8, 25)(random);
    const uint32_t numerator = 1 + random() % 255;
    const double p = numerator / 256.0;
    const double k = std::floor(n * p + deviations * std::sqrt(n * p * (1 - p)));
    if (k >= 1 && k <= n) {
      const double boost_p = boost::math::ibeta(k, n - k + 1, p);
      if (boost_p > 1e-280) {
        const double got = Log10BinomialTail(n, static_cast<uint64_t>(k), numerator, 256);
        ASSERT_NEAR(got, std::log10(boost_p), 1e-10 * std::max(1.0, -got)) << n << " " << k << " " << numerator;
        ++asked;
      }
    }
    const double s = n + deviations * std::sqrt(n);
    if (s > 0) {
      const double boost_q = boost::math::gamma_q(static_cast<double>(n), s);
      if (boost_q > 1e-280) {
        const double got = Log10GammaTail(n, s);
        ASSERT_NEAR(got, std::log10(boost_q), 1e-10 * std::max(1.0, -got)) << n << " " << s;
        ++asked;
      }
    }
  }
  EXPECT_GT(asked, 20000);
}

TEST(Tails, StepsAreTheMasses) {
  for (const uint64_t n : {1, 2, 17, 60}) {
    for (const uint32_t numerator : {1, 64, 128, 255}) {
      long double mass = std::pow(1 - numerator / 256.0L, n);
      for (uint64_t k = 0; k <= n; ++k) {
        const long double here = std::pow(10.0L, Log10BinomialTail(n, k, numerator, 256));
        const long double next = k == n ? 0 : std::pow(10.0L, Log10BinomialTail(n, k + 1, numerator, 256));
        EXPECT_NEAR(static_cast<double>(here - next), static_cast<double>(mass), 1e-14) << n << " " << k << " " << numerator;
        mass *= static_cast<long double>(n - k) / (k + 1) * numerator / (256 - numerator);
      }
    }
  }
}

TEST(Tails, BinomialFallsWithEveryHit) {
  for (const uint64_t n : {1, 2, 10, 255, 256, 1024, 4000, 5334, 8192, 20000}) {
    for (const uint32_t numerator : {1, 16, 64, 128, 192, 255}) {
      double last = 0;
      for (uint64_t k = 0; k <= n; ++k) {
        const double here = Log10BinomialTail(n, k, numerator, 256);
        ASSERT_LE(here, last) << n << " " << k << " " << numerator;
        ASSERT_FALSE(std::isnan(here));
        last = here;
      }
      ASSERT_LT(std::fabs(last - n * std::log10(numerator / 256.0)), 1e-13 * n);
    }
  }
}

// Around the mean and where a method takes over from another (±6 standard deviations), at sizes that no loop can walk.
TEST(Tails, BinomialFallsAtTheSeams) {
  for (const uint64_t n : {uint64_t{1000000}, uint64_t{1000000000000}, uint64_t{1} << 53, uint64_t{1} << 62}) {
    for (const uint32_t numerator : {1, 64, 128, 255}) {
      const double p = numerator / 256.0, deviation = std::sqrt(n * p * (1 - p));
      const uint64_t mean = n / 256 * numerator;
      for (const double seam : {-6.0, 0.0, 6.0}) {
        // Millionths of a deviation on either side, hit by hit where the deviation is smaller than that.
        const auto center = static_cast<uint64_t>(static_cast<int64_t>(mean) + static_cast<int64_t>(seam * deviation));
        const uint64_t step = 1 + static_cast<uint64_t>(deviation * 1e-8);
        double last = 0;
        for (uint64_t k = center - 800 * step; k <= std::min(n, center + 800 * step); k += step) {
          const double here = Log10BinomialTail(n, k, numerator, 256);
          ASSERT_LE(here, last) << n << " " << k << " " << numerator;
          last = here;
        }
      }
    }
  }
}

// From one double to the next: what is computed carries more digits than what is returned, so not even rounding can turn a tail.
TEST(Tails, GammaFallsWithEveryUlp) {
  std::mt19937_64 random(2);
  int flat = 0, steps = 0;
  const auto walk = [&](uint64_t n, double s) {
    double last = Log10GammaTail(n, s);
    for (int i = 0; i < 8; ++i) {
      s = kWide ? std::nextafter(s, kInfinity) : s * (1 + 1e-12);
      const double here = Log10GammaTail(n, s);
      ASSERT_LE(here, last) << n << " " << s;
      flat += here == last;
      ++steps;
      last = here;
    }
  };
  for (int i = 0; i < 15000; ++i) {
    const auto n = static_cast<uint64_t>(std::exp(std::uniform_real_distribution<>(0, std::log(1e9))(random)));
    const double root = std::sqrt(n), size = static_cast<double>(n);
    walk(n, std::max(1e-3, size + std::uniform_real_distribution<>(-9, 40)(random) * root));
    for (const double seam : {size, size + 6 * root, size - 6 * root}) {
      if (seam > 0 && i % 3 == 0) walk(n, seam - 4 * (std::nextafter(seam, kInfinity) - seam));
    }
    walk(n, std::exp(std::uniform_real_distribution<>(-20, 40)(random)));
  }
  for (const uint64_t n : {999, 1000, 1001}) {
    double last = 0;
    for (double s = 0; s < 3000; s += 0.01) {
      const double here = Log10GammaTail(n, s);
      ASSERT_LE(here, last) << n << " " << s;
      last = here;
    }
  }
  EXPECT_GT(steps, 100000);
  EXPECT_LT(flat, steps);
}

// 2e5 points: a probability, between its first term and Chernoff's bound, falling with k and s, rising with n.
TEST(Tails, RandomPointsKeepTheLaws) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<> unit(0, 1);
  for (int i = 0; i < 100000; ++i) {
    const auto n = static_cast<uint64_t>(std::exp(unit(random) * std::log(1e12)));
    const uint32_t denominator = i % 4 ? 256 : 2 + static_cast<uint32_t>(random() % 0xFFFFFFF0);
    const uint32_t numerator = 1 + static_cast<uint32_t>(random() % (denominator - 1));
    const uint64_t k = i % 2 ? random() % (n + 1)
                             : std::min<uint64_t>(n, static_cast<uint64_t>(std::max(0.0, n * (double(numerator) / denominator) +
                                                                                              (unit(random) * 30 - 10) * std::sqrt(n) / 2)));
    const double here = Log10BinomialTail(n, k, numerator, denominator);
    const std::string where = std::to_string(n) + " " + std::to_string(k) + " " + std::to_string(numerator) + "/" + std::to_string(denominator);
    ExpectProbability(here, where);
    if (k < n) {
      ASSERT_LE(Log10BinomialTail(n, k + 1, numerator, denominator), here) << where;
      const uint64_t further = k + 1 + random() % (n - k);
      ASSERT_LE(Log10BinomialTail(n, further, numerator, denominator), here) << where;
    }
    ASSERT_GE(Log10BinomialTail(n + 1, k, numerator, denominator), here) << where;
    const double p = double(numerator) / denominator, share = double(k) / n;
    if (k > 0 && share > p) {
      const double chernoff = -(share * std::log(share / p) + (k == n ? 0 : (1 - share) * std::log((1 - share) / (1 - p)))) * n / std::log(10.0);
      ASSERT_LE(here, chernoff + 1e-9 * std::max(1.0, n * 1e-5)) << where;
    }

    const double s = i % 2 ? std::exp(unit(random) * 60 - 20) : std::max(0.0, n + (unit(random) * 30 - 10) * std::sqrt(n));
    const double gamma = Log10GammaTail(n, s);
    const std::string gamma_where = std::to_string(n) + " " + std::to_string(s);
    ExpectProbability(gamma, gamma_where);
    ASSERT_LE(Log10GammaTail(n, s + unit(random) * std::sqrt(n)), gamma) << gamma_where;
    ASSERT_GE(Log10GammaTail(n + 1, s), gamma) << gamma_where;
    if (s > n) {
      ASSERT_LE(gamma, (n - s + n * std::log(s / n)) / std::log(10.0) + 1e-9 * std::max(1.0, n * 1e-5)) << gamma_where;
    }
  }
}

TEST(Tails, Extremes) {
  EXPECT_NEAR(Log10BinomialTail(1, 1, 1, 256), -std::log10(256.0), 1e-15);
  EXPECT_NEAR(Log10BinomialTail(1, 1, 255, 256), std::log10(255.0 / 256), 1e-17);
  EXPECT_EQ(Log10BinomialTail(0, 0, 1, 2), 0);
  EXPECT_EQ(Log10BinomialTail(5, 0, 1, 2), 0);
  EXPECT_NEAR(Log10BinomialTail(332193, 332193, 1, 2), -332193 * std::log10(2.0), 1e-9);  // beyond 1e-100000
  constexpr uint64_t kLimit = std::numeric_limits<uint64_t>::max();
  for (const uint64_t n : {uint64_t{1} << 53, (uint64_t{1} << 53) + 1, uint64_t{1} << 63, kLimit}) {
    for (const uint32_t denominator : {2u, 256u, 0xFFFFFFFFu}) {
      for (const uint32_t numerator : {1u, denominator / 2, denominator - 1}) {
        for (const uint64_t k : {uint64_t{1}, n / 3, n / 2, n / 2 + 1, n - 1, n}) {
          ExpectProbability(Log10BinomialTail(n, k, numerator, denominator), std::to_string(n) + " " + std::to_string(k));
        }
      }
    }
    for (const double s : {0.0, 5e-324, 1.0, 0.999 * n, 1.0 * n, 1.001 * n, 1e308, std::numeric_limits<double>::max()}) {
      ExpectProbability(Log10GammaTail(n, s), std::to_string(n) + " " + std::to_string(s));
    }
  }
  EXPECT_DOUBLE_EQ(Log10GammaTail(1, 1e300), -1e300 / std::log(10.0));
  EXPECT_LE(RelativeError(Log10GammaTail(1, 1e-290), -1e-290 / std::log(10.0)), kRelative);
  EXPECT_EQ(Log10GammaTail(0, 7), 0);
  EXPECT_EQ(Log10GammaTail(7, 0), 0);
  EXPECT_EQ(Log10GammaTail(2, 1e-200), 0);  // 1 − 5e-401
  ExpectProbability(Log10GammaTail(3, kInfinity), "infinite s");
}

TEST(Tails, ABrokenInputIsNeverEvidence) {
  EXPECT_EQ(Log10BinomialTail(5, 6, 1, 2), 0);
  EXPECT_EQ(Log10BinomialTail(5, 5, 0, 2), 0);
  EXPECT_EQ(Log10BinomialTail(5, 5, 2, 2), 0);
  EXPECT_EQ(Log10BinomialTail(5, 5, 1, 0), 0);
  EXPECT_EQ(Log10GammaTail(5, -1), 0);
  EXPECT_EQ(Log10GammaTail(5, std::nan("")), 0);
  MarkParameters parameters;
  parameters.scheme = Scheme::kPartition;
  EXPECT_EQ(Log10P({5, 6}, parameters), 0);
  EXPECT_EQ(Log10P({5, (Statistic{1} << 64) + 5}, parameters), 0);  // must not be cut to its low 64 bits
  parameters.green = 256;
  EXPECT_EQ(Log10P({5, 5}, parameters), 0);
  parameters = {};
  parameters.scheme = Scheme::kTournament;
  EXPECT_LT(Log10P({5, 150}, parameters), -45);
  EXPECT_EQ(Log10P({5, 151}, parameters), 0);
  parameters.layers = 33;
  EXPECT_EQ(Log10P({5, 150}, parameters), 0);
  parameters = {};
  EXPECT_LT(Log10P({1, 24387948313145}, parameters), -9.6);  // 2⁻³², the highest score
  EXPECT_EQ(Log10P({1, 24387948313146}, parameters), 0);
  EXPECT_EQ(Log10P({0, 0}, parameters), 0);
  EXPECT_EQ(Log10P({0, 1}, parameters), 0);
  EXPECT_TRUE(PossibleCount({0, 0}, parameters));
  EXPECT_FALSE(PossibleCount({0, 1}, parameters));
}

// 10^12 pairs at their mean: the statistic has 80 bits, of which a mantissa of 64 drops 16, worth 5e-14 of log10 p.
TEST(Tails, AStatisticBeyond64BitsIsRoundedTowardsTheLargerP) {
  if (std::numeric_limits<long double>::digits != 64) GTEST_SKIP() << "long double has another mantissa";
  const MarkParameters parameters;
  constexpr uint64_t kPairs = 1'000'000'000'000;
  const Statistic base = static_cast<Statistic>(kPairs) << 40;
  EXPECT_EQ(Log10P({kPairs, base}, parameters), Log10GammaTail(kPairs, kPairs));
  for (const unsigned low : {1u, 0x8000u, 0xFFFFu}) {
    EXPECT_EQ(Log10P({kPairs, base + low}, parameters), Log10P({kPairs, base}, parameters)) << low;
  }
  EXPECT_LT(Log10P({kPairs, base + 0x10000}, parameters), Log10P({kPairs, base}, parameters));
}

TEST(Tails, ThreadsDoNotDisturbEachOther) {
  const auto run = [](std::vector<double>* out) {
    for (uint64_t i = 1; i < 3000; ++i) {
      out->push_back(Log10GammaTail(i, 1.1 * i));
      out->push_back(Log10BinomialTail(10 * i, 3 * i, 64, 256));
    }
  };
  std::vector<double> results[4];
  {
    std::vector<std::jthread> threads;
    for (auto& result : results) threads.emplace_back(run, &result);
  }
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

}  // namespace
}  // namespace countermark
