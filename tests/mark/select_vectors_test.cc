// Selection's known answers, tests/vectors/select-v1.json, through the scalar headers: exp, logarithms, thresholds, truncation, the three
// schemes' arithmetic, plain draws.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "countermark/mark/gumbel.h"
#include "countermark/mark/log.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/select.h"
#include "countermark/mark/tournament.h"
#include "countermark/mark/weight.h"
#include "tests/mark/vectors.h"

namespace countermark {
namespace {

using testing::DoubleOfBits;
using testing::FloatOfBits;
using testing::HexWords;
using testing::LoadVectors;

const nlohmann::json& Section(const char* name) {
  static const nlohmann::json vectors = LoadVectors("select-v1.json");
  return vectors.at(name);
}

uint64_t Sum(const std::vector<uint64_t>& weights) { return std::accumulate(weights.begin(), weights.end(), uint64_t{0}); }

TEST(SelectVectors, Exp) {
  ASSERT_GT(Section("exp").size(), 1500u);
  for (const auto& v : Section("exp")) {
    const float scale = InverseTemperature(FloatOfBits(v[2]));
    ASSERT_EQ(scale, FloatOfBits(v[3])) << v;
    ASSERT_EQ(Weight(FloatOfBits(v[0]), FloatOfBits(v[1]), scale), v[4].get<uint64_t>()) << v;
    ASSERT_EQ(WeightAsFloat(FloatOfBits(v[0]), FloatOfBits(v[1]), scale), static_cast<double>(v[4].get<uint64_t>())) << v;
  }
}

TEST(SelectVectors, NegativeLog) {
  ASSERT_GT(Section("neg_log").size(), 1000u);
  for (const auto& v : Section("neg_log")) {
    ASSERT_EQ(std::bit_cast<uint64_t>(NegativeLog(v[0])), std::bit_cast<uint64_t>(DoubleOfBits(v[1]))) << v;
  }
}

TEST(SelectVectors, FixedNegativeLog) {
  ASSERT_GT(Section("fixed_log").size(), 2000u);
  for (const auto& v : Section("fixed_log")) {
    ASSERT_EQ(FixedNegativeLog(v[0]), v[1].get<uint64_t>()) << v;
    ASSERT_EQ(GumbelScore(v[0]), v[1].get<uint64_t>()) << v;
  }
}

// Many more inputs, told by a hash of the outputs; make_select.py's digests() says how the inputs are made.
TEST(SelectVectors, Digests) {
  const auto mix = [](uint64_t x) {
    x += 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  };
  const auto add = [](uint64_t& state, uint64_t item) { state = (state ^ item) * 0x100000001B3; };
  const auto& v = Section("digest").at(0);
  const float temperatures[] = {0.3f, 0.7f, 1.0f, 1.3f};
  uint64_t exp = 0xCBF29CE484222325, neg = exp, fixed = exp;
  for (uint64_t i = 0; i < v["count"].get<uint64_t>(); ++i) {
    const uint64_t x = mix(i);
    const float max = static_cast<float>(static_cast<int64_t>(x & 0xFFFFFF) - 0x800000) * 0x1p-18f;
    const float z = max - static_cast<float>(x >> 40) * 0x1p-19f;
    add(exp, Weight(z, max, InverseTemperature(temperatures[x >> 24 & 3])));
    add(neg, std::bit_cast<uint64_t>(NegativeLog(static_cast<uint32_t>(x))));
    add(fixed, FixedNegativeLog(static_cast<uint32_t>(x)));
  }
  EXPECT_EQ(exp, std::stoull(v["exp"].get<std::string>(), nullptr, 16));
  EXPECT_EQ(neg, std::stoull(v["neg_log"].get<std::string>(), nullptr, 16));
  EXPECT_EQ(fixed, std::stoull(v["fixed_log"].get<std::string>(), nullptr, 16));
}

TEST(SelectVectors, Threshold) {
  for (const auto& v : Section("threshold")) EXPECT_EQ(Threshold(DoubleOfBits(v[0])), v[1].get<uint64_t>()) << v;
}

// Truncation step by step, as slowly as it is said: each step's total or largest is that of the tokens the step before it left.
std::vector<uint32_t> Truncate(const std::vector<uint64_t>& weights, size_t k, std::optional<double> top_p, std::optional<double> min_p) {
  std::vector<uint32_t> order;
  for (uint32_t id = 0; id < weights.size(); ++id) {
    if (weights[id] > 0) order.push_back(id);
  }
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return ComesBefore(weights[a], a, weights[b], b); });
  if (k != 0 && order.size() > k) order.resize(k);
  if (top_p) {
    uint64_t total = 0, cumulative = 0;
    for (const uint32_t id : order) total += weights[id];
    size_t kept = 0;
    do cumulative += weights[order[kept++]];
    while (!TopPReached(cumulative, total, Threshold(*top_p)));
    order.resize(kept);
  }
  if (min_p) {
    const uint64_t largest = weights[order[0]];
    std::erase_if(order, [&](uint32_t id) { return !MinPKeeps(weights[id], largest, Threshold(*min_p)); });
  }
  std::sort(order.begin(), order.end());
  return order;
}

TEST(SelectVectors, Truncation) {
  const auto probability = [](const nlohmann::json& p) { return p.is_null() ? std::nullopt : std::optional(DoubleOfBits(p)); };
  ASSERT_EQ(Section("truncate").size(), 400u);
  for (const auto& v : Section("truncate")) {
    ASSERT_EQ(Truncate(v["weights"], v["k"], probability(v["top_p"]), probability(v["min_p"])), v["kept"].get<std::vector<uint32_t>>()) << v;
  }
}

TEST(SelectVectors, Partition) {
  for (const auto& v : Section("partition")) {
    const uint64_t factor = RedFactor(DoubleOfBits(v["delta"]));
    EXPECT_EQ(factor, v["factor"].get<uint64_t>()) << v["delta"];
    for (size_t i = 0; i < v["weights"].size(); ++i) EXPECT_EQ(RedWeight(v["weights"][i], factor), v["red"][i].get<uint64_t>()) << v["weights"][i];
  }
}

TEST(SelectVectors, Tournament) {
  ASSERT_EQ(Section("tournament").size(), 24u);
  for (const auto& v : Section("tournament")) {
    std::vector<uint64_t> weights = v["weights"];
    const std::vector<uint32_t> words = v["words"];
    const int shift = TournamentShift(Sum(weights));
    ASSERT_EQ(shift, v["shift"]) << v;
    for (uint64_t& w : weights) w <<= shift;
    for (int layer = 0; layer < v["layers"]; ++layer) {
      uint64_t ones = 0;
      for (size_t i = 0; i < weights.size(); ++i) ones += words[i] >> layer & 1 ? weights[i] : 0;
      const uint64_t ratio = TournamentRatio(Sum(weights), ones);
      ASSERT_EQ(ratio, v["ratios"][layer].get<uint64_t>()) << "layer " << layer << " of " << v;
      for (size_t i = 0; i < weights.size(); ++i) weights[i] = TournamentWeight(weights[i], words[i] >> layer & 1, ratio);
      ASSERT_EQ(Sum(weights), v["totals"][layer].get<uint64_t>()) << "layer " << layer << " of " << v;
    }
    ASSERT_EQ(weights, v["out"].get<std::vector<uint64_t>>()) << v;
  }
}

TEST(SelectVectors, Gumbel) {
  ASSERT_EQ(Section("gumbel").size(), 200u);
  for (const auto& v : Section("gumbel")) {
    size_t chosen = 0;
    double first = GumbelArrival(v["words"][0], static_cast<double>(v["weights"][0].get<uint64_t>()));
    for (size_t i = 1; i < v["words"].size(); ++i) {
      const double arrival = GumbelArrival(v["words"][i], static_cast<double>(v["weights"][i].get<uint64_t>()));
      if (arrival < first) {
        first = arrival;
        chosen = i;
      }
    }
    ASSERT_EQ(chosen, v["chosen"].get<size_t>()) << v;
  }
}

TEST(SelectVectors, Draw) {
  ASSERT_EQ(Section("draw").size(), 120u);
  for (const auto& v : Section("draw")) {
    const std::vector<uint64_t> weights = v["weights"];
    const uint64_t random = DrawBits(HexWords<8>(v["key"]).data(), v["position"], v["draw"]);
    ASSERT_EQ(random, v["random"].get<uint64_t>()) << v;
    const uint64_t target = DrawTarget(random, Sum(weights));
    ASSERT_EQ(target, v["target"].get<uint64_t>()) << v;
    uint64_t cumulative = 0;
    uint32_t token = 0;
    while ((cumulative += weights[token]) <= target) ++token;
    ASSERT_EQ(token, v["token"].get<uint32_t>()) << v;
  }
}

}  // namespace
}  // namespace countermark
