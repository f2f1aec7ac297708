// The matched filter against answers that mpmath and the Python oracle gave (tests/vectors/make_model.py), and its tables and sums.
#include "countermark/audit/model_filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "countermark/audit/model_ring.h"

namespace countermark {
namespace {

using nlohmann::json;

const json& Vectors() {
  static const json vectors = json::parse(std::ifstream(COUNTERMARK_TEST_VECTORS "/model.json"));
  return vectors;
}

MarkParameters MarkOf(const json& v) {
  MarkParameters mark;
  mark.scheme = v["scheme"] == "gumbel" ? Scheme::kGumbel : v["scheme"] == "tournament" ? Scheme::kTournament : Scheme::kPartition;
  mark.green = v.value("green", 64);
  mark.layers = v.value("layers", 30);
  return mark;
}

Secret32 KeyOf(uint64_t number) {
  std::array<uint8_t, 32> bytes{};
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(number >> 8 * i);
  return Secret32(std::span<const uint8_t, 32>(bytes));
}

WeightTable TableOf(const json& rows) {
  WeightTable table(2);
  for (const json& row : rows) {
    std::vector<TokenWeight> weights;
    for (size_t i = 0; i < row["tokens"].size(); ++i) weights.push_back({row["tokens"][i], row["weights"][i]});
    const uint32_t window[2] = {row["window"][0], row["window"][1]};
    table.Add(window, weights);
  }
  return table;
}

FilterSum SumOf(const std::string& decimal) {
  FilterSum sum = 0;
  for (const char c : decimal) {
    if (c != '-') sum = 10 * sum + (c - '0');
  }
  return decimal[0] == '-' ? -sum : sum;
}

TEST(LogMgf, IsTheLaw) {
  for (const json& v : Vectors()["log_mgf"]) {
    const double got = MatchedFilter(MarkOf(v)).LogMgf(v["theta"]), want = v["value"];
    EXPECT_NEAR(got, want, 1e-13 * want) << v.dump();
  }
}

TEST(LogMgf, OfNegativeGumbelIsAboveTheFlooredScores) {
  const MatchedFilter filter{MarkParameters{}};
  for (const json& v : Vectors()["negative_gumbel"]) {
    const double a = v["a"], got = filter.LogMgf(-a);
    EXPECT_GE(got, v["lowest_score"].get<double>()) << v.dump();
    EXPECT_LE(got, v["unfloored"].get<double>() + a * 0x1p-39 + 30 * a * 0x1p-32 + 1e-15) << v.dump();
    // The form for scores that are not floored is too low: the term is needed.
    EXPECT_LT(a - std::log1p(a), v["lowest_score"].get<double>()) << v.dump();
  }
  EXPECT_EQ(filter.LogMgf(1), std::numeric_limits<double>::infinity());
  EXPECT_EQ(filter.LogMgf(0), 0);
}

TEST(MatchedFilter, SumsScoresOfTheKeyAsTheOracleDoes) {
  std::array<uint8_t, 32> bytes;
  for (int i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(7 + i);
  const Secret32 key{std::span<const uint8_t, 32>(bytes)};
  for (const json& v : Vectors()["tables"]) {
    const MatchedFilter filter(MarkOf(v));
    const double want = v["statistic"];
    EXPECT_NEAR(static_cast<double>(filter.Real(filter.Sum(TableOf(v["rows"]), key))), want, 1e-14 * std::fabs(want) + 1e-18);
  }
}

TEST(ChernoffBound, IsAboveTheLeastAndCloseToIt) {
  for (const json& v : Vectors()["tables"]) {
    const MatchedFilter filter(MarkOf(v));
    const WeightTable table = TableOf(v["rows"]);
    const ChernoffBound bound(filter, table), threaded(filter, table, 3);
    for (const json& j : v["judged"]) {
      const FilterSum sum = SumOf(j["sum"]);
      const double got = bound.Log10P(sum), least = j["least"];
      EXPECT_GE(got, least * (1 + 1e-9)) << v["scheme"] << v["shape"] << j.dump();
      EXPECT_LE(got, least * 0.99 + 0.01) << v["scheme"] << v["shape"] << j.dump();
      EXPECT_EQ(got, threaded.Log10P(sum));
    }
  }
}

TEST(ChernoffBound, FallsWithTheSumAndIsOneForNothing) {
  const json& v = Vectors()["tables"][0];
  const MatchedFilter filter(MarkOf(v));
  const ChernoffBound bound(filter, TableOf(v["rows"]));
  double before = 0;
  for (int i = -40; i < 400; ++i) {
    const double p = bound.Log10P(static_cast<FilterSum>(i) << 60);
    EXPECT_LE(p, before);
    before = p;
  }
  EXPECT_EQ(ChernoffBound(filter, WeightTable(2)).Log10P(1000), 0);
}

TEST(Mixture, IsTheMeanOfProducts) {
  int checked = 0;
  for (const json& v : Vectors()["tables"]) {
    const MatchedFilter filter(MarkOf(v));
    const BetSums bets = filter.Bets(TableOf(v["rows"]));
    for (const json& j : v["judged"]) {
      if (!j.contains("mixture")) continue;
      const double got = Log10Mixture(filter, SumOf(j["sum"]), bets), want = j["mixture"];
      EXPECT_LE(got, want + 1e-12 * std::fabs(want) + 1e-15) << j.dump();  // never more than it is
      EXPECT_NEAR(got, want, 1e-9 * std::fabs(want) + 1e-8) << j.dump();   // the floors' term
      ++checked;
    }
  }
  EXPECT_EQ(checked, 60);
}

TEST(Mixture, ABetThatAWeightIsTooLargeForLoses) {
  WeightTable table(1);
  const uint32_t window = 5;
  const TokenWeight heavy[] = {{3, int64_t{3} << kWeightBits}};
  table.Add(&window, heavy);
  const MatchedFilter filter{MarkParameters{.window = 1}};
  const BetSums bets = filter.Bets(table);
  EXPECT_TRUE(std::isinf(bets.log_mgf[0]));
  const double e = Log10Mixture(filter, filter.Sum(table, KeyOf(1)), bets);
  EXPECT_FALSE(std::isnan(e));
  EXPECT_FALSE(std::isinf(e));
  EXPECT_TRUE(std::isfinite(static_cast<double>(filter.Bets(table, 1.0 / 3).log_mgf[0])));
}

TEST(Weights, LargestAreKept) {
  std::mt19937 rng(1);
  std::vector<float> q(5000), q0(5000);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::pair<int64_t, uint32_t>> all;
    for (size_t v = 0; v < q.size(); ++v) {
      // Steps of 2⁻¹⁰ make ties; some are far below a unit.
      q[v] = static_cast<float>(rng() % 8) * (round % 2 ? 0x1p-10f : 0x1p-25f) + (rng() % 100 == 0 ? static_cast<float>(rng() % 1000) * 1e-4f : 0);
      q0[v] = static_cast<float>(rng() % 8) * (round % 2 ? 0x1p-10f : 0x1p-25f);
      const int64_t w = std::llround((q[v] - q0[v]) * 0x1p24f);
      if (w != 0) all.push_back({-std::abs(w), static_cast<uint32_t>(v)});
    }
    std::sort(all.begin(), all.end());
    all.resize(std::min<size_t>(all.size(), 40));
    std::vector<uint32_t> want, got;
    for (const auto& [w, v] : all) want.push_back(v);
    std::sort(want.begin(), want.end());
    for (const TokenWeight& w : LargestWeights(q, q0)) {
      EXPECT_EQ(w.weight, std::llround((q[w.token] - q0[w.token]) * 0x1p24f));
      got.push_back(w.token);
    }
    EXPECT_EQ(got, want);
  }
  q[7] = std::nanf("");
  for (const TokenWeight& w : LargestWeights(q, q0)) EXPECT_NE(w.token, 7u);
  EXPECT_TRUE(LargestWeights(q0, q0).empty());
}

TEST(Weights, SumOverContextsThatShareAWindow) {
  std::mt19937 rng(2);
  const auto draw = [&](uint32_t n) { return static_cast<uint32_t>(rng() % n); };
  WindowSums forward(3), backward(3);
  std::map<std::vector<uint32_t>, std::map<uint32_t, int64_t>> want;
  std::vector<std::pair<std::vector<uint32_t>, std::vector<TokenWeight>>> contexts;
  for (int i = 0; i < 500; ++i) {
    std::vector<uint32_t> window = {draw(3), kTokenLimit - 1, draw(4)};
    std::map<uint32_t, int64_t> weights;
    for (int j = 0; j < 5; ++j) weights[rng() % 9] = static_cast<int64_t>(rng() % 5) - 2;
    std::vector<TokenWeight> list;
    for (const auto& [token, weight] : weights) {
      if (weight != 0) list.push_back({token, weight});
      want[window][token] += weight;
    }
    contexts.push_back({window, list});
  }
  for (size_t i = 0; i < contexts.size(); ++i) {
    forward.Add(contexts[i].first.data(), contexts[i].second);
    const auto& other = contexts[contexts.size() - 1 - i];
    backward.Add(other.first.data(), other.second);
  }
  const WeightTable table = forward.Table(), again = backward.Table();
  ASSERT_EQ(table.rows(), want.size());
  ASSERT_EQ(again.terms(), table.terms());
  size_t row = 0;
  for (const auto& [window, weights] : want) {
    EXPECT_TRUE(std::equal(window.begin(), window.end(), table.Window(row)));
    std::map<uint32_t, int64_t> got;
    for (const TokenWeight& w : table.Weights(row)) got[w.token] = w.weight;
    std::map<uint32_t, int64_t> nonzero;
    for (const auto& [token, weight] : weights) {
      if (weight != 0) nonzero[token] = weight;
    }
    EXPECT_EQ(got, nonzero);
    ++row;
  }
  const Secret32 key = KeyOf(9);
  const MatchedFilter filter{MarkParameters{.window = 3}};
  EXPECT_EQ(filter.Sum(table, key), filter.Sum(again, key));
}

TEST(Weights, ChannelsShareTheRowsAmongThem) {
  const json& v = Vectors()["tables"][0];
  WeightTable table(2);
  std::mt19937 rng(3);
  const auto draw = [&](uint32_t n) { return static_cast<uint32_t>(rng() % n); };
  for (uint32_t i = 0; i < 9000; ++i) {
    const uint32_t window[2] = {i, i * 7};
    const TokenWeight weights[] = {{draw(1000), 5}, {1000 + draw(1000), -3}};
    table.Add(window, weights);
  }
  const uint32_t shares[] = {26214, 26214, 13108};
  size_t rows = 0;
  FilterSum sum = 0;
  const MatchedFilter filter(MarkOf(v));
  for (int c = 0; c < 3; ++c) {
    const WeightTable part = table.OnChannel(KeyOf(4), Scheme::kGumbel, shares, c);
    rows += part.rows();
    sum += filter.Sum(part, KeyOf(5));
    EXPECT_NEAR(static_cast<double>(part.rows()), 9000 * shares[c] / 65536.0, 5 * std::sqrt(9000 * 0.24));  // five standard deviations
  }
  EXPECT_EQ(rows, table.rows());
  EXPECT_EQ(sum, filter.Sum(table, KeyOf(5)));
}

}  // namespace
}  // namespace countermark
