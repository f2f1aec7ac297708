#include "countermark/detect/detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "countermark/detect/tails.h"
#include "countermark/keys/derive.h"

namespace countermark {
namespace {

using ::testing::HasSubstr;

EpochKeys Keys(uint8_t fill = 7) {
  std::array<uint8_t, 32> bytes;
  bytes.fill(fill);
  return EpochKeys{EpochRecord{}, Secret32(bytes), {}};
}

std::vector<uint32_t> RandomIds(uint32_t seed, size_t length) {
  std::mt19937 random(seed);
  std::vector<uint32_t> ids(length);
  for (uint32_t& id : ids) id = random() % 50000;
  return ids;
}

TEST(Detector, ScoresEachChannelUnderItsOwnKey) {
  const EpochKeys keys = Keys();
  absl::StatusOr<Detector> detector = Detector::Create(keys, {"a", "b"});
  ASSERT_TRUE(detector.ok()) << detector.status();
  PairSet pairs(detector->window());
  pairs.Add(RandomIds(1, 500));
  const DetectionResult result = detector->Score(pairs);
  EXPECT_EQ(result.scored, pairs.size());
  // The parts by hand.
  const std::vector<uint8_t> channel = RoutePairs(pairs, keys.Route(), Scheme::kGumbel, std::vector<uint32_t>{32768, 32768});
  const ChannelCount base = ScoreChannel(pairs, channel, 0, DeriveBaseKey(keys.epoch_key), MarkParameters());
  const ChannelCount b = ScoreChannel(pairs, channel, 1, DeriveAccountKey(keys.epoch_key, "b"), MarkParameters());
  ASSERT_EQ(result.channels.size(), 1u);
  EXPECT_EQ(result.channels[0].name, "base");
  EXPECT_EQ(result.channels[0].count.scored, base.scored);
  EXPECT_TRUE(result.channels[0].count.statistic == base.statistic);
  EXPECT_EQ(result.channels[0].log10_p, Log10P(base, MarkParameters()));
  ASSERT_EQ(result.accounts.size(), 2u);
  EXPECT_EQ(result.accounts[1].count.scored, b.scored);
  EXPECT_TRUE(result.accounts[1].count.statistic == b.statistic);
  EXPECT_EQ(base.scored + b.scored, pairs.size());
}

TEST(Detector, RefusesWhatCannotBeTested) {
  EpochKeys keys = Keys();
  EXPECT_THAT(std::string(Detector::Create(keys, {"a", "b", "a"}).status().message()), HasSubstr("account 'a' is named twice"));
  EXPECT_FALSE(Detector::Create(keys, {""}).ok());
  keys.record.channels = {{"base", 65536}};
  EXPECT_THAT(std::string(Detector::Create(keys, {"a"}).status().message()), HasSubstr("no account channel"));
  EXPECT_TRUE(Detector::Create(keys, {}).ok());
  keys.record.channels = {{"base", 65535}};
  EXPECT_FALSE(Detector::Create(keys, {}).ok());
  keys.record.channels = {{"account", 65536}};
  EXPECT_FALSE(Detector::Create(keys, {}).ok());
  keys = Keys();
  keys.record.mark.window = 5;
  EXPECT_THAT(std::string(Detector::Create(keys, {}).status().message()), HasSubstr("window is 5"));
  keys = Keys();
  keys.record.mark.green = 256;
  EXPECT_FALSE(Detector::Create(keys, {}).ok());
}

TEST(Detector, IdsBeyondTheVocabulary) {
  EpochKeys keys = Keys();
  keys.record.vocabulary = 100;
  const Detector detector = *Detector::Create(keys, {});
  EXPECT_TRUE(detector.CheckIds(std::vector<uint32_t>{0, 99}).ok());
  EXPECT_THAT(std::string(detector.CheckIds(std::vector<uint32_t>{0, 99, 100}).message()), HasSubstr("token id 100 at position 2 is beyond the vocabulary of 100"));
  EXPECT_TRUE(Detector::Create(Keys(), {})->CheckIds(std::vector<uint32_t>{kTokenLimit - 1}).ok());
  EXPECT_FALSE(Detector::Create(Keys(), {})->CheckIds(std::vector<uint32_t>{kTokenLimit}).ok());
}

DetectionResult Result(double base, std::vector<double> accounts_adjusted) {
  DetectionResult result;
  result.scored = 10;
  result.channels.push_back({"base", {10, 1}, base, 0});
  for (const double adjusted : accounts_adjusted) result.accounts.push_back({{10, 1}, adjusted, adjusted});
  return result;
}

TEST(Detector, AVerdictIsCorrectedForEveryFamilyAndRecord) {
  const Detector base_only = *Detector::Create(Keys(), {});
  const Detector both = *Detector::Create(Keys(), {"a", "b", "c"});
  // m: 1 family and 1 record; 2 families; 2 families, 1,000 records and 2 questions, the records and their pool. −6 is exactly alpha.
  EXPECT_EQ(base_only.Judge(Result(-6, {}), base_only.Ledger(1), 1e-6), RecordVerdict::kMarked);
  EXPECT_EQ(base_only.Judge(Result(-5.99, {}), base_only.Ledger(1), 1e-6), RecordVerdict::kNoEvidence);
  EXPECT_EQ(Detector::Multiplier(both.Ledger(1), true), 2u);
  EXPECT_EQ(both.Judge(Result(-6.2, {0, 0, 0}), both.Ledger(1), 1e-6), RecordVerdict::kNoEvidence);
  EXPECT_EQ(both.Judge(Result(-6.31, {0, 0, 0}), both.Ledger(1), 1e-6), RecordVerdict::kMarked);
  EXPECT_EQ(both.Judge(Result(0, {0, -6.31, 0}), both.Ledger(1), 1e-6), RecordVerdict::kMarked);
  EXPECT_EQ(Detector::Multiplier(both.Ledger(1000), true), 4000u);
  EXPECT_EQ(both.Judge(Result(-9.6, {0, 0, -9.6}), both.Ledger(1000), 1e-6), RecordVerdict::kNoEvidence);
  EXPECT_EQ(both.Judge(Result(-9.61, {0, 0, 0}), both.Ledger(1000), 1e-6), RecordVerdict::kMarked);
  EXPECT_EQ(both.Judge(Result(0, {0, 0, -9.61}), both.Ledger(1000), 1e-6), RecordVerdict::kMarked);
  EXPECT_EQ(both.Ledger(1000).Total(), 4004u);
  // The pooled test is one, however many records there are, known or not; with one record it is that record's, and no second question.
  EXPECT_EQ(Detector::Multiplier(both.Ledger(1), false), 2u);
  for (const uint64_t records : {uint64_t{2}, uint64_t{1000}, uint64_t{0}}) {
    const TestLedger ledger = both.Ledger(records);
    EXPECT_EQ(Detector::Multiplier(ledger, false), 4u) << records;
    EXPECT_EQ(both.Judge(Result(-6.6, {0, 0, -6.6}), ledger, 1e-6, false), RecordVerdict::kNoEvidence) << records;
    EXPECT_EQ(both.Judge(Result(-6.61, {0, 0, 0}), ledger, 1e-6, false), RecordVerdict::kMarked) << records;
  }
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(Detector::Multiplier({.records = kMost, .questions = 2}, true), kMost);
  EXPECT_EQ(Detector::Multiplier({.records = 5, .questions = 0}, true), 5u);
  // Every question pays for the others, and for its own tests alone.
  EXPECT_EQ(Detector::Multiplier({.records = 5, .views = 2, .tokenizers = 3, .questions = 5, .regions = 1, .weighted = 7}, true), 150u);
  EXPECT_EQ(both.Judge(Result(-600, {0, 0, 0}), both.Ledger(0), 1e-6), RecordVerdict::kUncorrected);
}

TEST(Detector, NothingScoredIsInconclusive) {
  const Detector detector = *Detector::Create(Keys(), {"a"});
  PairSet pairs(detector.window());
  pairs.Add(std::vector<uint32_t>{1, 2});
  const DetectionResult result = detector.Score(pairs);
  EXPECT_EQ(result.scored, 0u);
  EXPECT_EQ(result.channels[0].log10_p, 0);
  EXPECT_EQ(result.accounts[0].log10_p_adjusted, 0);
  EXPECT_EQ(detector.Judge(result, detector.Ledger(1), 1e-6), RecordVerdict::kInconclusive);
}

// Unmarked ids under 4,000 fresh keys: P(p ≤ 0.01) is 0.01, for the base and for the smallest of three Holm-adjusted accounts (both just
// below). Binomial(4000, 0.01) is above 75 with probability 2.3e-7 and below 13 with 1.9e-7.
TEST(Detector, FalseClaimsUnderFreshKeys) {
  std::mt19937 random(20261101);
  PairSet pairs(2);
  pairs.Add(RandomIds(3, 120));
  int base = 0, accounts = 0;
  for (int round = 0; round < 4000; ++round) {
    std::array<uint8_t, 32> bytes;
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    const Detector detector = *Detector::Create(EpochKeys{EpochRecord{}, Secret32(bytes), {}}, {"a", "b", "c"});
    const DetectionResult result = detector.Score(pairs);
    base += result.channels[0].log10_p <= -2;
    double smallest = 0;
    for (const AccountTest& test : result.accounts) smallest = std::min(smallest, test.log10_p_adjusted);
    accounts += smallest <= -2;
  }
  EXPECT_LE(base, 75);
  EXPECT_GE(base, 13);
  EXPECT_LE(accounts, 75);
  EXPECT_GE(accounts, 13);
}

}  // namespace
}  // namespace countermark
