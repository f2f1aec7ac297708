// From entropies by a model's tokens to weights by pairs, without a model. With one: tests/weights.
#include "countermark/detect/entropy.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace countermark {
namespace {

TEST(EntropyOfSpans, TokensThatAgreeKeepTheirOwn) {
  const std::vector<TokenEntropy> entropies = {{0, 0}, {3, 1.5}, {4, 0.25}};
  EXPECT_EQ(EntropyOfSpans(entropies, std::vector<ByteSpan>{{0, 3}, {3, 4}, {4, 9}}), (std::vector<double>{0, 1.5, 0.25}));
}

TEST(EntropyOfSpans, FinerTokensAddAndCoarserOnesGiveAllToTheFirst) {
  const std::vector<TokenEntropy> finer = {{0, 1}, {1, 2}, {2, 4}, {6, 8}};
  EXPECT_EQ(EntropyOfSpans(finer, std::vector<ByteSpan>{{0, 6}, {6, 7}}), (std::vector<double>{7, 8}));
  const std::vector<TokenEntropy> coarser = {{0, 1}, {6, 2}};
  EXPECT_EQ(EntropyOfSpans(coarser, std::vector<ByteSpan>{{0, 2}, {2, 6}, {6, 7}, {7, 8}}), (std::vector<double>{1, 0, 2, 0}));
  // A boundary that falls inside a token of the other: where it begins decides.
  const std::vector<TokenEntropy> askew = {{0, 1}, {4, 2}};
  EXPECT_EQ(EntropyOfSpans(askew, std::vector<ByteSpan>{{0, 3}, {3, 8}}), (std::vector<double>{1, 2}));
}

TEST(EntropyOfSpans, EmptySpansTakeNothing) {
  const std::vector<TokenEntropy> entropies = {{0, 1}, {2, 2}};
  EXPECT_EQ(EntropyOfSpans(entropies, std::vector<ByteSpan>{{0, 0}, {0, 2}, {2, 5}}), (std::vector<double>{0, 1, 2}));
  EXPECT_EQ(EntropyOfSpans({}, std::vector<ByteSpan>{{0, 2}}), (std::vector<double>{0}));
  EXPECT_TRUE(EntropyOfSpans(entropies, {}).empty());
}

TEST(EntropyWeight, FollowsThePublishedRule) {
  EXPECT_EQ(kEntropyRule, "entropy-1");
  EXPECT_EQ(EntropyWeight(0), 0);
  EXPECT_EQ(EntropyWeight(0.001), 0);
  EXPECT_EQ(EntropyWeight(0.02), 3);
  EXPECT_EQ(EntropyWeight(2 * std::log(2.0)), 128);
  EXPECT_EQ(EntropyWeight(6), 243);
  EXPECT_EQ(EntropyWeight(50), 256);
}

TEST(EntropyWeights, APairHasTheWeightOfItsFirstPlace) {
  const std::vector<uint32_t> ids = {1, 2, 3, 1, 2, 3, 4};
  const std::vector<double> nats = {9, 9, 0.1, 0.2, 0.3, 5, 0.4};
  PairSet pairs(2);
  pairs.Add(ids);  // (1 2 → 3), (2 3 → 1), (3 1 → 2), [1 2 → 3 again], (2 3 → 4)
  std::vector<PairWeight> weights;
  ASSERT_TRUE(AppendEntropyWeights(pairs, ids, nats, &weights).ok());
  EXPECT_EQ(weights, (std::vector<PairWeight>{EntropyWeight(0.1), EntropyWeight(0.2), EntropyWeight(0.3), EntropyWeight(0.4)}));
  // Another text of a pool: its new pair is (2 3 → 9).
  const std::vector<uint32_t> more = {1, 2, 3, 9};
  pairs.Add(more);
  ASSERT_TRUE(AppendEntropyWeights(pairs, more, std::vector<double>{7, 7, 7, 0.5}, &weights).ok());
  EXPECT_EQ(weights.size(), 5u);
  EXPECT_EQ(weights[4], EntropyWeight(0.5));
}

// Against a look-up of every pair's first place, over random texts of a small alphabet, with windows of a prompt left out.
TEST(EntropyWeights, AreThoseOfALookUp) {
  std::mt19937 random(2);
  for (int trial = 0; trial < 300; ++trial) {
    const int window = 1 + trial % 4;
    std::vector<uint32_t> ids(random() % 200), prompt(random() % 20);
    for (uint32_t& id : ids) id = random() % 12 == 0 ? kTokenLimit : random() % 4;
    for (uint32_t& id : prompt) id = random() % 4;
    std::vector<double> nats;
    for (size_t i = 0; i < ids.size(); ++i) nats.push_back(static_cast<double>(random() % 1000) / 200);
    PairSet pairs(window);
    if (trial % 2) pairs.ExcludeWindowsOf(prompt);
    pairs.Add(ids);
    std::vector<PairWeight> weights;
    const absl::Status status = AppendEntropyWeights(pairs, ids, nats, &weights);
    ASSERT_TRUE(status.ok()) << status;
    for (size_t p = 0; p < pairs.size(); ++p) {
      size_t i = static_cast<size_t>(window);
      for (;; ++i) {
        ASSERT_LT(i, ids.size());
        bool equal = ids[i] == pairs.token()[p];
        for (int j = 0; j < window; ++j) equal &= ids[i - static_cast<size_t>(window - j)] == pairs.window_token(j)[p];
        if (equal) break;
      }
      ASSERT_EQ(weights[p], EntropyWeight(nats[i])) << trial;
    }
  }
}

TEST(EntropyWeights, OfOtherIdsAreAnError) {
  const std::vector<uint32_t> ids = {1, 2, 3, 4}, others = {1, 2, 3, 5};
  const std::vector<double> nats(4, 1.0);
  PairSet pairs(2);
  pairs.Add(ids);
  std::vector<PairWeight> weights;
  EXPECT_EQ(AppendEntropyWeights(pairs, others, nats, &weights).message(), "the set holds 2 pairs, and only the first 1 have a place in these ids, in that order");
  EXPECT_FALSE(AppendEntropyWeights(pairs, ids, std::vector<double>(3, 1.0), &weights).ok());
}

}  // namespace
}  // namespace countermark
