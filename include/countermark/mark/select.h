// The decisions of truncation and plain drawing on integer weights.
#ifndef COUNTERMARK_MARK_SELECT_H_
#define COUNTERMARK_MARK_SELECT_H_

#include <cmath>
#include <cstdint>

#include "countermark/mark/chacha.h"
#include "countermark/mark/platform.h"
#include "countermark/mark/wide_integer.h"

namespace countermark {

// round(2³²·p), the form in which top-p and min-p enter the arithmetic; p outside [0, 1] is clamped. Host.
inline uint64_t Threshold(double p) {
  if (!(p > 0)) return 0;
  if (p >= 1) return uint64_t{1} << 32;
  return static_cast<uint64_t>(std::llround(std::ldexp(p, 32)));
}

// Truncation looks at tokens in the order of w descending, then id ascending.
COUNTERMARK_HD inline bool ComesBefore(uint64_t weight_a, uint32_t id_a, uint64_t weight_b, uint32_t id_b) {
  return weight_a != weight_b ? weight_a > weight_b : id_a < id_b;
}

// Top-p keeps the shortest prefix for which this holds: cumulative·2³² ≥ threshold·total.
COUNTERMARK_HD inline bool TopPReached(uint64_t cumulative, uint64_t total, uint64_t threshold) {
  return static_cast<Uint128>(cumulative) << 32 >= static_cast<Uint128>(total) * threshold;
}

// ⌈threshold·total/2³²⌉, at least 1: a cumulative weight has reached top-p just when it is not less than this.
COUNTERMARK_HD inline uint64_t TopPTarget(uint64_t threshold, uint64_t total) {
  const uint64_t target = static_cast<uint64_t>((static_cast<Uint128>(total) * threshold + 0xFFFFFFFFu) >> 32);
  return target > 0 ? target : 1;
}

// Min-p keeps a token when w·2³² ≥ threshold·w_max.
COUNTERMARK_HD inline bool MinPKeeps(uint64_t weight, uint64_t max_weight, uint64_t threshold) {
  return static_cast<Uint128>(weight) << 32 >= static_cast<Uint128>(max_weight) * threshold;
}

// 64 bits for a plain draw: the first eight bytes, little-endian, of the ChaCha20 block with the request's sampling key, counter =
// draw number, nonce = position (8 bytes) then zero.
COUNTERMARK_HD inline uint64_t DrawBits(const uint32_t sampling_key[8], uint64_t position, uint32_t draw) {
  const uint32_t nonce[3] = {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0};
  uint32_t block[16];
  ChaChaBlock<20>(sampling_key, draw, nonce, block);
  return block[0] | static_cast<uint64_t>(block[1]) << 32;
}

// x = ⌊R·W/2⁶⁴⌋ < W: the draw is the first id, ascending, whose cumulative weight exceeds x.
COUNTERMARK_HD inline uint64_t DrawTarget(uint64_t random, uint64_t total) { return MultiplyHigh(random, total); }

}  // namespace countermark

#endif  // COUNTERMARK_MARK_SELECT_H_
