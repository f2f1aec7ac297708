// Scheme 3, gumbel (Aaronson 2022; Fernandez et al., 2308.00113): an exponential race. Of all candidates the one with the smallest −ln(u)/p
// is chosen, u being its keyed uniform; over keys the choice follows p exactly.
#ifndef COUNTERMARK_MARK_GUMBEL_H_
#define COUNTERMARK_MARK_GUMBEL_H_

#include <cstdint>

#include "countermark/mark/log.h"
#include "countermark/mark/platform.h"

namespace countermark {

// A candidate's arrival time −ln(u)/w, u = (word + ½)/2³², w > 0 exactly representable. The smallest wins; at a tie the lowest id.
COUNTERMARK_HD inline double GumbelArrival(uint32_t word, double weight) { return NegativeLog(word) / weight; }

// A lower bound of the arrival time without a logarithm: −ln(u) ≥ 1 − u. Tight where winners are, near u = 1. For pruning.
COUNTERMARK_HD inline double GumbelArrivalBound(uint32_t word, double weight) {
  return (static_cast<double>(0xFFFFFFFFu - word) + 0.5) * 0x1p-32 / weight * (1.0 - 0x1p-50);
}

// The score of a served token: ⌊−ln(1 − word/2³²)·2⁴⁰⌋, at most 22.2·2⁴⁰.
COUNTERMARK_HD inline uint64_t GumbelScore(uint32_t word) { return FixedNegativeLog(word); }

}  // namespace countermark

#endif  // COUNTERMARK_MARK_GUMBEL_H_
