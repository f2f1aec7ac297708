// Holm against its definition by closed testing (tests/vectors/tails.json), and the laws of corrections.
#include "countermark/detect/multiplicity.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace countermark {
namespace {

using nlohmann::json;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

double Number(const json& value) { return value.is_string() ? -kInfinity : value.get<double>(); }

TEST(Holm, IsTheClosureOfBonferroni) {
  const json vectors = json::parse(std::ifstream(COUNTERMARK_TEST_VECTORS "/tails.json"));
  ASSERT_GE(vectors["holm"].size(), 50u);
  for (const json& entry : vectors["holm"]) {
    std::vector<double> raw;
    for (const json& value : entry["log10_p"]) raw.push_back(Number(value));
    const std::vector<double> adjusted = HolmAdjust(raw, entry["family"]);
    ASSERT_EQ(adjusted.size(), raw.size());
    for (size_t i = 0; i < raw.size(); ++i) {
      const double want = Number(entry["adjusted"][i]);
      if (std::isinf(want)) {
        EXPECT_EQ(adjusted[i], want) << entry;
      } else {
        EXPECT_NEAR(adjusted[i], want, 1e-13) << entry;
      }
    }
  }
}

TEST(Holm, EdgeCases) {
  EXPECT_TRUE(HolmAdjust({}).empty());
  EXPECT_EQ(HolmAdjust(std::vector<double>{-3}), std::vector<double>{-3});
  EXPECT_EQ(HolmAdjust(std::vector<double>{0, 0}), (std::vector<double>{0, 0}));
  EXPECT_EQ(HolmAdjust(std::vector<double>{-kInfinity, -1, -kInfinity}), (std::vector<double>{-kInfinity, -1, -kInfinity}));
  EXPECT_EQ(HolmAdjust(std::vector<double>{std::nan(""), 0.5}), (std::vector<double>{0, 0}));
  // A family smaller than the list is the list.
  EXPECT_EQ(HolmAdjust(std::vector<double>{-5, -5}, 1), HolmAdjust(std::vector<double>{-5, -5}));
  // A million candidates cost six decades.
  EXPECT_NEAR(HolmAdjust(std::vector<double>{-20}, 1000000)[0], -14, 1e-14);
  EXPECT_NEAR(HolmAdjust(std::vector<double>{-100000}, kMost)[0], -100000 + 64 * std::log10(2.0), 1e-9);
}

TEST(Holm, KeepsOrderTiesAndBounds) {
  std::mt19937_64 random(4);
  std::uniform_real_distribution<> unit(0, 1);
  for (int round = 0; round < 300; ++round) {
    std::vector<double> raw(1 + random() % 60);
    for (double& value : raw) value = std::floor(-20 * unit(random) * unit(random)) / 2;  // many ties
    const uint64_t family = round % 2 ? raw.size() + random() % 100 : 0;
    const std::vector<double> adjusted = HolmAdjust(raw, family);
    const uint64_t tests = std::max<uint64_t>(family, raw.size());
    for (size_t i = 0; i < raw.size(); ++i) {
      ASSERT_LE(adjusted[i], 0);
      ASSERT_GE(adjusted[i], raw[i]);
      ASSERT_LE(adjusted[i], BonferroniAdjust(raw[i], tests));  // never worse than Bonferroni
      for (size_t j = 0; j < raw.size(); ++j) {
        ASSERT_TRUE(raw[i] > raw[j] || adjusted[i] <= adjusted[j]);
      }
    }
    // The order of the list does not matter.
    std::vector<double> reversed(raw.rbegin(), raw.rend());
    reversed = HolmAdjust(reversed, family);
    std::reverse(reversed.begin(), reversed.end());
    ASSERT_EQ(reversed, adjusted);
  }
}

TEST(Bonferroni, AddsDecades) {
  EXPECT_DOUBLE_EQ(BonferroniAdjust(-12, 1000), -9);
  EXPECT_EQ(BonferroniAdjust(-2, 1000), 0);
  EXPECT_EQ(BonferroniAdjust(-2, 1), -2);
  EXPECT_EQ(BonferroniAdjust(-2, 0), -2);
  EXPECT_EQ(BonferroniAdjust(-kInfinity, 5), -kInfinity);
  EXPECT_EQ(BonferroniAdjust(std::nan(""), 5), 0);
  EXPECT_EQ(BonferroniAdjust(1, 5), 0);
}

TEST(TestLedger, MultipliesEveryFactor) {
  EXPECT_EQ(TestLedger{}.Total(), 1u);
  EXPECT_EQ((TestLedger{.records = 2, .keys = 3, .channels = 2, .candidates = 5, .schemes = 11, .views = 13, .tokenizers = 19}.Total()),
            2u * 3 * 7 * 11 * 13 * 19);
  // A search for passages is one test of a record's channel; weighted tests are as many again of all subjects.
  EXPECT_EQ((TestLedger{.records = 2, .keys = 3, .channels = 2, .candidates = 5, .views = 13, .regions = 1}.Total()), 3u * 13 * (2 * 7 + 2 * 2));
  EXPECT_EQ((TestLedger{.records = 2, .keys = 3, .channels = 2, .candidates = 5, .views = 13, .weighted = 2}.Total()), 3u * 13 * 2 * 7 * 3);
}

// Two questions are not twice the tests: the pool is one more subject beside the records.
TEST(TestLedger, CountsThePoolAsOneMoreSubject) {
  EXPECT_EQ((TestLedger{.records = 1000, .channels = 2, .questions = 2}.Total()), 2002u);
  EXPECT_EQ((TestLedger{.records = 3, .keys = 2, .channels = 1, .candidates = 4, .questions = 2}.Total()), (3u + 1) * 2 * 5);
  EXPECT_EQ((TestLedger{.records = 0, .channels = 2, .questions = 2}.Total()), 2u);  // the pool's alone are known
  EXPECT_EQ((TestLedger{.records = kMost, .questions = 2}.Total()), kMost);
  EXPECT_EQ((TestLedger{.records = 7, .questions = 0}.Total()), 7u);
  EXPECT_EQ(TestLedger::QuestionsOf(1), 1u);
  EXPECT_EQ(TestLedger::QuestionsOf(2), 2u);
  EXPECT_EQ(TestLedger::QuestionsOf(0), 2u);
  // Passages are one question more, and weights ask the others again. A single record has no pool, however many questions are asked of it.
  EXPECT_EQ(TestLedger::QuestionsOf(1, true), 2u);
  EXPECT_EQ(TestLedger::QuestionsOf(7, true), 3u);
  EXPECT_EQ(TestLedger::QuestionsOf(1, true, true), 3u);
  EXPECT_EQ(TestLedger::QuestionsOf(7, true, true), 5u);
  EXPECT_EQ((TestLedger{.records = 1, .questions = 3}.Total()), 1u);
}

TEST(TestLedger, CountsAnUnknownFactorAsOne) {
  EXPECT_EQ((TestLedger{.records = 0, .channels = 2}.Total()), 2u);
  EXPECT_EQ((TestLedger{.channels = 0, .candidates = 0}.Total()), 1u);
  EXPECT_EQ((TestLedger{.channels = 0, .candidates = 9}.Total()), 9u);
}

TEST(TestLedger, Saturates) {
  EXPECT_EQ((TestLedger{.records = kMost}.Total()), kMost);
  EXPECT_EQ((TestLedger{.records = kMost, .keys = 2}.Total()), kMost);
  EXPECT_EQ((TestLedger{.records = uint64_t{1} << 32, .keys = uint64_t{1} << 32}.Total()), kMost);
  EXPECT_EQ((TestLedger{.channels = kMost, .candidates = 1}.Total()), kMost);
  EXPECT_EQ((TestLedger{.weighted = kMost}.Total()), kMost);
  EXPECT_EQ((TestLedger{.records = 2, .regions = kMost}.Total()), kMost);
  // 2⁶⁴ − 1 itself, without saturation.
  EXPECT_EQ((TestLedger{.records = (uint64_t{1} << 32) - 1, .keys = (uint64_t{1} << 32) + 1}.Total()), kMost);
}

}  // namespace
}  // namespace countermark
