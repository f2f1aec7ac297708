// How much of the text, at least: a lower confidence bound of the share of pairs that stand in marked documents alone.
//
//   const TopHits hits = TopHits::Of(parameters);
//   MarkedPairs bound = MarkedPairsAtLeast(pairs, counts, hits, 0.01);    // bound.pairs of them, bound.share
//
// Terms: the distinct pairs of the data set on the base channel, N of them. U: the documents whose texts, taken together, are independent of the key.
// n_U: how many of the N stand in some document of U. The share that is bounded is 1 − n_U/N: of pairs that stand only in documents
// that depend on the key. It counts such documents' unmarked passages too, and none of what they share with others.
//
// Claim: P(1 − n_U/N < share) ≤ risk, over the draw of the key, whatever the other documents are, even written by someone who holds the key.
// Proof, one level with hit chance γ under the null: given U and the route key, the pairs of U miss independently, each with chance 1 − γ, so their misses
// M_U ~ Binomial(n_U, 1 − γ). They are among the N − K misses seen. Let n* be the largest n with P(Binomial(n, 1 − γ) ≤ N − K) > risk. If n_U > n*, then P(Binomial(n_U, 1 − γ)
// ≤ N − K) ≤ risk, and with M_U ≤ N − K the value of M_U lies in a lower tail of chance at most risk. So n_U ≤ n* but for a chance of risk. (The
// distribution function, falling in n, is taken at a γ rounded up, which makes n* larger.) Several levels share the risk equally, and the best counts.
#ifndef COUNTERMARK_AUDIT_SHARE_H_
#define COUNTERMARK_AUDIT_SHARE_H_

#include <cstdint>
#include <span>

#include "countermark/detect/pair_words.h"

namespace countermark {

struct MarkedPairs {
  uint64_t pairs = 0;   // at least so many of N
  double share = 0;     // the same over N, rounded down; 0 where N is
};

// counts[j]: pairs that hit level j, each at most `pairs`.
MarkedPairs MarkedPairsAtLeast(uint64_t pairs, std::span<const uint64_t> counts, const TopHits& hits, double risk);

}  // namespace countermark

#endif  // COUNTERMARK_AUDIT_SHARE_H_
