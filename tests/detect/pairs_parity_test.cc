// Every count of pairs.h against the naive one, under the instruction set that COUNTERMARK_ISA names (ctest runs it under each).
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "countermark/detect/pairs.h"
#include "gtest/gtest.h"
#include "tests/detect/pairs_naive.h"

namespace countermark {
namespace {

class PairsParity : public testing::Test {
 protected:
  void SetUp() override {
    const char* asked = std::getenv("COUNTERMARK_ISA");
    if (asked != nullptr && *asked != '\0' && std::string(asked) != DetectIsa()) {
      std::printf("skipped: this machine has no %s; the widest it has is %s\n", asked, DetectIsa());
      GTEST_SKIP();
    }
  }
  Secret32 RandomSecret() {
    std::array<uint8_t, 32> bytes;
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random_());
    return Secret32(bytes);
  }
  uint32_t RandomToken() {
    static constexpr uint32_t kEdges[] = {0, 1, 15, 16, 63, 64, 128255, kTokenLimit - 1};
    return random_() % 3 == 0 ? kEdges[random_() % 8] : random_() % 128256;
  }
  std::vector<uint32_t> RandomIds(size_t n) {
    std::vector<uint32_t> ids(n);
    for (uint32_t& id : ids) id = RandomToken();
    return ids;
  }
  std::mt19937 random_{77};
};

constexpr Scheme kSchemes[] = {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel};
const std::vector<std::vector<uint32_t>> kWeights = {{65536}, {32768, 32768}, {26214, 26214, 13108}, {58982, 3277, 1966, 1311}};

TEST_F(PairsParity, Channels) {
  for (Scheme scheme : kSchemes) {
    for (int h = 1; h <= kMaxWindow; ++h) {
      for (const auto& weights : kWeights) {
        for (size_t n : {size_t{0}, size_t{1}, size_t{17}, size_t{500}}) {
          const MarkParameters mark{scheme, h, 1 + static_cast<int>(random_() % 255), 2.0, 1 + static_cast<int>(random_() % 32)};
          const Secret32 route_key = RandomSecret();
          std::vector<Secret32> keys;
          for (size_t c = 0; c < weights.size(); ++c) keys.push_back(RandomSecret());
          PairSet pairs(h);
          pairs.Add(RandomIds(n + static_cast<size_t>(h)));

          std::vector<ChannelCount> expected(weights.size());
          std::vector<uint8_t> expected_channel;
          for (const NaivePair& pair : PairsOf(pairs)) {
            const size_t c = static_cast<size_t>(NaiveChannel(pair, route_key, scheme, weights));
            expected_channel.push_back(static_cast<uint8_t>(c));
            ++expected[c].scored;
            expected[c].statistic += NaiveScore(pair, keys[c], mark);
          }
          const auto channel = RoutePairs(pairs, route_key, scheme, weights);
          ASSERT_EQ(channel, expected_channel);
          const auto all = ScoreAllChannels(pairs, route_key, keys, weights, mark);
          for (size_t c = 0; c < weights.size(); ++c) {
            const ChannelCount one = ScoreChannel(pairs, channel, static_cast<int>(c), keys[c], mark);
            ASSERT_EQ(one.scored, expected[c].scored);
            ASSERT_TRUE(one.statistic == expected[c].statistic) << "scheme " << static_cast<int>(scheme) << " h " << h;
            ASSERT_EQ(all[c].scored, expected[c].scored);
            ASSERT_TRUE(all[c].statistic == expected[c].statistic) << "scheme " << static_cast<int>(scheme) << " h " << h;
          }
        }
      }
    }
  }
}

// Few keys are scored pair by pair, many key by key; both with windows that pairs share.
TEST_F(PairsParity, Candidates) {
  for (Scheme scheme : kSchemes) {
    for (int h : {1, 2, 4}) {
      const MarkParameters mark{scheme, h, 64, 2.0, 30};
      PairSet pairs(h);
      std::vector<uint32_t> ids = RandomIds(60);
      for (int i = 0; i < 60; ++i) ids.push_back(random_() % 4);
      pairs.Add(ids);
      std::vector<uint32_t> which;
      for (uint32_t i = 0; i < pairs.size(); ++i) {
        if (random_() % 2) which.push_back(i);
      }
      const auto naive = PairsOf(pairs);
      for (size_t count : {size_t{0}, size_t{1}, size_t{3}, size_t{16}, size_t{37}, size_t{100}}) {
        std::vector<Secret32> keys;
        for (size_t k = 0; k < count; ++k) keys.push_back(RandomSecret());
        const auto counts = ScoreCandidates(pairs, which, keys, mark);
        ASSERT_EQ(counts.size(), count);
        for (size_t k = 0; k < count; ++k) {
          Statistic expected = 0;
          for (uint32_t i : which) expected += NaiveScore(naive[i], keys[k], mark);
          ASSERT_EQ(counts[k].scored, which.size());
          ASSERT_TRUE(counts[k].statistic == expected) << "scheme " << static_cast<int>(scheme) << " h " << h << " key " << k;
        }
      }
      EXPECT_TRUE(ScoreCandidates(pairs, {}, std::vector<Secret32>{RandomSecret()}, mark)[0].statistic == 0);
    }
  }
}

// More pairs than one batch of the kernels takes.
TEST_F(PairsParity, SeveralBatches) {
  const MarkParameters mark;
  const Secret32 route_key = RandomSecret();
  const std::vector<Secret32> keys = {RandomSecret(), RandomSecret()};
  const std::vector<uint32_t> weights = {32768, 32768};
  PairSet pairs(2);
  pairs.Add(RandomIds(70000));
  const auto channel = RoutePairs(pairs, route_key, mark.scheme, weights);
  const auto all = ScoreAllChannels(pairs, route_key, keys, weights, mark);
  std::vector<Secret32> many(20, keys[1]);
  const auto which = PairsOnChannel(channel, 1);
  const auto candidates = ScoreCandidates(pairs, which, many, mark);
  for (int c = 0; c < 2; ++c) {
    const ChannelCount one = ScoreChannel(pairs, channel, c, keys[static_cast<size_t>(c)], mark);
    EXPECT_TRUE(one.statistic == all[static_cast<size_t>(c)].statistic);
    EXPECT_EQ(one.scored, all[static_cast<size_t>(c)].scored);
  }
  for (const ChannelCount& count : candidates) EXPECT_TRUE(count.statistic == all[1].statistic);
  std::vector<uint32_t> everything(pairs.size());
  for (uint32_t i = 0; i < everything.size(); ++i) everything[i] = i;
  const uint32_t one_channel[] = {65536};
  const auto whole = ScoreAllChannels(pairs, route_key, {&keys[0], 1}, one_channel, mark);
  const std::vector<Secret32> sixteen(16, keys[0]);
  for (const ChannelCount& count : ScoreCandidates(pairs, everything, sixteen, mark)) {
    EXPECT_EQ(count.scored, whole[0].scored);
    EXPECT_TRUE(count.statistic == whole[0].statistic);
  }
}

}  // namespace
}  // namespace countermark
