// Pairs: exact deduplication against a naive set, and the format's known answers for routes and scores.
#include "countermark/detect/pairs.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/detect/pairs_naive.h"

namespace countermark {
namespace {

Secret32 SecretOf(const std::string& hex) {
  std::array<uint8_t, 32> bytes;
  for (size_t i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  return Secret32(bytes);
}

const nlohmann::json& Vectors() {
  static const nlohmann::json vectors = nlohmann::json::parse(std::ifstream(COUNTERMARK_TEST_VECTORS "/mark-v1.json"));
  return vectors;
}

TEST(PairsVectors, Route) {
  ASSERT_FALSE(Vectors()["route"].empty());
  for (const auto& entry : Vectors()["route"]) {
    const auto window = entry["window"].get<std::vector<uint32_t>>();
    PairSet pairs(static_cast<int>(window.size()));
    std::vector<uint32_t> ids = window;
    ids.push_back(42);
    ASSERT_EQ(pairs.Add(ids), 1u);
    const auto channel = RoutePairs(pairs, SecretOf(entry["key"]), static_cast<Scheme>(entry["scheme"].get<int>()),
                                    entry["weights"].get<std::vector<uint32_t>>());
    EXPECT_THAT(channel, testing::ElementsAre(entry["channel"].get<int>()));
  }
}

TEST(PairsVectors, Score) {
  ASSERT_FALSE(Vectors()["score"].empty());
  for (const auto& entry : Vectors()["score"]) {
    MarkParameters mark;
    mark.scheme = static_cast<Scheme>(entry["scheme"].get<int>());
    mark.window = entry["h"];
    mark.green = entry["green"];
    mark.layers = entry["layers"];
    const auto weights = entry["weights"].get<std::vector<uint32_t>>();
    const Secret32 route_key = SecretOf(entry["route_key"]);
    std::vector<Secret32> keys;
    for (const auto& key : entry["keys"]) keys.push_back(SecretOf(key));
    PairSet pairs(mark.window);
    pairs.Add(entry["tokens"].get<std::vector<uint32_t>>());

    const auto channel = RoutePairs(pairs, route_key, mark.scheme, weights);
    const auto all = ScoreAllChannels(pairs, route_key, keys, weights, mark);
    for (size_t c = 0; c < keys.size(); ++c) {
      const uint64_t scored = entry["channels"][c][0], statistic = entry["channels"][c][1];
      const ChannelCount one = ScoreChannel(pairs, channel, static_cast<int>(c), keys[c], mark);
      EXPECT_EQ(one.scored, scored);
      EXPECT_TRUE(one.statistic == statistic) << "scheme " << entry["scheme"] << " h " << mark.window << " channel " << c;
      EXPECT_EQ(all[c].scored, scored);
      EXPECT_TRUE(all[c].statistic == statistic);
      const auto candidates = ScoreCandidates(pairs, PairsOnChannel(channel, static_cast<int>(c)), {&keys[c], 1}, mark);
      ASSERT_EQ(candidates.size(), 1u);
      EXPECT_EQ(candidates[0].scored, scored);
      EXPECT_TRUE(candidates[0].statistic == statistic);
    }
  }
}

// Few words, so that repeats abound, and now and then an id that no pair may contain.
std::vector<uint32_t> RandomIds(std::mt19937& random, size_t n, uint32_t vocabulary) {
  std::vector<uint32_t> ids(n);
  for (uint32_t& id : ids) {
    id = random() % vocabulary;
    const uint32_t r = random() % 300;
    if (r == 0) id = kTokenLimit + random() % 3;
    if (r == 1) id = 0xFFFFFFFF;
    if (r == 2) id = kTokenLimit - 1;
  }
  return ids;
}

TEST(PairSet, EqualsANaiveSet) {
  std::mt19937 random(4);
  for (int h = 1; h <= kMaxWindow; ++h) {
    PairSet pairs(h);
    for (int round = 0; round < 40; ++round) {
      NaivePairs naive(h);
      pairs.Clear();
      if (round % 2 == 1) {
        for (int prompts = 0; prompts < 2; ++prompts) {
          const auto prompt = RandomIds(random, random() % 60, 3 + round);
          pairs.ExcludeWindowsOf(prompt);
          naive.Exclude(prompt);
        }
      }
      for (int part = 0; part < 4; ++part) {
        const auto ids = RandomIds(random, random() % (round == 7 ? 5000 : 300), 2 + random() % 20);
        ASSERT_EQ(pairs.Add(ids), naive.Add(ids));
      }
      ASSERT_EQ(PairsOf(pairs), naive.pairs) << "h " << h << " round " << round;
    }
  }
}

TEST(PairSet, ShortSequencesHaveNoPair) {
  for (int h = 1; h <= kMaxWindow; ++h) {
    PairSet pairs(h);
    EXPECT_EQ(pairs.Add({}), 0u);
    std::vector<uint32_t> ids(static_cast<size_t>(h), 5);
    EXPECT_EQ(pairs.Add(ids), 0u);
    ids.push_back(5);
    EXPECT_EQ(pairs.Add(ids), 1u);
    EXPECT_EQ(pairs.Add(ids), 0u);
  }
}

TEST(PairSet, ABrokenTokenSpoilsEveryPairThatWouldHoldIt) {
  PairSet pairs(2);
  EXPECT_EQ(pairs.Add(std::vector<uint32_t>{1, kTokenLimit, 2, 3, 4}), 1u);
  EXPECT_EQ(PairsOf(pairs), (std::vector<NaivePair>{{2, 3, 4}}));
}

TEST(PairSet, OutputsDoNotRunIntoEachOther) {
  PairSet pairs(2);
  pairs.Add(std::vector<uint32_t>{1, 2, 3});
  EXPECT_EQ(pairs.Add(std::vector<uint32_t>{4, 5, 6}), 1u);
}

TEST(PairSet, KeepsRepeatsForCalibrationOnly) {
  std::mt19937 random(5);
  const auto ids = RandomIds(random, 1000, 4);
  PairSet pairs(2);
  NaivePairs naive(2);
  naive.keep_repeats = true;
  pairs.KeepRepeatsForCalibration(true);
  EXPECT_EQ(pairs.Add(ids), naive.Add(ids));
  EXPECT_EQ(PairsOf(pairs), naive.pairs);
  PairSet distinct(2);
  EXPECT_LT(distinct.Add(ids), 100u);
}

// Large enough for the table to grow under content, and for several documents to meet.
TEST(PairSet, GrowsAndStaysExact) {
  std::mt19937 random(6);
  PairSet pairs(2);
  NaivePairs naive(2);
  for (int part = 0; part < 20; ++part) {
    const auto ids = RandomIds(random, 3000u << (part % 4), 40);
    ASSERT_EQ(pairs.Add(ids), naive.Add(ids));
  }
  EXPECT_EQ(PairsOf(pairs), naive.pairs);
  pairs.Clear();
  EXPECT_EQ(pairs.size(), 0u);
  EXPECT_EQ(pairs.Add(std::vector<uint32_t>{1, 2, 3, 1, 2, 3}), 3u);
}

// A table beyond the caches, whose look-ups come several batches after their hashes: repeats at every distance, the nearest within those batches,
// broken tokens, an excluded prompt, then more outputs of every length about a batch's.
TEST(PairSet, ALargeSetStaysExact) {
  std::mt19937 random(7);
  const auto token = [&] { return static_cast<uint32_t>(std::pow(4096.0, 0x1p-32 * random())); };  // below 2^12: five of them make one word
  for (int h : {1, 2, 4}) {
    std::unordered_set<uint64_t> seen, excluded;
    std::vector<uint64_t> expected;
    PairSet pairs(h);
    const auto add = [&](const std::vector<uint32_t>& ids) {
      const size_t before = expected.size();
      uint64_t pair = 0;
      int run = 0;  // tokens since the last broken one
      const uint64_t whole = (uint64_t{1} << 12 * (h + 1)) - 1;
      for (uint32_t id : ids) {
        run = id < kTokenLimit ? run + 1 : 0;
        pair = (pair << 12 | (id & 0xFFF)) & whole;
        if (run > h && !excluded.contains(pair >> 12) && seen.insert(pair).second) expected.push_back(pair);
      }
      return expected.size() - before;
    };
    std::vector<uint32_t> prompt(50);
    for (uint32_t& id : prompt) id = token();
    pairs.ExcludeWindowsOf(prompt);
    for (size_t i = 0; i + static_cast<size_t>(h) <= prompt.size(); ++i) {
      uint64_t window = 0;
      for (int j = 0; j < h; ++j) window = window << 12 | prompt[i + static_cast<size_t>(j)];
      excluded.insert(window);
    }
    std::vector<uint32_t> ids(1200003);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = random() % 1000 == 0 ? 0xFFFFFFFF : token();
    for (size_t i = 0; i + 2000 < ids.size(); i += random() % 50) {  // about every other stretch of 25 a copy of an earlier one
      const size_t back = random() % 2 ? 25 + random() % 50 : 25 + random() % 1000000;
      if (back <= i) std::copy_n(&ids[i - back], 25, &ids[i]);
    }
    ASSERT_EQ(pairs.Add(ids), add(ids));
    for (uint32_t n = 0; n < 100; ++n) {
      const std::vector<uint32_t> more(&ids[n * 1000], &ids[n * 1000] + n);
      std::vector<uint32_t> fresh(n);
      for (uint32_t& id : fresh) id = token();
      ASSERT_EQ(pairs.Add(more), 0u);
      ASSERT_EQ(pairs.Add(fresh), add(fresh)) << n;
    }
    ASSERT_EQ(pairs.size(), expected.size());
    EXPECT_LT(expected.size(), ids.size() - 200000);
    for (size_t i = 0; i < expected.size(); ++i) {
      uint64_t pair = 0;
      for (int j = 0; j < h; ++j) pair = pair << 12 | pairs.window_token(j)[i];
      ASSERT_EQ(pair << 12 | pairs.token()[i], expected[i]) << "h " << h << " pair " << i;
    }
  }
}

// Counts one pair may take beyond 64 bits: a high-scoring pair two million times over.
TEST(Statistic, GoesBeyond64Bits) {
  MarkParameters mark;
  mark.window = 1;
  const std::vector<Secret32> keys = {SecretOf(std::string(64, '7'))};
  uint32_t best = 0;
  uint64_t best_score = 0;
  for (uint32_t t = 0; t < 100000; ++t) {
    const uint64_t score = NaiveScore({t, t}, keys[0], mark);
    if (score > best_score) {
      best_score = score;
      best = t;
    }
  }
  constexpr size_t kRepeats = 2'500'000;
  PairSet pairs(1);
  pairs.KeepRepeatsForCalibration(true);
  ASSERT_EQ(pairs.Add(std::vector<uint32_t>(kRepeats + 1, best)), kRepeats);
  const Statistic expected = static_cast<Statistic>(best_score) * kRepeats;
  ASSERT_TRUE(expected >> 64 != 0);
  const uint32_t one_channel[] = {65536};
  const auto counts = ScoreAllChannels(pairs, keys[0], keys, one_channel, mark);
  EXPECT_TRUE(counts[0].statistic == expected);
  EXPECT_EQ(counts[0].scored, kRepeats);
}

TEST(PairsOnChannel, ListsThemAscending) {
  const std::vector<uint8_t> channel = {1, 0, 1, 2, 0};
  EXPECT_THAT(PairsOnChannel(channel, 0), testing::ElementsAre(1, 4));
  EXPECT_THAT(PairsOnChannel(channel, 1), testing::ElementsAre(0, 2));
  EXPECT_THAT(PairsOnChannel(channel, 3), testing::IsEmpty());
}

TEST(PairSetDeathTest, RefusesAWindowOutOfRange) {
  EXPECT_DEATH(PairSet(0), "1 to 4 tokens");
  EXPECT_DEATH(PairSet(5), "1 to 4 tokens");
}

}  // namespace
}  // namespace countermark
