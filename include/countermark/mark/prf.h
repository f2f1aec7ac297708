// The two levels of the pseudorandom function: key and window → seed; seed and token → word or byte.
//
//   uint32_t seed[8];
//   MarkSeed(key, Scheme::kGumbel, window, h, seed);
//   uint32_t r = WordOf(seed, token);
#ifndef COUNTERMARK_MARK_PRF_H_
#define COUNTERMARK_MARK_PRF_H_

#include <cstdint>

#include "countermark/mark/chacha.h"
#include "countermark/mark/platform.h"
#include "countermark/mark/window.h"

namespace countermark {

// seed = HChaCha20(key, the window's encoding with purpose "mark"). `key`: 8 words of the channel's mark key.
COUNTERMARK_HD inline void MarkSeed(const uint32_t key[8], Scheme scheme, const uint32_t* window, int h, uint32_t seed[8]) {
  uint32_t input[4];
  EncodeWindow(scheme, window, h, Purpose::kMark, input);
  HChaCha20(key, input, seed);
}

// The 32 pseudorandom bits of a token under a seed: word (token mod 16) of block (token div 16).
COUNTERMARK_HD inline uint32_t WordOf(const uint32_t seed[8], uint32_t token) {
  uint32_t block[16];
  ChaCha8Block(seed, token / 16, block);
  return block[token % 16];
}

// The 8 pseudorandom bits of a token under a seed: byte (token mod 64) of block (token div 64).
COUNTERMARK_HD inline uint8_t ByteOf(const uint32_t seed[8], uint32_t token) {
  uint32_t block[16];
  ChaCha8Block(seed, token / 64, block);
  return static_cast<uint8_t>(block[token % 64 / 4] >> (8 * (token % 4)));
}

}  // namespace countermark

#endif  // COUNTERMARK_MARK_PRF_H_
