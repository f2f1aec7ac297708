// The e-values against mpmath's products, and their one law, an expectation of at most 1 under the null, by exact enumeration.
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "countermark/detect/tails.h"
#include "countermark/mark/gumbel.h"

namespace countermark {
namespace {

using nlohmann::json;

long double PowerOfTen(long double exponent) { return std::exp(exponent * 2.302585092994045684017991454684L); }

const json& Vectors() {
  static const json vectors = json::parse(std::ifstream(COUNTERMARK_TEST_VECTORS "/tails.json"));
  return vectors;
}

Statistic ParseStatistic(const std::string& digits) {
  Statistic value = 0;
  for (const char c : digits) value = value * 10 + static_cast<unsigned>(c - '0');
  return value;
}

TEST(EValue, IsTheMeanOfTheProducts) {
  for (const json& row : Vectors()["counts"]) {
    MarkParameters parameters;
    const std::string scheme = row[0];
    parameters.scheme = scheme == "partition" ? Scheme::kPartition : scheme == "tournament" ? Scheme::kTournament : Scheme::kGumbel;
    if (scheme == "partition") parameters.green = row[1];
    if (scheme == "tournament") parameters.layers = row[1];
    const double got = Log10E({row[2], ParseStatistic(row[3])}, parameters), want = row[5];
    EXPECT_LE(std::fabs(got - want), 1e-14 * std::fabs(want) + 1e-15) << row << " got " << got;
  }
}

// Σ over outcomes of P·E for n Bernoulli trials.
double Expectation(uint64_t n, long double base, const MarkParameters& parameters, uint64_t pairs) {
  long double mass = std::pow(1 - base, static_cast<long double>(n)), sum = 0;
  for (uint64_t k = 0; k <= n; ++k) {
    sum += mass * PowerOfTen(Log10E({pairs, k}, parameters));
    mass *= static_cast<long double>(n - k) / (k + 1) * base / (1 - base);
  }
  return static_cast<double>(sum);
}

TEST(EValue, PartitionExpectsExactlyOne) {
  MarkParameters parameters;
  parameters.scheme = Scheme::kPartition;
  for (const int green : {1, 25, 64, 128, 200, 255}) {
    parameters.green = green;
    for (const uint64_t n : {0, 1, 2, 5, 40, 150}) EXPECT_NEAR(Expectation(n, green / 256.0L, parameters, n), 1, 1e-13) << green << " " << n;
  }
}

TEST(EValue, TournamentExpectsExactlyOne) {
  MarkParameters parameters;
  parameters.scheme = Scheme::kTournament;
  for (const int layers : {1, 10, 30, 32}) {
    parameters.layers = layers;
    for (const uint64_t pairs : {0, 1, 2, 7}) {
      EXPECT_NEAR(Expectation(pairs * static_cast<uint64_t>(layers), 0.5L, parameters, pairs), 1, 1e-13) << layers << " " << pairs;
    }
  }
}

// Every word of 20 bits (the low 12 zero: a lower sum of the same integral as all 32 bits are). The exact mean is known from the
// Hurwitz zeta function; the floors of the scores take at most 2⁻⁴⁰ of it.
TEST(EValue, GumbelExpectsAtMostOne) {
  const MarkParameters parameters;
  long double sum = 0;
  for (uint32_t i = 0; i < 1u << 20; ++i) sum += PowerOfTen(Log10E({1, GumbelScore(i << 12)}, parameters));
  const double mean = static_cast<double>(sum / (1u << 20));
  EXPECT_LT(mean, 1);
  EXPECT_NEAR(mean, Vectors()["gumbel_expectation"]["20"].get<double>(), 3e-12);
  EXPECT_LT(Vectors()["gumbel_expectation"]["32"].get<double>(), 1);
}

// Two pairs, all pairs of 10-bit words: independence multiplies the bounds.
TEST(EValue, TwoGumbelPairsExpectAtMostOne) {
  const MarkParameters parameters;
  long double sum = 0;
  for (uint32_t i = 0; i < 1u << 9; ++i) {
    for (uint32_t j = 0; j < 1u << 9; ++j) sum += PowerOfTen(Log10E({2, Statistic{GumbelScore(i << 23)} + GumbelScore(j << 23)}, parameters));
  }
  EXPECT_LT(sum / (1u << 18), 1);
  EXPECT_GT(sum / (1u << 18), 0.9);
}

// Markov's inequality holds for the exact law: P(E ≥ 10^t) ≤ 10^−t, and the p-value of such a count is below it as well.
TEST(EValue, PIsBelowOneOverE) {
  MarkParameters parameters;
  parameters.scheme = Scheme::kPartition;
  for (const uint64_t n : {1, 10, 200, 5000}) {
    for (uint64_t k = 0; k <= n; ++k) EXPECT_LE(Log10P({n, k}, parameters), -Log10E({n, k}, parameters) + 1e-12) << n << " " << k;
  }
  parameters = {};
  for (const uint64_t n : {1, 10, 200, 5000}) {
    for (uint64_t i = 0; i <= 2200; ++i) {
      const ChannelCount count{n, static_cast<Statistic>(n * i) * 10995116277};
      EXPECT_LE(Log10P(count, parameters), -Log10E(count, parameters) + 1e-12) << n << " " << i;
    }
  }
}

TEST(EValue, RisesWithTheStatisticAndStaysFinite) {
  MarkParameters parameters;
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    parameters.scheme = scheme;
    for (const uint64_t n : {uint64_t{1}, uint64_t{200}, uint64_t{1000000000000}, uint64_t{1} << 58}) {
      const Statistic most = static_cast<Statistic>(n) * (scheme == Scheme::kPartition ? 1 : scheme == Scheme::kTournament ? 30 : 24387948313145);
      double last = -std::numeric_limits<double>::infinity();
      for (int i = 0; i <= 1000; ++i) {
        const double here = Log10E({n, most / 1000 * static_cast<unsigned>(i)}, parameters);
        ASSERT_TRUE(std::isfinite(here)) << n << " " << i;
        ASSERT_GE(here, last) << n << " " << i;
        last = here;
      }
    }
  }
}

TEST(EValue, ABrokenCountIsNoEvidence) {
  MarkParameters parameters;
  EXPECT_EQ(Log10E({0, 0}, parameters), 0);
  EXPECT_EQ(Log10E({1, Statistic{1} << 100}, parameters), 0);
  parameters.scheme = Scheme::kPartition;
  EXPECT_EQ(Log10E({5, 6}, parameters), 0);
  parameters.green = 0;
  EXPECT_EQ(Log10E({5, 5}, parameters), 0);
}

TEST(EValue, TheGridIsThePublishedOne) {
  ASSERT_EQ(kEValueBets.size(), 24u);
  for (int j = 1; j <= 12; ++j) {
    EXPECT_EQ(kEValueBets[2 * j - 2], 3 * std::pow(2.0, -(j + 1)));
    EXPECT_EQ(kEValueBets[2 * j - 1], std::pow(2.0, -j));
  }
}

}  // namespace
}  // namespace countermark
