// 64 × 64 → 128-bit products, for hosts and devices.
#ifndef COUNTERMARK_MARK_WIDE_INTEGER_H_
#define COUNTERMARK_MARK_WIDE_INTEGER_H_

#include <cstdint>

#include "countermark/mark/platform.h"

namespace countermark {

__extension__ typedef unsigned __int128 Uint128;
__extension__ typedef __int128 SignedInt128;

// ⌊a·b / 2⁶⁴⌋
COUNTERMARK_HD inline uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(a, b);
#else
  return static_cast<uint64_t>(static_cast<Uint128>(a) * b >> 64);
#endif
}

}  // namespace countermark

#endif  // COUNTERMARK_MARK_WIDE_INTEGER_H_
