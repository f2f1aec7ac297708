// Regions against plain enumeration: the family and its counts, the search on small texts, ends of ranges, bytes, and the cost.
#include "countermark/detect/regions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "countermark/detect/detector.h"
#include "countermark/detect/tails.h"
#include "tests/detect/pairs_naive.h"

namespace countermark {
namespace {

constexpr uint64_t kMaxGumbel = 24387948313145;

MarkParameters Mark(Scheme scheme) {
  MarkParameters mark;
  mark.scheme = scheme;
  return mark;
}

// One interval's place in the family, from the header's words: the scale, and 0 for coarse, 1 for fine. False: not in the family.
bool ClassOf(uint64_t begin, uint64_t length, std::pair<int, int>* which) {
  int scale = 0;
  while (uint64_t{2} << scale <= length) ++scale;
  uint64_t step = 1;
  for (int k = 4; k < scale; ++k) step *= 2;
  const bool multiple = length % step == 0;
  *which = {scale, multiple ? 0 : 1};
  return !multiple || begin % step == 0;
}

int Kinds(int scale) { return scale > 4 ? 2 : 1; }

TEST(RegionTries, IsTheNumberOfIntervalsCountedOneByOne) {
  for (uint64_t pairs : {1u, 2u, 3u, 4u, 5u, 7u, 16u, 31u, 32u, 33u, 63u, 64u, 65u, 100u, 127u, 200u, 333u, 512u}) {
    std::map<std::pair<int, int>, uint64_t> intervals;
    int scales = 0;
    for (uint64_t begin = 0; begin < pairs; ++begin) {
      for (uint64_t length = 1; begin + length <= pairs; ++length) {
        std::pair<int, int> which;
        const bool in = ClassOf(begin, length, &which);
        scales = std::max(scales, which.first + 1);
        if (in) ++intervals[which];
      }
    }
    // Each class has an equal share of its scale, each scale of the whole: over the whole family the shares sum to 1 at most.
    long double shares = 0;
    for (uint64_t length = 1; length <= pairs; ++length) {
      std::pair<int, int> which;
      ClassOf(0, length, &which);
      const Statistic want = static_cast<Statistic>(scales * Kinds(which.first)) * intervals.at(which);
      EXPECT_EQ(RegionTries(pairs, length), want) << pairs << " pairs, length " << length;
      for (uint64_t begin = 0; begin + length <= pairs; ++begin) {
        if (ClassOf(begin, length, &which)) shares += 1.0L / static_cast<long double>(RegionTries(pairs, length));
      }
    }
    EXPECT_LE(shares, 1 + 1e-12L) << pairs;
    EXPECT_GT(shares, 0.5L) << pairs;
  }
}

TEST(RegionTries, OfLargeTexts) {
  for (const uint64_t pairs : {100000ull, 5000000ull, 0xFFFFFFFFull}) {
    int scales = 0;
    while (pairs >> scales != 0) ++scales;
    for (const uint64_t length : {20ull, 200ull, 208ull, 70001ull, 65536ull + 4096}) {
      int scale = 0;
      while (uint64_t{2} << scale <= length) ++scale;
      const uint64_t step = scale > 4 ? uint64_t{1} << (scale - 4) : 1;
      Statistic coarse = 0, fine = 0;
      for (uint64_t l = uint64_t{1} << scale; l < uint64_t{2} << scale && l <= pairs; ++l) {
        if (l % step == 0) {
          coarse += pairs / step - l / step + 1;
        } else {
          fine += pairs - l + 1;
        }
      }
      EXPECT_EQ(RegionTries(pairs, length), static_cast<Statistic>(scales * Kinds(scale)) * (length % step == 0 ? coarse : fine));
    }
  }
  // Python's integers, from the closed form in docs/regions.md.
  EXPECT_EQ(RegionTries(100000, 208), Statistic{6787760});
  EXPECT_EQ(RegionTries(100000, 209), Statistic{380072672});
  EXPECT_EQ(RegionTries(100000, 20480), Statistic{40528});
  EXPECT_EQ(RegionTries(1000000, 300), Statistic{9596323200});
  // A passage of 208 pairs in 100,000 costs 6.8 decades; all intervals at once would cost 9.7.
  EXPECT_NEAR(std::log10(static_cast<double>(RegionTries(100000, 208))), 6.83, 0.01);
}

TEST(RegionTries, NoSuchInterval) {
  EXPECT_EQ(RegionTries(10, 0), Statistic{0});
  EXPECT_EQ(RegionTries(10, 11), Statistic{0});
  EXPECT_EQ(RegionTries(0, 0), Statistic{0});
  EXPECT_EQ(RegionTries(uint64_t{1} << 32, 5), Statistic{0});
  EXPECT_EQ(RegionTries(1, 1), Statistic{1});
  EXPECT_EQ(RegionAdjust(-7, 0), 0);  // no such interval is no evidence
  EXPECT_EQ(RegionAdjust(-1, 1000), 0);
  EXPECT_NEAR(RegionAdjust(-7, 1000), -4, 1e-12);
  EXPECT_EQ(RegionAdjust(std::nan(""), 1), 0);
}

// A score under the null, or under a mark of some strength, drawn from the law itself.
uint64_t DrawScore(const MarkParameters& mark, bool marked, std::mt19937_64& random) {
  const double u = (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53;
  switch (mark.scheme) {
    case Scheme::kPartition:
      return u < (marked ? 0.7 : mark.green / 256.0);
    case Scheme::kTournament:
      return std::binomial_distribution<uint64_t>(static_cast<uint64_t>(mark.layers), marked ? 0.65 : 0.5)(random);
    case Scheme::kGumbel:
      break;
  }
  return std::min(kMaxGumbel, static_cast<uint64_t>(-std::log(u) * (marked ? 3 : 1) * 0x1p40));
}

std::vector<uint64_t> DrawScores(const MarkParameters& mark, uint64_t pairs, uint64_t begin, uint64_t end, std::mt19937_64& random) {
  std::vector<uint64_t> scores(pairs);
  for (uint64_t i = 0; i < pairs; ++i) scores[i] = DrawScore(mark, i >= begin && i < end, random);
  return scores;
}

Statistic SumOf(std::span<const uint64_t> scores, uint64_t first, uint64_t length) {
  Statistic sum = 0;
  for (uint64_t i = first; i < first + length; ++i) sum += scores[i];
  return sum;
}

// What must hold of any search.
void ExpectSound(const RegionSearch& search, std::span<const uint64_t> scores, const MarkParameters& mark, double level) {
  EXPECT_EQ(search.scored, scores.size());
  uint64_t end = 0;
  for (const Region& region : search.regions) {
    EXPECT_GE(region.first, end);
    end = region.first + region.count.scored;
    ASSERT_LE(end, scores.size());
    std::pair<int, int> which;
    EXPECT_TRUE(ClassOf(region.first, region.count.scored, &which)) << region.first << " + " << region.count.scored;
    EXPECT_TRUE(region.count.statistic == SumOf(scores, region.first, region.count.scored));
    EXPECT_EQ(region.log10_p, Log10P(region.count, mark));
    EXPECT_TRUE(region.tries == RegionTries(scores.size(), region.count.scored));
    EXPECT_NEAR(region.log10_p_adjusted, std::min(0.0, region.log10_p + std::log10(static_cast<double>(region.tries))), 1e-9);
    EXPECT_LE(region.log10_p_adjusted, level);
  }
}

TEST(FindRegions, IsWhatEnumerationFinds) {
  std::mt19937_64 random(7);
  int found = 0, none = 0;
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    const MarkParameters mark = Mark(scheme);
    for (int round = 0; round < 150; ++round) {
      const uint64_t pairs = 1 + random() % 180;
      const uint64_t begin = random() % pairs, length = random() % 60;
      const auto scores = DrawScores(mark, pairs, begin, round % 3 == 0 ? begin : begin + length, random);
      double least = std::numeric_limits<double>::infinity();
      for (uint64_t first = 0; first < pairs; ++first) {
        for (uint64_t l = 1; first + l <= pairs; ++l) {
          std::pair<int, int> which;
          if (!ClassOf(first, l, &which) || which.second != 0) continue;
          const double log10_p = Log10P({l, SumOf(scores, first, l)}, mark);
          least = std::min(least, log10_p + std::log10(static_cast<double>(RegionTries(pairs, l))));
        }
      }
      const double level = round % 2 == 0 ? -2 : -6;
      const RegionSearch search = FindRegions(scores, mark, level);
      ExpectSound(search, scores, mark, level);
      EXPECT_NEAR(search.nearest.log10_p + std::log10(static_cast<double>(search.nearest.tries)), least, 1e-9);
      EXPECT_EQ(search.regions.empty(), least > level) << pairs << " pairs, least " << least;
      ++(search.regions.empty() ? none : found);
    }
  }
  EXPECT_GT(found, 100);
  EXPECT_GT(none, 100);
}

TEST(FindRegions, TwoPassagesAreTwoAndOneIsOne) {
  std::mt19937_64 random(11);
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    const MarkParameters mark = Mark(scheme);
    auto scores = DrawScores(mark, 20000, 3000, 3500, random);
    const auto second = DrawScores(mark, 400, 0, 400, random);
    std::copy(second.begin(), second.end(), scores.begin() + 4000);
    RegionSearch search = FindRegions(scores, mark, -6);
    ExpectSound(search, scores, mark, -6);
    ASSERT_EQ(search.regions.size(), 2u);
    // A passage all over, whatever its strength here and there, is not taken to pieces.
    scores = DrawScores(mark, 20000, 0, 20000, random);
    const auto weak = DrawScores(mark, 1000, 0, 0, random);
    for (size_t i = 0; i < weak.size(); i += 2) scores[8000 + i] = weak[i];  // half of the marks are missing there
    search = FindRegions(scores, mark, -6);
    ExpectSound(search, scores, mark, -6);
    ASSERT_EQ(search.regions.size(), 1u);
    EXPECT_LE(search.regions[0].first, 16u);
    EXPECT_GE(search.regions[0].count.scored, 19968u);
  }
}

TEST(FindRegions, SmallAndExtremeTexts) {
  const MarkParameters gumbel = Mark(Scheme::kGumbel);
  RegionSearch search = FindRegions({}, gumbel, -2);
  EXPECT_EQ(search.scored, 0u);
  EXPECT_TRUE(search.regions.empty());
  EXPECT_EQ(search.nearest.count.scored, 0u);
  // One pair: the region is the text, and nothing is paid.
  const std::vector<uint64_t> one = {kMaxGumbel};
  search = FindRegions(one, gumbel, -6);
  ASSERT_EQ(search.regions.size(), 1u);
  EXPECT_EQ(search.regions[0].log10_p_adjusted, Log10P({1, kMaxGumbel}, gumbel));
  EXPECT_TRUE(FindRegions(std::vector<uint64_t>{0}, gumbel, -1e-3).regions.empty());
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    const MarkParameters mark = Mark(scheme);
    const uint64_t highest = scheme == Scheme::kPartition ? 1 : scheme == Scheme::kTournament ? 30 : kMaxGumbel;
    for (const uint64_t pairs : {2u, 3u, 17u, 32u, 33u, 1000u}) {
      const std::vector<uint64_t> zeros(pairs), full(pairs, highest);
      EXPECT_TRUE(FindRegions(zeros, mark, -1e-3).regions.empty());
      ExpectSound(FindRegions(zeros, mark, 0), zeros, mark, 0);  // a level of 1: anything goes, nothing breaks
      search = FindRegions(full, mark, -1);
      ExpectSound(search, full, mark, -1);
      if (pairs >= 17) {
        ASSERT_EQ(search.regions.size(), 1u);
        EXPECT_GE(search.regions[0].count.scored, pairs - 1);
      }
    }
  }
}

TEST(FindRegions, SumsBeyond64Bits) {
  const MarkParameters gumbel = Mark(Scheme::kGumbel);
  const std::vector<uint64_t> full(800000, kMaxGumbel);
  const RegionSearch search = FindRegions(full, gumbel, -6);
  ExpectSound(search, full, gumbel, -6);
  ASSERT_EQ(search.regions.size(), 1u);
  EXPECT_GT(search.regions[0].count.statistic, Statistic{std::numeric_limits<uint64_t>::max()});
}

TEST(FindRegions, CostIsLinear) {
  std::mt19937_64 random(13);
  const MarkParameters mark = Mark(Scheme::kPartition);
  for (const uint64_t pairs : {10000u, 100000u, 1000000u}) {
    for (const uint64_t marked : {uint64_t{0}, pairs / 3, pairs}) {
      const RegionSearch search = FindRegions(DrawScores(mark, pairs, 0, marked, random), mark, -6);
      EXPECT_LE(search.intervals, 110 * pairs);
      EXPECT_GE(search.intervals, 40 * pairs);
      EXPECT_EQ(search.regions.empty(), marked == 0);
    }
    // Many passages: every other hundred pairs.
    std::vector<uint64_t> scores(pairs);
    for (uint64_t i = 0; i < pairs; ++i) scores[i] = DrawScore(mark, i / 100 % 2 == 1, random);
    EXPECT_LE(FindRegions(scores, mark, -2).intervals, 110 * pairs);
  }
}

TEST(ScoreEachPair, SumsToTheChannelsCount) {
  std::mt19937 random(17);
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    for (const int window : {1, 2, 4}) {
      EpochRecord record;
      record.mark = Mark(scheme);
      record.mark.window = window;
      const EpochKeys keys{record, Secret32::Random(), {}};
      const Detector detector = *Detector::Create(keys, {});
      std::vector<uint32_t> ids(10000);
      for (uint32_t& id : ids) id = random() % 3000;
      PairSet pairs(window);
      pairs.Add(ids);
      const PairScores scores = detector.ScoreEachPair(pairs);
      const ChannelCount count = detector.Score(pairs).channels[0].count;
      ASSERT_EQ(scores.which.size(), scores.score.size());
      EXPECT_EQ(scores.which.size(), count.scored);
      EXPECT_TRUE(SumOf(scores.score, 0, scores.score.size()) == count.statistic);
      const std::vector<NaivePair> naive = PairsOf(pairs);
      const Secret32 base = keys.Base();
      for (size_t i = 0; i < scores.which.size(); i += 97) EXPECT_EQ(scores.score[i], NaiveScore(naive[scores.which[i]], base, record.mark));
    }
  }
}

TEST(FirstPositions, AreWhereNaivePairsFirstStand) {
  std::mt19937 random(19);
  for (const int window : {1, 2, 3, 4}) {
    std::vector<uint32_t> ids(600), prompt(30);
    for (uint32_t& id : ids) id = random() % 7;  // many repeats
    for (uint32_t& id : prompt) id = random() % 7;
    ids[50] = ids[300] = kTokenLimit;
    PairSet pairs(window);
    pairs.ExcludeWindowsOf(prompt);
    pairs.Add(ids);
    NaivePairs naive(window);
    naive.Exclude(prompt);
    std::vector<uint32_t> want;
    for (uint32_t i = 0; i < ids.size(); ++i) {
      if (i < static_cast<uint32_t>(window)) continue;
      if (naive.Add(std::span(ids).subspan(i - static_cast<uint32_t>(window), static_cast<size_t>(window) + 1)) == 1) want.push_back(i);
    }
    EXPECT_EQ(FirstPositions(pairs, ids), want);
  }
}

// Tokens of two bytes each; a passage of 100 tokens stands twice.
TEST(PlaceRegions, BytesOfTheFirstOccurrence) {
  std::vector<uint32_t> ids(300);
  for (uint32_t i = 0; i < ids.size(); ++i) ids[i] = i;
  for (uint32_t i = 0; i < 100; ++i) ids[200 + i] = ids[50 + i];
  std::vector<ByteSpan> spans;
  for (uint64_t i = 0; i < ids.size(); ++i) spans.push_back({2 * i, 2 * i + 2});
  PairSet pairs(2);
  pairs.Add(ids);
  const std::vector<uint32_t> positions = FirstPositions(pairs, ids);
  std::vector<uint32_t> which(pairs.size());
  for (uint32_t i = 0; i < which.size(); ++i) which[i] = i;
  ASSERT_EQ(pairs.size(), 298u - 98);  // of the copy, the two pairs that reach back over its start are new
  std::vector<uint64_t> scores(which.size());
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = positions[i] >= 52 && positions[i] < 150;
  const RegionSearch search = FindRegions(scores, Mark(Scheme::kPartition), -6);
  const auto placed = PlaceRegions(search.regions, which, positions, spans, 2);
  ASSERT_EQ(placed.size(), 1u);
  EXPECT_EQ(placed[0].begin, 2 * 50u);
  EXPECT_EQ(placed[0].end, 2 * 150u);
  // Touching regions do not share bytes, though the second's first window lies within the first.
  Region a, b;
  a.first = 10;
  a.count.scored = 20;
  b.first = 30;
  b.count.scored = 5;
  const auto two = PlaceRegions(std::vector<Region>{a, b}, which, positions, spans, 2);
  EXPECT_EQ(two[0].begin, 2 * 10u);
  EXPECT_EQ(two[0].end, 2 * 32u);
  EXPECT_EQ(two[1].begin, 2 * 32u);
  EXPECT_EQ(two[1].end, 2 * 37u);
  EXPECT_TRUE(PlaceRegions({}, {}, {}, {}, 2).empty());
}

}  // namespace
}  // namespace countermark
