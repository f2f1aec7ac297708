// Exact upper tails in the log domain, finite far below what a double can hold.
//
// Every function gives log10 of a probability: ≤ 0, never NaN, never −inf for a possible outcome, monotone in the statistic.
#ifndef COUNTERMARK_DETECT_TAILS_H_
#define COUNTERMARK_DETECT_TAILS_H_

#include <cstdint>

#include "countermark/detect/pairs.h"
#include "countermark/mark/scheme.h"

namespace countermark {

// log10 P(Binomial(n, p) ≥ k). p = numerator/denominator, strictly between 0 and 1; k ≤ n. 0 for k = 0.
double Log10BinomialTail(uint64_t n, uint64_t k, uint32_t numerator, uint32_t denominator);

// log10 Q(n, s), Q the regularised upper incomplete gamma function: P(sum of n Exp(1) ≥ s). n ≥ 0, s ≥ 0; n = 0 gives 0.
double Log10GammaTail(uint64_t n, double s);

// log10 p of one channel's count under the null of its scheme (statistics.md, Text):
//   partition   P(Binomial(N, G/256) ≥ K);  tournament  P(Binomial(m·N, 1/2) ≥ K);  gumbel  Q(N, K/2⁴⁰), an upper bound.
double Log10P(const ChannelCount& count, const MarkParameters& parameters);

// log10 of the e-value of one channel's count: the mean over a published grid of alternatives of the whole likelihood ratio
// (statistics.md, e-values): expectation ≤ 1 under the null, so p ≤ 1/E.
double Log10E(const ChannelCount& count, const MarkParameters& parameters);

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_TAILS_H_
