// The window of a position, and its injective 16-byte encoding as the pseudorandom function's input.
#ifndef COUNTERMARK_MARK_WINDOW_H_
#define COUNTERMARK_MARK_WINDOW_H_

#include <cstdint>

#include "countermark/mark/platform.h"
#include "countermark/mark/scheme.h"

namespace countermark {

// What an input is for: the words of a mark, or the choice of the channel (under the route key alone).
enum class Purpose : uint8_t { kMark = 0, kRoute = 1 };

// Mark format 1: byte 0 the version 1, byte 1 the scheme, byte 2 the window's length h, byte 3 the purpose, then three bytes a token, the
// oldest first; the rest zero. `window` points at h tokens, the oldest first, each below kTokenLimit; 1 ≤ h ≤ 4.
COUNTERMARK_HD inline void EncodeWindow(Scheme scheme, const uint32_t* window, int h, Purpose purpose, uint32_t input[4]) {
  uint32_t t[kMaxWindow] = {0, 0, 0, 0};
  for (int j = 0; j < h; ++j) t[j] = window[j];
  input[0] = 1u | static_cast<uint32_t>(scheme) << 8 | static_cast<uint32_t>(h) << 16 | static_cast<uint32_t>(purpose) << 24;
  input[1] = t[0] | t[1] << 24;
  input[2] = t[1] >> 8 | t[2] << 16;
  input[3] = t[2] >> 16 | t[3] << 8;
}

// A hash of a window's tokens under a secret salt, for tables of windows that have stood: nobody can make windows that collide. No part of the format
// (MurmurHash3's finaliser after each token).
COUNTERMARK_HD inline uint64_t HashWindow(const uint32_t* window, int h, uint64_t salt) {
  uint64_t x = salt;
  for (int i = 0; i < h; ++i) {
    x ^= window[i];
    x ^= x >> 33;
    x *= 0xFF51AFD7ED558CCDull;
    x ^= x >> 33;
    x *= 0xC4CEB9FE1A85EC53ull;
    x ^= x >> 33;
  }
  return x;
}

}  // namespace countermark

#endif  // COUNTERMARK_MARK_WINDOW_H_
