// Lists and bounds against their definitions, tried out rank by rank and size by size; and that little memory changes nothing.
#include "countermark/audit/documents.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "boost/math/distributions/binomial.hpp"
#include "countermark/audit/share.h"
#include "countermark/audit/sparse.h"
#include "countermark/detect/pair_words.h"
#include "countermark/mark/chacha.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/prf.h"
#include "gtest/gtest.h"

namespace countermark {
namespace {

ScanE ScanOf(const std::vector<double>& values) {
  return [&values](const VisitE& visit) {
    for (const double e : values) visit(e);
    return absl::OkStatus();
  };
}

std::vector<double> Values(std::mt19937_64& random, size_t n, int kind) {
  std::normal_distribution<double> normal(kind == 0 ? -0.5 : 1.0, kind == 2 ? 8.0 : 1.0);
  std::vector<double> values(n);
  for (double& v : values) v = kind == 3 ? std::floor(normal(random)) : normal(random);  // with ties
  return values;
}

TEST(Documents, ListAndBoundAreWhatTheirDefinitionsSay) {
  std::mt19937_64 random(1);
  for (int trial = 0; trial < 400; ++trial) {
    const std::vector<double> values = Values(random, 1 + random() % 60, trial % 4);
    const double level = trial % 2 == 0 ? 0.1 : 0.01;
    const auto m = static_cast<double>(values.size());
    std::vector<double> down = values;
    std::sort(down.begin(), down.end(), std::greater<>());
    size_t rank = 0;
    for (size_t k = 1; k <= down.size(); ++k) {
      if (std::pow(10, down[k - 1]) >= m / (static_cast<double>(k) * level) * (1 - 1e-12)) rank = k;
    }
    size_t most = 0;
    double sum = 0;
    for (size_t k = 1; k <= down.size(); ++k) {
      sum += std::pow(10, down[down.size() - k]);
      if (sum / static_cast<double>(k) < 1 / level) most = k;
    }
    for (const size_t kept : {size_t{1}, size_t{3}, size_t{1} << 20}) {
      const double threshold = *ListingThreshold(values.size(), level, ScanOf(values), kept);
      const auto listed = static_cast<size_t>(std::count_if(values.begin(), values.end(), [&](double e) { return e >= threshold; }));
      ASSERT_EQ(listed, rank) << "trial " << trial << " kept " << kept;
      ASSERT_EQ(*MarkedDocumentsAtLeast(values.size(), level, ScanOf(values), kept), values.size() - most) << "trial " << trial << " kept " << kept;
    }
  }
  EXPECT_EQ(*ListingThreshold(0, 0.1, ScanOf({})), HUGE_VAL);
  EXPECT_EQ(*MarkedDocumentsAtLeast(0, 0.1, ScanOf({})), 0u);
}

TEST(Documents, HugeValuesAndAnErrorOfTheScan) {
  const std::vector<double> values = {26000.0, 400.0, -300.0, 0.0, 0.0, 0.0};
  EXPECT_EQ(*MarkedDocumentsAtLeast(values.size(), 0.01, ScanOf(values)), 2u);
  const double threshold = *ListingThreshold(values.size(), 0.01, ScanOf(values));
  EXPECT_NEAR(threshold, std::log10(6 / (2 * 0.01)), 1e-12);
  const ScanE broken = [](const VisitE&) { return absl::DataLossError("gone"); };
  EXPECT_TRUE(absl::IsDataLoss(ListingThreshold(3, 0.1, broken).status()));
  EXPECT_TRUE(absl::IsDataLoss(MarkedDocumentsAtLeast(3, 0.1, broken).status()));
}

TEST(Share, IsTheExactInverseOfTheBinomial) {
  MarkParameters mark;
  mark.scheme = Scheme::kPartition;
  mark.green = 64;
  const TopHits hits = TopHits::Of(mark);
  ASSERT_EQ(hits.levels, 1);
  for (const uint64_t n : {1u, 5u, 40u, 200u}) {
    for (uint64_t k = 0; k <= n; k += 1 + n / 40) {
      const uint64_t misses = n - k;
      uint64_t most = misses;
      for (uint64_t u = misses; u <= n; ++u) {
        if (u == 0 || boost::math::cdf(boost::math::binomial_distribution<double>(static_cast<double>(u), 0.75), static_cast<double>(misses)) > 0.01) most = u;
      }
      const MarkedPairs bound = MarkedPairsAtLeast(n, std::span(&k, 1), hits, 0.01);
      EXPECT_EQ(bound.pairs, n - most) << n << " " << k;
      EXPECT_LE(bound.share, static_cast<double>(bound.pairs) / static_cast<double>(n));
    }
  }
  EXPECT_EQ(MarkedPairsAtLeast(0, {}, hits, 0.01).pairs, 0u);
}

TEST(TopHits, ChancesAreThoseOfTheWords) {
  for (int layers = 1; layers <= 32; ++layers) {
    MarkParameters mark;
    mark.scheme = Scheme::kTournament;
    mark.layers = layers;
    const TopHits hits = TopHits::Of(mark);
    ASSERT_GE(hits.levels, 1);
    for (int j = 0; j < hits.levels; ++j) {
      const auto t = static_cast<double>(hits.threshold[j]);
      const double tail = boost::math::cdf(boost::math::complement(boost::math::binomial_distribution<double>(layers, 0.5), t - 1));
      const double chance = static_cast<double>(hits.numerator[j]) / TopHits::kDenominator;
      EXPECT_GE(chance, tail * (1 - 1e-12)) << layers << " " << t;
      EXPECT_LE(chance, tail * (1 + 1e-12) + 0x1p-31) << layers << " " << t;
      EXPECT_LE(tail, 0.5 + 1e-12);
    }
  }
}

TEST(PairWords, AreTheFormatsWordsUnderEveryScheme) {
  std::mt19937_64 random(9);
  std::array<uint8_t, 32> bytes;
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  const Secret32 key(bytes);
  uint32_t key_words[8];
  LoadKeyWords(bytes.data(), key_words);
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    for (int h = kMinWindow; h <= kMaxWindow; ++h) {
      std::vector<uint32_t> columns[kMaxWindow], token;
      for (int i = 0; i < 77; ++i) {
        for (auto& column : columns) column.push_back(static_cast<uint32_t>(random() % kTokenLimit));
        token.push_back(static_cast<uint32_t>(random() % kTokenLimit));
      }
      PairSpan span;
      for (int j = 0; j < kMaxWindow; ++j) span.window[j] = columns[j].data();
      span.token = token.data();
      span.size = token.size();
      std::vector<uint32_t> words(token.size());
      PairWords(span, key, scheme, h, words);
      MarkParameters mark;
      mark.scheme = scheme;
      mark.window = h;
      std::vector<uint64_t> scores(words.size());
      ScoresOfWords(words, mark, scores);
      uint64_t counts[TopHits::kMost] = {}, want[TopHits::kMost] = {};
      const TopHits hits = TopHits::Of(mark);
      hits.Count(words, counts);
      for (size_t i = 0; i < token.size(); ++i) {
        uint32_t window[kMaxWindow], seed[8];
        for (int j = 0; j < h; ++j) window[j] = columns[j][i];
        MarkSeed(key_words, scheme, window, h, seed);
        const uint32_t word = scheme == Scheme::kPartition ? ByteOf(seed, token[i]) : WordOf(seed, token[i]);
        ASSERT_EQ(words[i], word);
        const uint64_t score = scheme == Scheme::kPartition ? word < 64 : scheme == Scheme::kTournament ? static_cast<uint64_t>(__builtin_popcount(word & ((1u << 30) - 1))) : GumbelScore(word);
        ASSERT_EQ(scores[i], score);
        for (int j = 0; j < hits.levels; ++j) {
          want[j] += scheme == Scheme::kGumbel ? word >= hits.threshold[j] : scheme == Scheme::kPartition ? word < 64 : score >= hits.threshold[j];
        }
      }
      for (int j = 0; j < hits.levels; ++j) EXPECT_EQ(counts[j], want[j]);
    }
  }
}

TEST(Sparse, DoesNotHangOnWhereTheDocumentsWereCut) {
  MarkParameters mark;
  std::mt19937_64 random(4);
  SparseProduct whole, cut, tail;
  for (int d = 0; d < 300; ++d) {
    // From scores far below the null to ones beyond what a double's exponential holds.
    const uint64_t n = random() % 50000;
    const ChannelCount count{n, static_cast<Statistic>(static_cast<double>(n) * (0.5 + static_cast<double>(random() % 1000) / 400) * 0x1p40)};
    whole.Add(count, mark);
    (d < 170 ? cut : tail).Add(count, mark);
  }
  cut.Append(tail);
  EXPECT_NEAR(cut.Log10(), whole.Log10(), 1e-9 * std::abs(whole.Log10()));
  EXPECT_GT(whole.Log10(), 1000);
  SparseProduct empty;
  EXPECT_EQ(empty.Log10(), 0.0);
  empty.Add({}, mark);
  EXPECT_EQ(empty.Log10(), 0.0);
}

}  // namespace
}  // namespace countermark
