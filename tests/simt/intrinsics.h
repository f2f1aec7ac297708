// What CUDA's compiler declares by itself, for kernels that g++ compiles: threadIdx, barriers, warp operations, bit functions, cached loads.
// Each synchronising function notes the line that calls it, for the reports.
#ifndef COUNTERMARK_TESTS_SIMT_INTRINSICS_H_
#define COUNTERMARK_TESTS_SIMT_INTRINSICS_H_

#include <cuda_runtime.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>

// Host mode turns these into attributes that g++ does not know.
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__
#define COUNTERMARK_NOINLINE __attribute__((noinline))

// The thread that runs now; set at every change of threads.
extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
inline constexpr int warpSize = 32;

namespace countermark::simt {

enum class BarrierKind : uint8_t { kPlain, kOr, kAnd, kCount };
enum class WarpKind : uint8_t {
  kSync, kShuffle, kShuffleUp, kShuffleDown, kShuffleXor, kBallot, kAny, kAll, kMatchAny,
  kAdd, kMin, kMax, kMinSigned, kMaxSigned, kAnd, kOr, kXor,
};

int Barrier(BarrierKind kind, int predicate, const char* file, int line);
uint64_t WarpOperation(WarpKind kind, uint32_t mask, uint64_t value, int source, int width, const char* file, int line);
void Sleep(const char* file, int line);  // the thread waits for others: they go first
void Fence();
uint32_t OwnLane();  // the bit of the calling lane
[[noreturn]] void Trap(const char* file, int line);

template <typename T>
T Shuffle(WarpKind kind, uint32_t mask, T value, int source, int width, const char* file, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles take 32 or 64 bits");
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  bits = WarpOperation(kind, mask, bits, source, width, file, line);
  __builtin_memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace countermark::simt

#define COUNTERMARK_SIMT_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

// ---- Barriers ----------------------------------------------------------------------------------------------------------------
inline void __syncthreads(COUNTERMARK_SIMT_HERE) {
  countermark::simt::Barrier(countermark::simt::BarrierKind::kPlain, 0, file, line);
}
inline int __syncthreads_or(int predicate, COUNTERMARK_SIMT_HERE) {
  return countermark::simt::Barrier(countermark::simt::BarrierKind::kOr, predicate, file, line);
}
inline int __syncthreads_and(int predicate, COUNTERMARK_SIMT_HERE) {
  return countermark::simt::Barrier(countermark::simt::BarrierKind::kAnd, predicate, file, line);
}
inline int __syncthreads_count(int predicate, COUNTERMARK_SIMT_HERE) {
  return countermark::simt::Barrier(countermark::simt::BarrierKind::kCount, predicate, file, line);
}
inline void __threadfence() { countermark::simt::Fence(); }
inline void __threadfence_block() {}
inline void __threadfence_system() { countermark::simt::Fence(); }
inline void __nanosleep(unsigned, COUNTERMARK_SIMT_HERE) { countermark::simt::Sleep(file, line); }

// ---- Warp operations -----------------------------------------------------------------------------------------------------------
inline void __syncwarp(unsigned mask = 0xffffffffu, COUNTERMARK_SIMT_HERE) {
  countermark::simt::WarpOperation(countermark::simt::WarpKind::kSync, mask, 0, 0, 32, file, line);
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, COUNTERMARK_SIMT_HERE) {
  return countermark::simt::Shuffle(countermark::simt::WarpKind::kShuffle, mask, value, source, width, file, line);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, COUNTERMARK_SIMT_HERE) {
  return countermark::simt::Shuffle(countermark::simt::WarpKind::kShuffleUp, mask, value, static_cast<int>(delta), width, file, line);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, COUNTERMARK_SIMT_HERE) {
  return countermark::simt::Shuffle(countermark::simt::WarpKind::kShuffleDown, mask, value, static_cast<int>(delta), width, file, line);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, COUNTERMARK_SIMT_HERE) {
  return countermark::simt::Shuffle(countermark::simt::WarpKind::kShuffleXor, mask, value, lanes, width, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, COUNTERMARK_SIMT_HERE) {
  return static_cast<unsigned>(
      countermark::simt::WarpOperation(countermark::simt::WarpKind::kBallot, mask, predicate != 0, 0, 32, file, line));
}
inline int __any_sync(unsigned mask, int predicate, COUNTERMARK_SIMT_HERE) {
  return static_cast<int>(countermark::simt::WarpOperation(countermark::simt::WarpKind::kAny, mask, predicate != 0, 0, 32, file, line));
}
inline int __all_sync(unsigned mask, int predicate, COUNTERMARK_SIMT_HERE) {
  return static_cast<int>(countermark::simt::WarpOperation(countermark::simt::WarpKind::kAll, mask, predicate != 0, 0, 32, file, line));
}
template <typename T>
unsigned __match_any_sync(unsigned mask, T value, COUNTERMARK_SIMT_HERE) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  return static_cast<unsigned>(countermark::simt::WarpOperation(countermark::simt::WarpKind::kMatchAny, mask, bits, 0, 32, file, line));
}
inline unsigned __activemask() { return countermark::simt::OwnLane(); }  // nobody else can be counted on

#define COUNTERMARK_SIMT_REDUCE(name, T, kind)                                                                                        \
  inline T name(unsigned mask, T value, COUNTERMARK_SIMT_HERE) {                                                                      \
    return static_cast<T>(                                                                                                            \
        countermark::simt::WarpOperation(countermark::simt::WarpKind::kind, mask, static_cast<uint32_t>(value), 0, 32, file, line));  \
  }
COUNTERMARK_SIMT_REDUCE(__reduce_add_sync, unsigned, kAdd)
COUNTERMARK_SIMT_REDUCE(__reduce_add_sync, int, kAdd)
COUNTERMARK_SIMT_REDUCE(__reduce_min_sync, unsigned, kMin)
COUNTERMARK_SIMT_REDUCE(__reduce_min_sync, int, kMinSigned)
COUNTERMARK_SIMT_REDUCE(__reduce_max_sync, unsigned, kMax)
COUNTERMARK_SIMT_REDUCE(__reduce_max_sync, int, kMaxSigned)
COUNTERMARK_SIMT_REDUCE(__reduce_and_sync, unsigned, kAnd)
COUNTERMARK_SIMT_REDUCE(__reduce_or_sync, unsigned, kOr)
COUNTERMARK_SIMT_REDUCE(__reduce_xor_sync, unsigned, kXor)
#undef COUNTERMARK_SIMT_REDUCE

// ---- Bits ------------------------------------------------------------------------------------------------------------------------
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= (x >> i & 1u) << (31 - i);
  return r;
}
inline unsigned long long __brevll(unsigned long long x) {
  return static_cast<unsigned long long>(__brev(static_cast<unsigned>(x))) << 32 | __brev(static_cast<unsigned>(x >> 32));
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<uint64_t>(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }

// ---- Arithmetic with a said rounding: to nearest, never fused (the file is compiled with -ffp-contract=off) ------------------------
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __ddiv_rn(double a, double b) { return a / b; }

// ---- Loads and stores with a hint --------------------------------------------------------------------------------------------------
#define COUNTERMARK_SIMT_LOAD(name) \
  template <typename T>             \
  T name(const T* at) {             \
    return *at;                     \
  }
COUNTERMARK_SIMT_LOAD(__ldg)
COUNTERMARK_SIMT_LOAD(__ldca)
COUNTERMARK_SIMT_LOAD(__ldcg)
COUNTERMARK_SIMT_LOAD(__ldcs)
COUNTERMARK_SIMT_LOAD(__ldlu)
COUNTERMARK_SIMT_LOAD(__ldcv)
#undef COUNTERMARK_SIMT_LOAD
#define COUNTERMARK_SIMT_STORE(name) \
  template <typename T>              \
  void name(T* at, T value) {        \
    *at = value;                     \
  }
COUNTERMARK_SIMT_STORE(__stwb)
COUNTERMARK_SIMT_STORE(__stcg)
COUNTERMARK_SIMT_STORE(__stcs)
COUNTERMARK_SIMT_STORE(__stwt)
#undef COUNTERMARK_SIMT_STORE

[[noreturn]] inline void __trap(COUNTERMARK_SIMT_HERE) { countermark::simt::Trap(file, line); }

namespace countermark {
inline uint64_t GlobalTimer() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}
}  // namespace countermark

#endif  // COUNTERMARK_TESTS_SIMT_INTRINSICS_H_
