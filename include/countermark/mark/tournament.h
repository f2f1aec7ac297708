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
  while (total < uint64_t{1} << 59) {
    total <<= 1;
    ++shift;
  }
  return shift;
}

// r = ⌊(W − A)·2⁶³/W⌋ for a layer whose tokens with bit 1 weigh A ≤ W together.
COUNTERMARK_HD inline uint64_t TournamentRatio(uint64_t total, uint64_t ones) {
  return static_cast<uint64_t>((static_cast<Uint128>(total - ones) << 63) / total);
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
