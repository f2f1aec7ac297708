// Scheme 2, tournament (SynthID-Text, Dathathri et al., Nature 2024): layers of two-candidate duels decided by one bit a token, in
// their closed form on the distribution: p(t) ← p(t)·(1 + g(t) − Σ p·g).
#ifndef COUNTERMARK_MARK_TOURNAMENT_H_
#define COUNTERMARK_MARK_TOURNAMENT_H_

#include <cstdint>

#include "countermark/mark/platform.h"
#include "countermark/mark/wide_integer.h"

namespace countermark {

// Candidates a tournament takes unless the deployment says otherwise; beyond them a token is drawn plainly.
inline constexpr int kDefaultTournamentCandidates = 1024;

// How far to shift all weights left so that their sum W is in [2⁵⁹, 2⁶⁰). 0 < W < 2⁶⁰.
COUNTERMARK_HD inline int TournamentShift(uint64_t total) {
  int shift = 0;
  while (shift < 59 && total < uint64_t{1} << 59) {  // 59: a sum of nothing, which is none, ends all the same
    total <<= 1;
    ++shift;
  }
  return shift;
}

// r = ⌊(W − A)·2⁶³/W⌋ for a layer whose tokens with bit 1 weigh A ≤ W together.
COUNTERMARK_HD inline uint64_t TournamentRatio(uint64_t total, uint64_t ones) {
  return static_cast<uint64_t>((static_cast<Uint128>(total - ones) << 63) / total);
}

// The same without 128-bit division, which devices lack: a quotient in double precision, off by some 2¹¹ at most; from its exact remainder what is
// missing, off by one at most; then the last step in integers. 2⁵⁹ ≤ W < 2⁶⁰.
COUNTERMARK_HD inline uint64_t TournamentRatioByDoubles(uint64_t total, uint64_t ones) {
  const uint64_t n = total - ones;
  const double inverse = 1.0 / static_cast<double>(total);
  uint64_t q = static_cast<uint64_t>(static_cast<double>(n) * inverse * 0x1p63);
  // n·2⁶³ − q·W, of which the upper half says little more than the sign: below 2⁷³ in size.
  const uint64_t low = n << 63, product = q * total;
  const int64_t high = static_cast<int64_t>((n >> 1) - MultiplyHigh(q, total) - (low < product));
  const double rest = static_cast<double>(high) * 0x1p64 + static_cast<double>(low - product);
  const int64_t more = static_cast<int64_t>(rest * inverse);
  q += static_cast<uint64_t>(more);
  int64_t left = static_cast<int64_t>(low - product - static_cast<uint64_t>(more) * total);  // within 2·W of 0, modulo 2⁶⁴ exactly
  // Two steps at most; bounded, so that sums that are none (A > W) give a wrong ratio and no endless loop.
  for (int step = 0; step < 4 && left < 0; ++step, left += static_cast<int64_t>(total)) --q;
  for (int step = 0; step < 4 && left >= static_cast<int64_t>(total); ++step, left -= static_cast<int64_t>(total)) ++q;
  return q;
}

// A layer's new weight of a token with bit g: g·w + ⌊w·r/2⁶³⌋.
COUNTERMARK_HD inline uint64_t TournamentWeight(uint64_t w, uint32_t g, uint64_t ratio) {
  return (g ? w : 0) + MultiplyHigh(2 * w, ratio);  // w < 2⁶³
}

// How many of the first m bits of a token's word are set: its score.
COUNTERMARK_HD inline uint32_t TournamentScore(uint32_t word, int layers) {
  uint32_t x = layers >= 32 ? word : word & ((1u << layers) - 1);
  x -= x >> 1 & 0x55555555u;
  x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
  return ((x + (x >> 4)) & 0x0F0F0F0Fu) * 0x01010101u >> 24;
}

}  // namespace countermark

#endif  // COUNTERMARK_MARK_TOURNAMENT_H_
