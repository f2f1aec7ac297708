// Marked passages inside a long text. Takes the scores of one text's distinct pairs, in order of first occurrence; gives disjoint intervals of
// them, each with a p that is corrected for every interval that could have been reported.
//
//   PairScores base = detector.ScoreEachPair(pairs);                      // the pairs on the base channel, and each one's score
//   RegionSearch search = FindRegions(base.score, parameters, log10_level);   // log10_level: log10(alpha/m), m the run's other tests
//   std::vector<uint32_t> positions = FirstPositions(pairs, ids);
//   std::vector<PlacedRegion> passages = PlaceRegions(search.regions, base.which, positions, spans, pairs.window());
//   // text.substr(passages[0].begin, …end − begin): log10 p −41.2, of 6,787,760 tries, adjusted −34.4
//
// H0 as in every test: the text is independent of the key. The N scores are then independent draws of a known law, whatever the text.
//
// The family. Which intervals may be reported hangs on N alone, never on the scores. A length L belongs to scale k = ⌊log2 L⌋, of
// S = ⌊log2 N⌋ + 1 scales, and a scale has the step d = 2^max(0, k−4):
//   coarse  L a multiple of d that begins at a multiple of d: 16 to 31 steps long (every interval where d = 1)
//   fine    L no multiple of d, beginning anywhere
// Each scale has an equal part of the level, each of its one or two kinds an equal part of that, and within a kind Bonferroni counts every
// interval (Walther & Perry 2022, "Calibrating the scan statistic": blocks by length, so that long passages pay little). So
//   adjusted p = p · RegionTries(N, L),   RegionTries = S · (1 or 2 kinds) · intervals of that kind at that scale,
// and the chance that any interval of the family has adjusted p ≤ level is at most Σ over scales and kinds of their parts: at most the level. That
// holds however intervals are picked, so that several may be reported at once, each at its ends of choice. If parts of a text are marked, the same sum
// over the intervals that hold no marked pair bounds the chance that one of those is reported. Counting less than all that could have been
// picked breaks the bound (tests/detect/regions_stat_test.cc).
//
// What is not claimed: that every pair inside is marked, or that the ends are exact.
#ifndef COUNTERMARK_DETECT_REGIONS_H_
#define COUNTERMARK_DETECT_REGIONS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "countermark/detect/pairs.h"
#include "countermark/mark/scheme.h"
#include "countermark/tokenize/tokenizer.h"

namespace countermark {

// Pairs [first, first + count.scored) of the N that were scored.
struct Region {
  uint64_t first = 0;
  ChannelCount count;
  Statistic tries = 0;           // RegionTries(N, count.scored)
  double log10_p = 0;            // of these pairs alone, Log10P(count, parameters)
  double log10_p_adjusted = 0;   // min(0, log10_p + log10(tries))
};

struct RegionSearch {
  uint64_t scored = 0;           // N
  std::vector<Region> regions;   // disjoint, ascending; each has log10_p_adjusted ≤ the level
  Region nearest;                // of the coarse intervals the one of least log10_p + log10(tries), significant or not; count.scored 0 for N = 0
  uint64_t intervals = 0;        // sums that were looked at: the cost, at most 110 a pair
};

// The number of intervals that one of `scored` pairs out of `pairs` answers for, as above. 0 unless 1 ≤ scored ≤ pairs < 2^32. A verifier needs
// nothing else: p and tries both follow from the two counts.
Statistic RegionTries(uint64_t pairs, uint64_t scored);

// min(0, log10_p + log10(tries)); tries 0 counts as p = 1.
double RegionAdjust(double log10_p, Statistic tries);

// scores: the exact integers of mark-format.md, one a pair, at most the scheme's highest. Fewer than 2^32; 28 bytes of memory a pair beside them.
// log10_level ≤ 0.
//   1. Every coarse interval's sum is compared with the least sum that is significant at its length, found from the exact tail to one part in 2²⁰.
//   2. Of the significant ones, the disjoint set whose adjusted values, each taken from the Chernoff bound, multiply to the least.
//   3. Two of them become one where what lies between does not speak against the weaker's strength by more than a passage costs.
//   4. Both ends move, by a step at most, to where the passage's own strength places them, if the adjusted value falls by it.
// 2 to 4 choose; what is reported has passed the exact tail and stands in the family.
RegionSearch FindRegions(std::span<const uint64_t> scores, const MarkParameters& parameters, double log10_level);

// A region as bytes of the text.
struct PlacedRegion {
  Region region;
  uint64_t begin = 0;  // of the first token in the first pair's window: a marked passage's first h tokens choose the next ones' marks; never before the last passage's end
  uint64_t end = 0;    // one past the last pair's token
};

// The position in `ids` at which each pair first stands: of a set that was made by one Add of these ids (prompts excluded before it or not).
std::vector<uint32_t> FirstPositions(const PairSet& pairs, std::span<const uint32_t> ids);

// which[i]: the index in the set of the i-th scored pair (PairScores); positions: FirstPositions; spans: of each id, in whatever text the bytes shall
// count. A pair belongs to its first occurrence: a passage copied to a second place is shown at the first alone, and repeats within a
// passage lie inside its bytes without being counted.
std::vector<PlacedRegion> PlaceRegions(std::span<const Region> regions, std::span<const uint32_t> which, std::span<const uint32_t> positions,
                                       std::span<const ByteSpan> spans, int window);

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_REGIONS_H_
