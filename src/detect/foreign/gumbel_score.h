// What the gumbel formats share: scores of their uniforms, rounded towards the larger p.
//
// A project's uniform u is one of m equally likely values; its score is −ln(1 − u). The test takes ⌊−ln(1 − j/m)·2⁴⁰⌋ for the j-th smallest, j from 0. A uniform on [0, 1)
// that falls into the j-th of m equal pieces is at least j/m, so the score is at most an Exp(1) value's and Gamma(N, 1) an upper bound.
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_GUMBEL_SCORE_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_GUMBEL_SCORE_H_

#include <cmath>
#include <cstdint>

#include "countermark/detect/pairs.h"
#include "countermark/mark/gumbel.h"

namespace countermark {

// The j-th of 2³²: mark-format.md's own score.
inline uint64_t ForeignGumbelScore(uint32_t word) { return GumbelScore(word); }

inline double FromFixed(Statistic statistic) { return static_cast<double>(std::ldexp(static_cast<long double>(statistic), -40)); }

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_GUMBEL_SCORE_H_
