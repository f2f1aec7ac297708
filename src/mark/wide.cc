#include "countermark/mark/wide.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "src/mark/wide_kernels.h"

namespace countermark {
namespace wide {
namespace {

// Narrowest first.
const Kernels* const* AllKernels(int* count) {
  static const Kernels* all[3];
  static const int n = [] {
    int k = 0;
    all[k++] = &kScalarKernels;
#if defined(COUNTERMARK_WIDE_X86)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2) all[k++] = &kAvx2Kernels;
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      all[k++] = &kAvx512Kernels;
    }
#endif
    return k;
  }();
  *count = n;
  return all;
}

const Kernels* Choose() {
  static constexpr const char* kNames[] = {"scalar", "avx2", "avx512"};
  int count = 0;
  const Kernels* const* all = AllKernels(&count);
  const char* cap = std::getenv("COUNTERMARK_ISA");
  if (cap == nullptr || *cap == '\0') return all[count - 1];
  for (int i = 0; i < 3; ++i) {
    if (std::strcmp(cap, kNames[i]) == 0) return all[i < count ? i : count - 1];
  }
  std::fprintf(stderr, "countermark: warning: COUNTERMARK_ISA is none of scalar, avx2, avx512; it is ignored\n");
  return all[count - 1];
}

}  // namespace

const Kernels* KernelsNamed(const char* name) {
  int count = 0;
  const Kernels* const* all = AllKernels(&count);
  for (int i = 0; i < count; ++i) {
    if (std::strcmp(name, all[i]->name) == 0) return all[i];
  }
  return nullptr;
}

const Kernels& BestKernels() {
  static const Kernels* const best = Choose();
  return *best;
}

}  // namespace wide

void WordRow(const uint32_t seed[8], uint32_t first, uint32_t n, uint32_t* words) {
  const wide::Kernels& kernels = wide::BestKernels();
  kernels.stream(seed, uint64_t{4} * first, uint64_t{4} * n, reinterpret_cast<uint8_t*>(words));
}

void ByteRow(const uint32_t seed[8], uint32_t first, uint32_t n, uint8_t* bytes) {
  wide::BestKernels().stream(seed, first, n, bytes);
}

void WordsAt(const uint32_t seed[8], const uint32_t* tokens, uint32_t n, uint32_t* words) {
  wide::BestKernels().words_at(seed, tokens, n, words);
}

void BytesAt(const uint32_t seed[8], const uint32_t* tokens, uint32_t n, uint8_t* bytes) {
  wide::BestKernels().bytes_at(seed, tokens, n, bytes);
}

const char* WideIsa() { return wide::BestKernels().name; }

}  // namespace countermark
