// The control: the same statistic on the same pairs under keys that marked nothing.
//
//   const DecoySeed seed = DrawDecoySeed();                                   // after the text was read; printed with the result
//   PairScores base = detector.ScoreEachPair(pairs);
//   DecoyControl control = RunDecoys(pairs, base.which, base.score, seed, 1000, parameters, threads);
//   control.rank();                                                           // 1: the real key is more extreme than every decoy
//
// What it shows, beyond the exact test: that nothing in this very text (its repetitions, its length, its language) makes any key look guilty.
// Under H0 the real key and the n decoys are n + 1 independent uniform keys, of which the text knows none; so, given the text and the route key, they are
// exchangeable, and P(rank ≤ r) ≤ r/(n + 1), with ties counted against the real key's rank being small. That needs no theory of tails at all. It goes no further
// than 1/(n + 1), which is why it is a control and the exact tail is the test. Where the text was chosen with knowledge of the real key (served
// probes), the decoys' values stand as they are and the real key's is what is in question.
//
// Where the keys come from. Decoy i = HKDF(seed; "decoy", i) (keys/derive.h), the seed 32 fresh bytes of the system's generator. Not derived from the real key:
// then the control would be of the real key's making, and could not be published. Not from the text or a fixed label: whoever writes a text could then compute the
// decoys beforehand and write so that they, too, look guilty. Drawn after the text was read, and printed: anyone with the pairs can
// run the same control again, and only the operator could have tried several seeds, to no avail for the verdict, which does not hang on them.
#ifndef COUNTERMARK_DETECT_DECOYS_H_
#define COUNTERMARK_DETECT_DECOYS_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "countermark/detect/pairs.h"
#include "countermark/keys/secret.h"
#include "countermark/mark/scheme.h"

namespace countermark {

using DecoySeed = std::array<uint8_t, 32>;  // public

DecoySeed DrawDecoySeed();
// Keys first … first + count − 1 of the seed.
std::vector<Secret32> DecoyKeys(const DecoySeed& seed, uint64_t first, size_t count);

struct DecoyControl {
  DecoySeed seed{};
  uint64_t pairs = 0;            // that were asked: all of the channel, or the first ones of very many
  bool all_pairs = true;
  ChannelCount real;             // of these pairs under the real key
  double real_log10_p = 0;
  std::vector<double> log10_p;   // of decoy 0, 1, …, each as Log10P has it
  // 1 + the decoys at least as extreme as the real key.
  uint64_t rank() const;
};

// `which`, `scores`: the channel's pairs, ascending, and the real key's score of each (PairScores). Cost: `decoys` times the pairs, shared windows once. More than
// most_scores of them in all: the first most_scores/decoys pairs alone are asked, of the real key too. Threads: 0 is one a core.
DecoyControl RunDecoys(const PairSet& pairs, std::span<const uint32_t> which, std::span<const uint64_t> scores, const DecoySeed& seed, size_t decoys,
                       const MarkParameters& parameters, int threads = 0, uint64_t most_scores = 2'000'000'000);

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_DECOYS_H_
