// Two views by two tokenizers of texts that do not depend on the key: a false claim in any reading, of any record or pool, in at most alpha of the runs; and without
// the factor for readings in far more.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "countermark/detect/detector.h"
#include "countermark/detect/pairs.h"
#include "countermark/tokenize/cleaned_text.h"

namespace countermark {
namespace {

constexpr uint64_t kRuns = 20000;
constexpr double kAlpha = 0.05;
constexpr size_t kReadings = 4;

std::u32string Characters(const std::string& text) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t c = lead & (0xFF >> (length == 1 ? 0 : length + 1));
    for (size_t j = 1; j < length; ++j) c = c << 6 | (static_cast<unsigned char>(text[i + j]) & 0x3F);
    out += c;
    i += length;
  }
  return out;
}

// Tokenizers of one and of two characters.
std::vector<uint32_t> Tokens(const std::string& text, size_t characters) {
  const std::u32string all = Characters(text);
  std::vector<uint32_t> ids;
  for (size_t i = 0; i + characters <= all.size(); i += characters) {
    uint64_t id = characters;
    for (size_t j = 0; j < characters; ++j) id = id * 1000003 + all[i + j];
    ids.push_back(static_cast<uint32_t>(id % 49999));
  }
  return ids;
}

// Unmarked text in disguise: look-alikes and zero-width characters, so that the two views have few pairs in common.
std::string Disguised(std::mt19937* random) {
  static const char* const kLetters[] = {"a", "e", "o", "p", "c", "x", "t", "n", "s", "r", " ", "l", "d", "m"};
  static const std::string kAlike[] = {"\u0430", "\u0435", "\u043E", "\u0440", "\u0441", "\u0445"};
  std::string text;
  for (int i = 0; i < 60; ++i) {
    const size_t letter = (*random)() % std::size(kLetters);
    text += letter < std::size(kAlike) && (*random)() % 3 == 0 ? kAlike[letter] : kLetters[letter];
    if ((*random)() % 3 == 0) text += "\u200B";
  }
  return text;
}

struct Runs {
  uint64_t with = 0;     // runs with a claim, as the product judges
  uint64_t without = 0;  // each reading judged as if it were alone
};

Runs Simulate(uint64_t records, uint32_t seed) {
  std::mt19937 random(seed);
  EpochRecord record;
  record.channels = {{"base", 65536}};
  std::vector<std::vector<PairSet>> texts(kReadings);
  std::vector<PairSet> pools;
  for (size_t r = 0; r < kReadings; ++r) pools.emplace_back(record.mark.window);
  for (uint64_t i = 0; i < records; ++i) {
    const std::string text = Disguised(&random);
    const std::string cleaned = CleanText(text)->text();
    EXPECT_NE(cleaned, text);
    for (size_t r = 0; r < kReadings; ++r) {
      const std::vector<uint32_t> ids = Tokens(r % 2 == 0 ? text : cleaned, 1 + r / 2);
      texts[r].emplace_back(record.mark.window).Add(ids);
      pools[r].Add(ids);
    }
  }
  Runs runs;
  for (uint64_t run = 0; run < kRuns; ++run) {
    std::array<uint8_t, 32> key;
    for (uint8_t& byte : key) byte = static_cast<uint8_t>(random());
    const Detector detector = *Detector::Create(EpochKeys{record, Secret32(key), {}}, {});
    TestLedger ledger = detector.Ledger(records);
    TestLedger alone = ledger;
    ledger.views = ledger.tokenizers = 2;
    bool with = false, without = false;
    const auto judge = [&](const DetectionResult& result, bool of_record) {
      with |= detector.Judge(result, ledger, kAlpha, of_record) == RecordVerdict::kMarked;
      without |= detector.Judge(result, alone, kAlpha, of_record) == RecordVerdict::kMarked;
    };
    for (size_t r = 0; r < kReadings; ++r) {
      for (const PairSet& pairs : texts[r]) judge(detector.Score(pairs), true);
      if (records > 1) judge(detector.Score(pools[r]), false);
    }
    runs.with += with;
    runs.without += without;
  }
  std::printf("  %llu records: of %llu runs a claim in %llu; without the factor in %llu\n", (unsigned long long)records, (unsigned long long)kRuns,
              (unsigned long long)runs.with, (unsigned long long)runs.without);
  return runs;
}

// Of 20,000 runs a sound build has at most Binomial(20000, 0.05) with a claim, 1,000 ± 30.8: more than 1,155 with probability 4e-7. Seeds are fixed: no run fails by chance.
TEST(Readings, OfOneRecordTogetherKeepAlpha) {
  const Runs runs = Simulate(1, 20261124);
  EXPECT_LE(runs.with, 1155u);
  EXPECT_GT(runs.with, 500u);      // and the factor is not more than it need be: readings that differ use nearly all of alpha
  EXPECT_GT(runs.without, 2000u);  // four readings of which each has a whole alpha: twice too many and more
}

TEST(Readings, OfSeveralRecordsAndTheirPoolsTogetherKeepAlpha) {
  const Runs runs = Simulate(4, 20261125);
  EXPECT_LE(runs.with, 1155u);
  EXPECT_GT(runs.without, 2000u);
}

}  // namespace
}  // namespace countermark
