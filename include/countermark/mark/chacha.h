// The ChaCha family: HChaCha20 (20 rounds, no feed-forward) and the ChaCha block function with 8 or 20 rounds.
//
// Takes and gives little-endian 32-bit words. Additions, rotations and exclusive-ors only, so the time does not depend on the
// values. Sources: RFC 8439; draft-irtf-cfrg-xchacha-03, section 2.2.
#ifndef COUNTERMARK_MARK_CHACHA_H_
#define COUNTERMARK_MARK_CHACHA_H_

#include <cstdint>

#include "countermark/mark/platform.h"

namespace countermark {

inline constexpr uint32_t kChaChaConstant0 = 0x61707865, kChaChaConstant1 = 0x3320646E;
inline constexpr uint32_t kChaChaConstant2 = 0x79622D32, kChaChaConstant3 = 0x6B206574;

COUNTERMARK_HD inline constexpr uint32_t RotateLeft(uint32_t x, int n) { return (x << n) | (x >> (32 - n)); }

COUNTERMARK_HD inline void ChaChaQuarterRound(uint32_t& a, uint32_t& b, uint32_t& c, uint32_t& d) {
  a += b; d = RotateLeft(d ^ a, 16);
  c += d; b = RotateLeft(b ^ c, 12);
  a += b; d = RotateLeft(d ^ a, 8);
  c += d; b = RotateLeft(b ^ c, 7);
}

template <int kRounds>
COUNTERMARK_HD inline void ChaChaRounds(uint32_t s[16]) {
  static_assert(kRounds % 2 == 0);
  for (int i = 0; i < kRounds / 2; ++i) {
    ChaChaQuarterRound(s[0], s[4], s[8], s[12]);
    ChaChaQuarterRound(s[1], s[5], s[9], s[13]);
    ChaChaQuarterRound(s[2], s[6], s[10], s[14]);
    ChaChaQuarterRound(s[3], s[7], s[11], s[15]);
    ChaChaQuarterRound(s[0], s[5], s[10], s[15]);
    ChaChaQuarterRound(s[1], s[6], s[11], s[12]);
    ChaChaQuarterRound(s[2], s[7], s[8], s[13]);
    ChaChaQuarterRound(s[3], s[4], s[9], s[14]);
  }
}

// out = HChaCha20(key, input): 8 words from 8 key words and 4 input words. `out` may alias `key`.
COUNTERMARK_HD inline void HChaCha20(const uint32_t key[8], const uint32_t input[4], uint32_t out[8]) {
  uint32_t s[16] = {kChaChaConstant0, kChaChaConstant1, kChaChaConstant2, kChaChaConstant3,
                    key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7],
                    input[0], input[1], input[2], input[3]};
  ChaChaRounds<20>(s);
  for (int i = 0; i < 4; ++i) {
    out[i] = s[i];
    out[4 + i] = s[12 + i];
  }
}

// out = the ChaCha block of `key` at 32-bit `counter` under a 96-bit `nonce`.
template <int kRounds>
COUNTERMARK_HD inline void ChaChaBlock(const uint32_t key[8], uint32_t counter, const uint32_t nonce[3], uint32_t out[16]) {
  const uint32_t start[16] = {kChaChaConstant0, kChaChaConstant1, kChaChaConstant2, kChaChaConstant3,
                              key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7],
                              counter, nonce[0], nonce[1], nonce[2]};
  for (int i = 0; i < 16; ++i) out[i] = start[i];
  ChaChaRounds<kRounds>(out);
  for (int i = 0; i < 16; ++i) out[i] += start[i];
}

// The block a mark's words come from: 8 rounds, nonce 0.
COUNTERMARK_HD inline void ChaCha8Block(const uint32_t key[8], uint32_t counter, uint32_t out[16]) {
  const uint32_t nonce[3] = {0, 0, 0};
  ChaChaBlock<8>(key, counter, nonce, out);
}

// Reads 32 bytes as 8 little-endian words, on a machine of either byte order.
COUNTERMARK_HD inline void LoadKeyWords(const uint8_t bytes[32], uint32_t words[8]) {
  for (int i = 0; i < 8; ++i) {
    words[i] = static_cast<uint32_t>(bytes[4 * i]) | static_cast<uint32_t>(bytes[4 * i + 1]) << 8 |
               static_cast<uint32_t>(bytes[4 * i + 2]) << 16 | static_cast<uint32_t>(bytes[4 * i + 3]) << 24;
  }
}

}  // namespace countermark

#endif  // COUNTERMARK_MARK_CHACHA_H_
