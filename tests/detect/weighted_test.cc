// Weighted tails against exact laws made elsewhere (tests/vectors/weighted.json), against the unweighted tails, and their own laws: a bound from above, monotone,
// never NaN. Counts against sums of single scores.
#include "countermark/detect/weighted.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "countermark/detect/detector.h"
#include "countermark/detect/tails.h"

namespace countermark {
namespace {

using nlohmann::json;

const json& Vectors() {
  static const json vectors = json::parse(std::ifstream(COUNTERMARK_TEST_VECTORS "/weighted.json"));
  return vectors;
}

std::vector<WeightGroup> Groups(const json& rows) {
  std::vector<WeightGroup> groups;
  for (const json& row : rows) groups.push_back({row[0], row[1]});
  return groups;
}

uint64_t Draws(const std::vector<WeightGroup>& groups) {
  uint64_t draws = 0;
  for (const WeightGroup& group : groups) draws += group.draws;
  return draws;
}

MarkParameters Partition(int green) {
  MarkParameters parameters;
  parameters.scheme = Scheme::kPartition;
  parameters.green = green;
  return parameters;
}

const MarkParameters kGumbel;

// The standard deviation of the law tilted by λ, times λ: how many of them the sum is away, and what the bound loses: about √(2π) times as much.
double Deviations(const std::vector<WeightGroup>& groups, const WeightedTest& test, const MarkParameters& parameters) {
  double variance = 0;
  const bool gumbel = parameters.scheme == Scheme::kGumbel;
  const double odds = parameters.green / (256.0 - parameters.green), lambda = gumbel ? test.lambda * 0x1p40 : test.lambda;
  for (const WeightGroup& group : groups) {
    const double w = group.weight, up = odds * std::exp(lambda * w);
    variance += static_cast<double>(group.draws) * (gumbel ? w * w / (1 - lambda * w) / (1 - lambda * w) : w * w * up / (1 + up) / (1 + up));
  }
  return lambda * std::sqrt(variance);
}
// The stated factor, in decades: e·(1 + e·deviations). One Exp(1) draw alone attains e at its mean, and e·s far beyond.
double MostLoss(double deviations) { return 0.44 + std::log10(1 + 2.72 * deviations); }

TEST(Weighted, BernoulliBoundIsAboveTheExactTailAndNear) {
  double worst = 0, worst_display = 0;
  int rows = 0;
  for (const json& row : Vectors()["bernoulli"]) {
    if (row[2] != 256) continue;
    const std::vector<WeightGroup> groups = Groups(row[0]);
    const WeightedTest test = TestWeighted(groups, row[3].get<uint64_t>(), Partition(row[1]));
    const double exact = row[4];
    EXPECT_GE(test.log10_p, exact - 1e-13 * std::fabs(exact)) << row;
    EXPECT_LE(test.display_log10_p, test.log10_p) << row;
    if (groups.size() == 1 && row[3].get<uint64_t>() % groups[0].weight == 0) {
      EXPECT_LE(test.log10_p - exact, MostLoss(Deviations(groups, test, Partition(row[1])))) << row;
      worst = std::max(worst, test.log10_p - exact);
      if (row[1] == 64) worst_display = std::max(worst_display, std::fabs(test.display_log10_p - exact));
    }
    ++rows;
  }
  EXPECT_GT(rows, 150);
  EXPECT_LT(worst_display, 0.2);  // decades
  RecordProperty("worst_decades", std::to_string(worst));
  RecordProperty("worst_display_decades", std::to_string(worst_display));
}

TEST(Weighted, LatticeTailIsTheExactOne) {
  int rows = 0;
  for (const json& row : Vectors()["bernoulli"]) {
    const std::vector<WeightGroup> groups = Groups(row[0]);
    const auto got = Log10LatticeTail(groups, row[3].get<uint64_t>(), row[1], row[2]);
    const double exact = row[4];
    ASSERT_TRUE(got.has_value()) << row;
    EXPECT_GE(*got, exact - 1e-13 * std::fabs(exact)) << row;
    EXPECT_LE(*got, exact + 1e-6) << row;
    ++rows;
  }
  EXPECT_GT(rows, 250);
}

TEST(Weighted, GumbelBoundIsAboveTheExactTailAndNear) {
  double worst = 0, worst_display = 0;
  for (const json& row : Vectors()["exponential"]) {
    const std::vector<WeightGroup> groups = Groups(row[0]);
    const Statistic sum = std::stoull(row[1].get<std::string>());
    const WeightedTest test = TestWeighted(groups, sum, kGumbel);
    const double exact = row[2];
    // Above the highest sum that 32-bit words give there is nothing to accuse by.
    if (test.log10_p == 0 && exact < -4) continue;
    EXPECT_GE(test.log10_p, exact - 1e-13 * std::fabs(exact)) << row;
    EXPECT_LE(test.log10_p - exact, MostLoss(Deviations(groups, test, kGumbel))) << row;
    worst = std::max(worst, test.log10_p - exact);
    worst_display = std::max(worst_display, std::fabs(test.display_log10_p - exact));
  }
  EXPECT_LT(worst_display, 0.1);
  RecordProperty("worst_decades", std::to_string(worst));
  RecordProperty("worst_display_decades", std::to_string(worst_display));
}

TEST(Weighted, EqualWeightsAreTheUnweightedTestsBound) {
  for (const uint64_t n : {1u, 10u, 200u, 5000u, 1000000u}) {
    for (const uint32_t w : {1u, 256u, 65535u}) {
      for (const double more : {0.5, 2.0, 6.0, 40.0}) {
        const uint64_t score = static_cast<uint64_t>(n * 0x1p40 * std::min(1 + more / std::sqrt(static_cast<double>(n)), 20.0));
        const double exact = Log10P({n, score}, kGumbel);
        const std::vector<WeightGroup> groups = {{w, n}};
        const WeightedTest test = TestWeighted(groups, Statistic{score} * w, kGumbel);
        EXPECT_GE(test.log10_p, exact - 1e-13 * std::fabs(exact)) << n << ' ' << w << ' ' << more;
        EXPECT_LE(test.log10_p - exact, MostLoss(Deviations(groups, test, kGumbel))) << n << ' ' << w << ' ' << more;
        EXPECT_NEAR(test.display_log10_p, exact, 0.03 + 1e-9 * std::fabs(exact)) << n << ' ' << w << ' ' << more;
      }
    }
  }
}

TEST(Weighted, FarTailsAreFinite) {
  // A million pairs at three times their mean: 10^−391,000 or so.
  const std::vector<WeightGroup> groups = {{1, 400000}, {100, 300000}, {256, 300000}};
  Statistic mean = 0;
  for (const WeightGroup& group : groups) mean += Statistic{group.weight} * group.draws;
  const WeightedTest test = TestWeighted(groups, 3 * mean << 40, kGumbel);
  EXPECT_LT(test.log10_p, -100000);
  EXPECT_GT(test.log10_p, -1e6);
  EXPECT_NEAR(test.display_log10_p, test.log10_p, 10);
  const std::vector<WeightGroup> bits = {{29, 500000}, {290, 500000}};
  EXPECT_LT(TestWeighted(bits, Statistic{29 + 290} * 500000, Partition(64)).log10_p, -600000);
  EXPECT_NEAR(TestWeighted(bits, Statistic{29 + 290} * 500000, Partition(64)).display_log10_p, -1e6 * std::log10(4.0), 1e-3);
}

TEST(Weighted, RisesNowhereWithTheSum) {
  const std::vector<WeightGroup> groups = {{1, 30}, {20, 7}, {3000, 1}};
  double before = 0;
  for (int i = 0; i < 4000; ++i) {
    const Statistic sum = static_cast<Statistic>(i * 0.004 * 3170 * 0x1p40);
    const WeightedTest test = TestWeighted(groups, sum, kGumbel);
    ASSERT_LE(test.log10_p, before + 1e-12) << i;
    before = test.log10_p;
  }
  EXPECT_LT(before, -4);
  before = 0;
  double exact_before = 0;
  for (uint64_t sum = 0; sum <= 3170; sum += 7) {
    const double p = TestWeighted(groups, sum, Partition(64)).log10_p;
    ASSERT_LE(p, before + 1e-12) << sum;
    before = p;
    if (const auto exact = Log10LatticeTail(groups, sum, 64, 256)) {
      ASSERT_LE(*exact, exact_before + 1e-6) << sum;
      ASSERT_LE(*exact, p + 1e-6) << sum;
      exact_before = *exact;
    }
  }
}

TEST(Weighted, NeverNaN) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 20000; ++i) {
    std::vector<WeightGroup> groups;
    uint32_t weight = 0;
    for (int g = 1 + static_cast<int>(random() % 5); g > 0; --g) {
      weight += 1 + static_cast<uint32_t>(random() % (random() % 2 ? 3 : 12000));
      groups.push_back({weight, 1 + random() % (random() % 2 ? 4 : 100000)});
    }
    Statistic most = 0;
    for (const WeightGroup& group : groups) most += Statistic{group.weight} * group.draws;
    MarkParameters parameters;
    parameters.scheme = static_cast<Scheme>(1 + random() % 3);
    if (parameters.scheme == Scheme::kGumbel) most <<= 43;
    const Statistic sums[] = {0, 1, most / 8, most / 8 + 1, most / 2, most / 2 + 1, most - 1, most, random() % most, ~Statistic{0}};
    for (const Statistic sum : sums) {
      const WeightedTest test = TestWeighted(groups, sum, parameters);
      ASSERT_TRUE(test.log10_p <= 0 && std::isfinite(test.log10_p)) << i;
      ASSERT_TRUE(test.display_log10_p <= test.log10_p && std::isfinite(test.display_log10_p)) << i;
      ASSERT_TRUE(test.lambda > 0 && std::isfinite(test.lambda) && test.log_mgf >= 0 && std::isfinite(test.log_mgf)) << i;
      ASSERT_EQ(test.log10_p, sum == ~Statistic{0} ? 0 : ChernoffLog10P(test.lambda, test.log_mgf, sum)) << i;
    }
  }
  EXPECT_EQ(TestWeighted({}, 5, kGumbel).log10_p, 0);
  EXPECT_EQ(ChernoffLog10P(-1, 1, 5), 0);
  EXPECT_EQ(ChernoffLog10P(std::numeric_limits<double>::quiet_NaN(), 1, 5), 0);
  EXPECT_EQ(ChernoffLog10P(1, std::numeric_limits<double>::infinity(), 5), 0);
}

// The bound that the documentation warns of, computed here alone: a normal law with the sum's mean and variance.
TEST(Weighted, OneHeavyWeightIsNoNormalLaw) {
  const std::vector<WeightGroup> groups = {{1, 50}, {1000, 1}};
  const double sum = 1050 + 6 * 1000;  // the heavy pair alone reaches it with chance e^−7 or so
  const WeightedTest test = TestWeighted(groups, static_cast<Statistic>(sum * 0x1p40), kGumbel);
  const double normal = std::log10(std::erfc(6 / std::sqrt(2.0)) / 2);
  EXPECT_LT(normal, -8.9);
  EXPECT_GT(test.display_log10_p, -3.3);
  EXPECT_GT(test.log10_p, -3.0);
}

struct Text {
  explicit Text(int window, uint32_t seed) : pairs(window) {
    std::mt19937 random(seed);
    std::vector<uint32_t> ids(3000);
    for (uint32_t& id : ids) id = random() % 3000;
    pairs.Add(ids);
    for (size_t i = 0; i < pairs.size(); ++i) {
      channel.push_back(random() % 2);
      weights.push_back(random() % 3 == 0 ? 0 : static_cast<PairWeight>(random()));
    }
  }
  PairSet pairs;
  std::vector<uint8_t> channel;
  std::vector<PairWeight> weights;
  const Secret32 key{std::array<uint8_t, 32>{1, 2, 3}};
};

TEST(WeightedCounts, AreSumsOfSingleScores) {
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    const Text text(2, 3);
    MarkParameters parameters;
    parameters.scheme = scheme;
    const WeightedCount count = CountWeighted(text.pairs, text.channel, 1, text.key, parameters, text.weights);
    Statistic sum = 0;
    uint64_t scored = 0, draws = 0;
    for (uint32_t i = 0; i < text.pairs.size(); ++i) {
      if (text.channel[i] != 1) continue;
      ++scored;
      // ScoreCandidates of one pair: its single score.
      const ChannelCount single = ScoreCandidates(text.pairs, {&i, 1}, {&text.key, 1}, parameters)[0];
      sum += single.statistic * text.weights[i];
      draws += text.weights[i] > 0;
    }
    EXPECT_EQ(count.scored, scored);
    EXPECT_TRUE(count.sum == sum);
    EXPECT_EQ(Draws(count.groups), draws * (scheme == Scheme::kTournament ? 30 : 1));
    EXPECT_TRUE(std::is_sorted(count.groups.begin(), count.groups.end(), [](auto& a, auto& b) { return a.weight < b.weight; }));

    const std::vector<PairWeight> ones(text.pairs.size(), 1);
    const ChannelCount plain = ScoreChannel(text.pairs, text.channel, 1, text.key, parameters);
    EXPECT_TRUE(CountWeighted(text.pairs, text.channel, 1, text.key, parameters, ones).sum == plain.statistic);
  }
}

TEST(WeightedCounts, LayersAreBitsTimesTheirWeights) {
  const Text text(2, 4);
  MarkParameters parameters;
  parameters.scheme = Scheme::kTournament;
  EXPECT_EQ(LayerWeight(0, 30), 290u);
  EXPECT_EQ(LayerWeight(29, 30), 29u);
  EXPECT_EQ(LayerWeight(0, 1), 1u);
  for (const int layers : {1, 2, 30, 32}) {
    parameters.layers = layers;
    const WeightedCount count = CountLayers(text.pairs, text.channel, 0, text.key, parameters);
    // A mark with l layers counts the first l bits: differences are the single layers.
    Statistic sum = 0, before = 0;
    for (int l = 0; l < layers; ++l) {
      MarkParameters first = parameters;
      first.layers = l + 1;
      const Statistic ones = ScoreChannel(text.pairs, text.channel, 0, text.key, first).statistic;
      sum += (ones - before) * LayerWeight(l, layers);
      before = ones;
    }
    EXPECT_TRUE(count.sum == sum) << layers;
    EXPECT_EQ(count.groups.size(), static_cast<size_t>(layers));
    EXPECT_EQ(Draws(count.groups), count.scored * static_cast<uint64_t>(layers));
  }
}

TEST(WeightedLayers, ExactWhereAffordableAndTheBoundBeyond) {
  MarkParameters parameters;
  parameters.scheme = Scheme::kTournament;
  for (const uint64_t n : {1u, 4u, 200u, 20000u, 400000u}) {
    std::vector<WeightGroup> groups;
    for (int l = 29; l >= 0; --l) groups.push_back({LayerWeight(l, 30), n});
    double variance = 0;
    for (const WeightGroup& group : groups) variance += 0.25 * group.weight * group.weight * static_cast<double>(n);
    const Statistic sum = static_cast<Statistic>(4785.0 / 2 * static_cast<double>(n) + 5 * std::sqrt(variance));
    const WeightedTest layers = TestLayers(groups, sum, parameters), bound = TestWeighted(groups, sum, parameters);
    if (sum > Statistic{4785} * n) {
      EXPECT_EQ(layers.log10_p, 0);
      continue;
    }
    EXPECT_EQ(layers.exact, n <= 20000) << n;
    EXPECT_LE(layers.log10_p, bound.log10_p);
    if (layers.exact) {
      EXPECT_NEAR(bound.display_log10_p, layers.log10_p, 0.06) << n;
      EXPECT_GT(bound.log10_p - layers.log10_p, 0.5) << n;
    }
  }
}

// The detector's weighted tests are the channel's own counts under the epoch's keys, and a verdict pays for their number.
TEST(WeightedDetector, ScoresChannelsAndAccounts) {
  EpochRecord record;
  const EpochKeys keys = {record, Secret32(std::array<uint8_t, 32>{5}), {}};
  const Detector detector = *Detector::Create(keys, {"a", "b", "c"});
  const Text text(2, 6);
  const WeightedResult result = detector.ScoreWeighted(text.pairs, text.weights);
  const std::vector<uint8_t> channel = RoutePairs(text.pairs, keys.Route(), record.mark.scheme, std::vector<uint32_t>{32768, 32768});
  const WeightedCount base = CountWeighted(text.pairs, channel, 0, keys.Base(), record.mark, text.weights);
  ASSERT_EQ(result.channels.size(), 1u);
  EXPECT_TRUE(result.channels[0].sum == base.sum);
  EXPECT_EQ(result.channels[0].scored, base.scored);
  EXPECT_EQ(result.channels[0].test.log10_p, TestWeighted(base.groups, base.sum, record.mark).log10_p);
  ASSERT_EQ(result.accounts.size(), 3u);
  const WeightedCount b = CountWeighted(text.pairs, channel, 1, keys.Account("b"), record.mark, text.weights);
  EXPECT_TRUE(result.accounts[1].sum == b.sum);
  EXPECT_EQ(result.accounts[1].scored, b.scored);

  WeightedResult strong;
  strong.channels.resize(1);
  strong.channels[0].scored = 50;
  strong.channels[0].test.log10_p = -6.95;
  TestLedger ledger = detector.Ledger(1);
  ledger.weighted = 1;
  ledger.questions = TestLedger::QuestionsOf(1, false, true);
  // m = 2 questions · 2 families: 10^−6.35.
  EXPECT_EQ(Detector::JudgeWeighted(strong, ledger, 1e-6), RecordVerdict::kMarked);
  ledger.weighted = 3;  // 10^−5.87
  EXPECT_EQ(Detector::JudgeWeighted(strong, ledger, 1e-6), RecordVerdict::kNoEvidence);
  ledger.weighted = 1;
  ledger.records = 0;
  EXPECT_EQ(Detector::JudgeWeighted(strong, ledger, 1e-6), RecordVerdict::kUncorrected);
  EXPECT_EQ(Detector::JudgeWeighted({}, ledger, 1e-6), RecordVerdict::kInconclusive);
}

}  // namespace
}  // namespace countermark
