// The same loop compiled for several instruction sets by the compiler's own vectoriser, the machine's best chosen when the program runs (DetectIsa).
//
//   FOREIGN_INLINE void LoopBody(…) { for (…) … }
//   FOREIGN_WIDE(void, Loop, (uint32_t* out, const uint32_t* in), LoopBody(out, in))     // defines Loop(out, in)
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_ISA_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_ISA_H_

#include <string_view>

#include "countermark/detect/pairs.h"

#define FOREIGN_INLINE static inline __attribute__((always_inline))

namespace countermark {

// 0 scalar, 1 AVX2, 2 AVX-512.
inline int ForeignIsa() {
  static const int isa = [] {
    const std::string_view name = DetectIsa();
    return name == "avx512" ? 2 : name == "avx2" ? 1 : 0;
  }();
  return isa;
}

}  // namespace countermark

#if defined(__x86_64__)
#if defined(__clang__)
#define FOREIGN_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2"
#else
#define FOREIGN_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,prefer-vector-width=512"
#endif
#define FOREIGN_WIDE(result, name, parameters, body)                                             \
  __attribute__((target(FOREIGN_AVX512))) static result name##Avx512 parameters { return body; } \
  __attribute__((target("avx2"))) static result name##Avx2 parameters { return body; }           \
  static result name##Scalar parameters { return body; }                                         \
  static inline auto* const name##Choice = +[] { return ForeignIsa() == 2 ? name##Avx512 : ForeignIsa() == 1 ? name##Avx2 : name##Scalar; }
#else
#define FOREIGN_WIDE(result, name, parameters, body)      \
  static result name##Scalar parameters { return body; }  \
  static inline auto* const name##Choice = +[] { return name##Scalar; }
#endif

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_ISA_H_
