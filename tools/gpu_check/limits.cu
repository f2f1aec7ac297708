#include "tools/gpu_check/limits.h"

#include "kernels/device.cuh"

namespace countermark::gpu_check {
namespace {

constexpr int kThreads = 512, kBlocks = 4;  // a multiprocessor
constexpr int kAtOnce = 4;

__global__ void __launch_bounds__(kThreads) Read(const uint4* from, int64_t n, uint32_t* out) {
  uint32_t all = 0;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  for (; i + (kAtOnce - 1) * step < n; i += kAtOnce * step) {
    uint4 x[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) x[k] = from[i + k * step];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) all |= x[k].x ^ x[k].y ^ x[k].z ^ x[k].w;
  }
  for (; i < n; i += step) all |= from[i].x ^ from[i].y ^ from[i].z ^ from[i].w;
  if (__syncthreads_or(all == 0xDEADBEEFu)) out[blockIdx.x] = all;  // a condition that the compiler cannot foresee keeps the loads
}

__global__ void __launch_bounds__(kThreads) Copy(const uint4* from, uint4* to, int64_t n) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) to[i] = from[i];
}

__global__ void Empty() {}

#if defined(COUNTERMARK_SIMT)   // one thread after another, and no clock but the host's
constexpr unsigned long long kBusy = 0;
__device__ inline long long Cycles() { return static_cast<long long>(GlobalTimer()); }
#else
constexpr unsigned long long kBusy = 4000000;
__device__ inline long long Cycles() { return clock64(); }
#endif

__global__ void __launch_bounds__(kThreads) Clock(unsigned long long* out) {
  const unsigned long long start = GlobalTimer();
  const long long cycles = Cycles();
  uint32_t x = threadIdx.x + 1;
  while (GlobalTimer() - start < kBusy) {
    for (int i = 0; i < 256; ++i) x = x * 747796405u + 2891336453u;
  }
  const unsigned long long took = GlobalTimer() - start, counted = static_cast<unsigned long long>(Cycles() - cycles);
  if (x == 12345 && blockIdx.x == 0xFFFFFF) out[2] = x;
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    out[0] = counted;
    out[1] = took;
  }
}

__device__ inline uint64_t Mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xFF51AFD7ED558CCDull;
  x ^= x >> 33;
  x *= 0xC4CEB9FE1A85EC53ull;
  return x ^ x >> 33;
}

__device__ inline uint64_t Mixed(uint64_t seed, int32_t row, int32_t column) {
  return Mix(seed * 0x9E3779B97F4A7C15ull + (static_cast<uint64_t>(row) << 32 | static_cast<uint32_t>(column)));
}

__device__ inline float Normal(uint64_t bits) {
  const float u = (static_cast<float>(bits >> 40) + 0.5f) * 0x1p-24f, v = static_cast<float>(bits & 0xFFFFFF) * 0x1p-24f;
  return sqrtf(-2.0f * logf(u)) * cosf(6.2831853f * v);
}

__global__ void Fill(void* logits, LogitType type, int32_t columns, RowKind kind, uint64_t seed) {
  const int32_t row = static_cast<int32_t>(blockIdx.y);
  for (int32_t i = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x); i < columns; i += static_cast<int32_t>(gridDim.x * blockDim.x)) {
    const float noise = Normal(Mixed(seed, row, i));
    float z = 2.5f * noise;
    if (kind == RowKind::kPeaked) {
      // A permutation of the ids, another one a row: multiplication by a prime that divides no vocabulary, and a shift.
      const uint32_t shift = static_cast<uint32_t>(Mix(seed + static_cast<uint64_t>(row) + 1) % static_cast<uint32_t>(columns));
      const float rank = static_cast<float>((static_cast<uint64_t>(i) * 2654435761ull + shift) % static_cast<uint32_t>(columns));
      const float share = rank / static_cast<float>(columns);
      z = 18.0f - 1.6f * logf(rank + 1.0f) - 14.0f * share * share * share + 0.2f * noise;
    }
    const int64_t at = static_cast<int64_t>(row) * columns + i;
    if (type == kFloat32) static_cast<float*>(logits)[at] = z;
    if (type == kFloat16) static_cast<__half*>(logits)[at] = __float2half_rn(z);
    if (type == kBfloat16) static_cast<__nv_bfloat16*>(logits)[at] = __float2bfloat16_rn(z);
  }
}

// As many blocks as have something to do, at most kBlocks a multiprocessor.
unsigned BlocksFor(int64_t n, int multiprocessors) {
  const int64_t wanted = (n + kThreads - 1) / kThreads, most = static_cast<int64_t>(kBlocks) * multiprocessors;
  return static_cast<unsigned>(wanted < most ? wanted : most);
}

}  // namespace

cudaError_t LaunchRead(const void* from, int64_t bytes, uint32_t* out, int multiprocessors, cudaStream_t stream) {
  return Launch(Read, dim3(BlocksFor(bytes / 16, multiprocessors)), dim3(kThreads), 0, stream, static_cast<const uint4*>(from), bytes / 16, out);
}
cudaError_t LaunchCopy(const void* from, void* to, int64_t bytes, int multiprocessors, cudaStream_t stream) {
  return Launch(Copy, dim3(BlocksFor(bytes / 16, multiprocessors)), dim3(kThreads), 0, stream, static_cast<const uint4*>(from), static_cast<uint4*>(to), bytes / 16);
}
cudaError_t LaunchEmpty(cudaStream_t stream) { return Launch(Empty, dim3(1), dim3(32), 0, stream); }
cudaError_t LaunchClock(unsigned long long* out, int multiprocessors, cudaStream_t stream) {
  return Launch(Clock, dim3(static_cast<unsigned>(multiprocessors)), dim3(kThreads), 0, stream, out);
}
cudaError_t LaunchFill(void* logits, LogitType type, int32_t rows, int32_t columns, RowKind kind, uint64_t seed, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((columns + 2047) / 2048), static_cast<unsigned>(rows));
  return Launch(Fill, grid, dim3(256), 0, stream, logits, type, columns, kind, seed);
}

}  // namespace countermark::gpu_check
