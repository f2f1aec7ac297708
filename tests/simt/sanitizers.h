// What the sanitizers must be told of fibers, shared memory and barriers; nothing in the plain variant. COUNTERMARK_SIMT_ASAN and _TSAN say which
// variant is built: under TSan only the kernels are instrumented, the emulator is not, so the compiler's own macros would not tell.
//
// Code that runs on a fiber must neither allocate nor copy blocks of memory: TSan would see malloc and memcpy from threads that nothing orders.
#ifndef COUNTERMARK_TESTS_SIMT_SANITIZERS_H_
#define COUNTERMARK_TESTS_SIMT_SANITIZERS_H_

#include <cstddef>

#if defined(COUNTERMARK_SIMT_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(COUNTERMARK_SIMT_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace countermark::simt {

// The caller publishes, the caller takes: an edge for the race check.
inline void Release([[maybe_unused]] void* at) {
#if defined(COUNTERMARK_SIMT_TSAN)
  __tsan_release(at);
#endif
}
inline void Acquire([[maybe_unused]] void* at) {
#if defined(COUNTERMARK_SIMT_TSAN)
  __tsan_acquire(at);
#endif
}

inline void Poison([[maybe_unused]] const void* at, [[maybe_unused]] size_t bytes) {
#if defined(COUNTERMARK_SIMT_ASAN)
  __asan_poison_memory_region(at, bytes);
#endif
}
inline void Unpoison([[maybe_unused]] const void* at, [[maybe_unused]] size_t bytes) {
#if defined(COUNTERMARK_SIMT_ASAN)
  __asan_unpoison_memory_region(at, bytes);
#endif
}

}  // namespace countermark::simt

#endif  // COUNTERMARK_TESTS_SIMT_SANITIZERS_H_
