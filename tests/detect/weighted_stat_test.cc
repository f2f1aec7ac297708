// The weighted tests under the null: one text, weights of the nastiest kinds, a fresh key each time. The bound may claim at most its nominal share; the exact
// tail of fixed layer weights must, beside that, come near it; and the shortcut that the project does not take, a normal law with the sum's mean and variance, must be caught claiming
// far more, or this test would see nothing.
//
// Each check is one-sided: hits among independent keys, whose chance is at most α each, exceed the limit with probability below 1e-6 (Poisson's tail, which is above the
// binomial's beyond its mean by more than one). 60 checks: a sound build fails in less than 1e-4 of the seeds; the seed is fixed.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <random>
#include <string>

#include "countermark/detect/weighted.h"

namespace countermark {
namespace {

constexpr std::array<double, 4> kAlphas = {1e-1, 1e-2, 1e-3, 1e-4};
constexpr uint64_t kKeys = 40000;

// A k with P(Poisson(mean) ≥ k) < 1e-6: Chernoff's bound exp(k − mean − k·ln(k/mean)).
uint64_t Limit(double mean) {
  double k = std::ceil(mean) + 1;
  while (k - mean - k * std::log(k / mean) > std::log(1e-6)) ++k;
  return static_cast<uint64_t>(k);
}

struct Hits {
  std::array<uint64_t, kAlphas.size()> of{};
  void Add(double log10_p) {
    for (size_t i = 0; i < kAlphas.size(); ++i) of[i] += log10_p <= std::log10(kAlphas[i]);
  }
};

Secret32 Key(std::mt19937_64& random) {
  std::array<uint8_t, 32> bytes;
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return Secret32(bytes);
}

// A loop and some prose-like ids: repeats, which the set drops.
PairSet Text(size_t tokens) {
  PairSet pairs(2);
  std::vector<uint32_t> ids;
  std::mt19937 random(9);
  while (ids.size() < tokens) ids.push_back(ids.size() % 3 == 0 ? 11 : random() % 5000);
  pairs.Add(ids);
  pairs.Add(std::vector<uint32_t>(50, 7));
  return pairs;
}

struct Kind {
  const char* name;
  std::function<PairWeight(size_t)> weight;
};

const Kind kKinds[] = {
    {"equal", [](size_t) { return PairWeight{256}; }},
    {"one giant among ones", [](size_t i) { return static_cast<PairWeight>(i == 17 ? 1000 : 1); }},
    {"one giant among zeros", [](size_t i) { return static_cast<PairWeight>(i == 17 ? 65535 : 0); }},
    {"powers of two", [](size_t i) { return static_cast<PairWeight>(i < 16 ? 1u << i : 0); }},
    {"half of them zero", [](size_t i) { return static_cast<PairWeight>(i % 2 == 0 ? 0 : 1 + i * 37 % 256); }},
};

class WeightedNull : public testing::TestWithParam<Scheme> {};

TEST_P(WeightedNull, TheBoundClaimsNoMoreThanItsShareAndTheNormalLawFarMore) {
  MarkParameters parameters;
  parameters.scheme = GetParam();
  const double hit = parameters.green / 256.0, most_bits = parameters.layers;
  const double mean = GetParam() == Scheme::kPartition ? hit : GetParam() == Scheme::kTournament ? most_bits / 2 : 0x1p40;
  const double variance = GetParam() == Scheme::kPartition ? hit * (1 - hit) : GetParam() == Scheme::kTournament ? most_bits / 4 : 0x1p80;
  const PairSet pairs = Text(60);
  const std::vector<uint8_t> channel(pairs.size());
  uint64_t normal_excess = 0;
  for (const Kind& kind : kKinds) {
    std::vector<PairWeight> weights;
    double sum_mean = 0, sum_variance = 0;
    for (size_t i = 0; i < pairs.size(); ++i) {
      weights.push_back(kind.weight(i));
      sum_mean += weights[i] * mean;
      sum_variance += static_cast<double>(weights[i]) * weights[i] * variance;
    }
    std::mt19937_64 random(GetParam() == Scheme::kGumbel ? 3 : 4);
    Hits bound, normal;
    for (uint64_t k = 0; k < kKeys; ++k) {
      const WeightedCount count = CountWeighted(pairs, channel, 0, Key(random), parameters, weights);
      bound.Add(TestWeighted(count.groups, count.sum, parameters).log10_p);
      const double z = (static_cast<double>(count.sum) - sum_mean) / std::sqrt(sum_variance);
      normal.Add(std::log10(std::erfc(z / std::sqrt(2.0)) / 2));
    }
    for (size_t i = 0; i < kAlphas.size(); ++i) {
      const double nominal = kAlphas[i] * static_cast<double>(kKeys);
      EXPECT_LT(bound.of[i], Limit(nominal)) << kind.name << ", alpha " << kAlphas[i];
      normal_excess += normal.of[i] > 3 * Limit(nominal);
    }
  }
  // Exp(1) has the long tail: with one giant, 90 times the nominal share at 1e-4. Bits and greens are bounded, and the normal law errs less with them.
  if (GetParam() == Scheme::kGumbel) {
    EXPECT_GE(normal_excess, 4u);
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, WeightedNull, testing::Values(Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel));

TEST(WeightedNull, LayersKeepTheirLevel) {
  MarkParameters parameters;
  parameters.scheme = Scheme::kTournament;
  const PairSet pairs = Text(60);
  const std::vector<uint8_t> channel(pairs.size());
  std::mt19937_64 random(5);
  constexpr uint64_t kFewer = 10000;
  Hits exact;
  for (uint64_t k = 0; k < kFewer; ++k) {
    const WeightedCount count = CountLayers(pairs, channel, 0, Key(random), parameters);
    exact.Add(TestLayers(count.groups, count.sum, parameters).log10_p);
  }
  for (size_t i = 1; i < kAlphas.size(); ++i) EXPECT_LT(exact.of[i], Limit(kAlphas[i] * kFewer)) << kAlphas[i];
  // The exact law is used where the bound is below 1/20; at 1 % that costs nothing: about 100 of 10,000 keys are expected, and 40 or fewer
  // have odds below 1e-9.
  EXPECT_GT(exact.of[1], 40u);
}

}  // namespace
}  // namespace countermark
