// Decoy keys: where they come from, that they are asked the same question, and that the real key is one of them where nothing is marked.
#include "countermark/detect/decoys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "countermark/detect/tails.h"
#include "countermark/mark/prf.h"
#include "src/base/hex.h"

namespace countermark {
namespace {

DecoySeed SeedOf(uint8_t first) {
  DecoySeed seed;
  std::iota(seed.begin(), seed.end(), first);
  return seed;
}

std::vector<uint32_t> AllOf(const PairSet& pairs) {
  std::vector<uint32_t> which(pairs.size());
  std::iota(which.begin(), which.end(), 0u);
  return which;
}

// Each pair's score under a key, one by one, by the format's plain functions.
std::vector<uint64_t> ScoresUnder(const PairSet& pairs, const Secret32& key, const MarkParameters& parameters) {
  std::vector<uint64_t> scores;
  for (uint32_t i = 0; i < pairs.size(); ++i) {
    const uint32_t one[] = {i};
    scores.push_back(static_cast<uint64_t>(ScoreCandidates(pairs, one, std::span(&key, 1), parameters)[0].statistic));
  }
  return scores;
}

// A text of loops, so that what is deduplicated matters.
PairSet Loops(int window, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> ids;
  for (int i = 0; i < 60; ++i) {
    for (int j = 0; j < 5; ++j) ids.push_back(static_cast<uint32_t>(j * 7 + i / 10));
    ids.push_back(static_cast<uint32_t>(random() % 50));
  }
  PairSet pairs(window);
  pairs.Add(ids);
  return pairs;
}

TEST(DecoyKeys, AreHkdfOfThePublicSeed) {
  // HKDF-SHA256 of the bytes 0 … 31 with the labels "decoy" and the number, by Python's hmac.
  const std::vector<Secret32> keys = DecoyKeys(SeedOf(0), 0, 1001);
  const auto hex = [](const Secret32& key) { return HexEncode(std::span<const uint8_t>(key.Reveal(SecretAccess()), Secret32::kSize)); };
  EXPECT_EQ(hex(keys[0]), "26701a69f85ab9b14c069d454030044eb4fe8e3a20c61343cc27d4d13abfa0ca");
  EXPECT_EQ(hex(keys[7]), "f01cf12893749a83eaf0eb41972ebf1054908ade7fa733a331bbed723c5a79d3");
  EXPECT_EQ(hex(keys[1000]), "2bd698ec18b2d7ebce29fea60bf56b76e134027b1fe8a55a04d7805b8331c8b6");
  EXPECT_EQ(hex(DecoyKeys(SeedOf(0), 7, 1)[0]), hex(keys[7]));
  EXPECT_NE(hex(DecoyKeys(SeedOf(1), 7, 1)[0]), hex(keys[7]));
  EXPECT_NE(DrawDecoySeed(), DrawDecoySeed());
}

TEST(RunDecoys, AsksEachDecoyWhatTheRealKeyIsAsked) {
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    MarkParameters parameters;
    parameters.scheme = scheme;
    const PairSet pairs = Loops(2, 1);
    const std::vector<uint32_t> which = AllOf(pairs);
    const Secret32 real = DecoyKeys(SeedOf(9), 0, 1)[0];
    const DecoyControl control = RunDecoys(pairs, which, ScoresUnder(pairs, real, parameters), SeedOf(0), 200, parameters, 1);
    const std::vector<ChannelCount> counts = ScoreCandidates(pairs, which, DecoyKeys(SeedOf(0), 0, 200), parameters);
    ASSERT_EQ(control.log10_p.size(), 200u);
    uint64_t rank = 1;
    for (size_t i = 0; i < counts.size(); ++i) {
      EXPECT_EQ(control.log10_p[i], Log10P(counts[i], parameters));
      rank += control.log10_p[i] <= control.real_log10_p;
    }
    EXPECT_EQ(control.rank(), rank);
    EXPECT_EQ(control.real_log10_p, Log10P(ScoreCandidates(pairs, which, std::span(&real, 1), parameters)[0], parameters));
    EXPECT_TRUE(control.all_pairs);
    EXPECT_EQ(RunDecoys(pairs, which, ScoresUnder(pairs, real, parameters), SeedOf(0), 200, parameters, 2).log10_p, control.log10_p);
    // Of too many, the first pairs, for all keys alike.
    const DecoyControl part = RunDecoys(pairs, which, ScoresUnder(pairs, real, parameters), SeedOf(0), 10, parameters, 1, 400);
    EXPECT_EQ(part.pairs, 40u);
    EXPECT_FALSE(part.all_pairs);
    EXPECT_EQ(part.real.statistic, ScoreCandidates(pairs, std::span(which).first(40), std::span(&real, 1), parameters)[0].statistic);
  }
}

// Under H0 the rank is uniform over 1 … n + 1, ties aside, which push it up. 4000 fresh real keys on one fixed text of loops, n = 19: of rank 1 and of
// rank ≤ 5, Binomial(4000, 1/20) and (4000, 1/4). The bounds are 6 standard deviations: a false alarm has odds below 1e-8; for gumbel, which has hardly any
// ties, from both sides. The seeds are fixed, so that the test gives the same every time.
TEST(RunDecoys, RankIsUniformWhereNothingIsMarked) {
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kGumbel}) {
    MarkParameters parameters;
    parameters.scheme = scheme;
    const PairSet pairs = Loops(2, 2);
    const std::vector<uint32_t> which = AllOf(pairs);
    const std::vector<Secret32> real = DecoyKeys(SeedOf(77), 0, 4000);
    const std::vector<ChannelCount> counts = ScoreCandidates(pairs, which, real, parameters);
    int first = 0, fifth = 0;
    for (int trial = 0; trial < 4000; ++trial) {
      DecoySeed seed = SeedOf(3);
      seed[0] = static_cast<uint8_t>(trial);
      seed[1] = static_cast<uint8_t>(trial >> 8);
      DecoyControl control = RunDecoys(pairs, which, std::vector<uint64_t>(which.size()), seed, 19, parameters, 1);
      control.real_log10_p = Log10P(counts[static_cast<size_t>(trial)], parameters);
      first += control.rank() <= 1;
      fifth += control.rank() <= 5;
    }
    EXPECT_LE(first, 200 + 6 * 14);
    EXPECT_LE(fifth, 1000 + 6 * 28);
    if (scheme == Scheme::kGumbel) {
      EXPECT_GE(first, 200 - 6 * 14);
      EXPECT_GE(fifth, 1000 - 6 * 28);
    }
  }
}

// Why the seed is drawn after the text was read: whoever knows it beforehand writes a text that makes a decoy look guilty, and the control tells a story
// about the writer instead of about the test.
TEST(RunDecoys, ASeedThatIsKnownBeforehandIsNoControl) {
  MarkParameters parameters;
  const DecoySeed known = SeedOf(5);
  const Secret32 decoy = DecoyKeys(known, 3, 1)[0];
  std::mt19937_64 random(8);
  std::vector<uint32_t> ids = {1, 2};
  for (int i = 0; i < 150; ++i) {  // of eight tokens the one that the decoy likes best
    uint32_t best = 0;
    Statistic best_score = 0;
    for (int k = 0; k < 8; ++k) {
      const auto token = static_cast<uint32_t>(random() % 5000);
      PairSet one(2);
      one.Add(std::vector<uint32_t>{ids[ids.size() - 2], ids.back(), token});
      const Statistic score = ScoreCandidates(one, std::vector<uint32_t>{0}, std::span(&decoy, 1), parameters)[0].statistic;
      if (score >= best_score) {
        best = token;
        best_score = score;
      }
    }
    ids.push_back(best);
  }
  PairSet pairs(2);
  pairs.Add(ids);
  const std::vector<uint64_t> none(pairs.size());
  const auto lowest = [](const DecoyControl& control) { return *std::min_element(control.log10_p.begin(), control.log10_p.end()); };
  EXPECT_LT(lowest(RunDecoys(pairs, AllOf(pairs), none, known, 1000, parameters, 1)), -20);
  // A fresh seed: 1000 exact tests, the lowest below 1e-8 with odds below 1e-5.
  EXPECT_GT(lowest(RunDecoys(pairs, AllOf(pairs), none, SeedOf(6), 1000, parameters, 1)), -8);
}

}  // namespace
}  // namespace countermark
