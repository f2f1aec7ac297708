// The one header through which kernels see CUDA, so that the same .cu file is compiled by nvcc for a GPU and by g++ for the SIMT emulator of
// tests/simt/, which runs it in every test run. Under nvcc it is CUDA and thin macros; under g++ with COUNTERMARK_SIMT defined it is the real
// CUDA headers in host mode and "tests/simt/simt.h", which declares threadIdx and the intrinsics. Needs CUDA and C++ alone.
//
//   template <int kThreads>
//   __global__ void __launch_bounds__(kThreads) RowSums(const float* rows, int n, float* sums) {
//     SHARED_ARRAY(float, partial, kThreads / 32);            // __shared__ float partial[kThreads / 32];
//     …
//   }
//   cudaError_t error = Launch(RowSums<256>, dim3(batch), dim3(256), 0, stream, rows, n, sums);   // cudaLaunchKernel
//
// Rules that keep a kernel true in both worlds:
// 1. Shared memory only by SHARED_ARRAY and DYN_SHARED; a scalar is an array of one. It is not zero at the start.
// 2. Flags and tickets that blocks hand to one another go through the atomics or through LoadAcquire and StoreRelease, and a loop that waits
//    calls __nanosleep: the emulator changes threads there, and nowhere inside plain code. A volatile load works where the loop also sleeps,
//    but the race check calls it a race.
// 3. Data published by a flag is written before a __threadfence() of the thread that sets the flag.
// 4. Warp operations name their lanes by a mask; no __activemask, no cooperative groups, no textures, no __constant__ tables, no inline PTX
//    outside this header.
// 5. Floating-point that must be the same bits everywhere: no product that a compiler might fuse with a sum, but an explicit fma.
//
// A barrier that has a name, `__syncthreads();  // [cleared] why`, can be taken out of a copy by tests/simt/without_barrier.cmake to prove that the
// tests would notice.
#ifndef COUNTERMARK_KERNELS_DEVICE_CUH_
#define COUNTERMARK_KERNELS_DEVICE_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <tuple>

#if defined(COUNTERMARK_SIMT)
#include "tests/simt/simt.h"
#elif defined(__CUDACC__)

// `name`: an array of N elements of type T, one for the whole block. N may not hold a bare comma.
#define SHARED_ARRAY(T, name, N) __shared__ T name[N]
// `name`: a T* to the launch's smem_bytes of shared memory, aligned to 16 bytes. All DYN_SHARED of a kernel start at the same place.
#define DYN_SHARED(T, name)                                                   \
  extern __shared__ __align__(16) unsigned char countermark_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(countermark_dynamic_shared)
// CUDA's __noinline__ is a word of libstdc++'s when g++ compiles.
#define COUNTERMARK_NOINLINE __noinline__

namespace countermark {

// Queues kernel(args…) on `stream`, each argument converted to the parameter's type. smem_bytes: dynamic shared memory. Returns the launch's own error:
// not cudaGetLastError, which would give, and take away, one that the host has left behind.
template <typename... Params, typename... Args>
cudaError_t Launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t smem_bytes, cudaStream_t stream, Args... args) {
  static_assert(sizeof...(Params) == sizeof...(Args), "as many arguments as the kernel has parameters");
  std::tuple<Params...> values(static_cast<Params>(args)...);
  return std::apply(
      [&](Params&... value) {
        void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))...};
        return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, smem_bytes, stream);
      },
      values);
}

// Nanoseconds of a clock that all blocks share; its step may be a microsecond.
__device__ __forceinline__ uint64_t GlobalTimer() {
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

// What another block has published by StoreRelease (or by __threadfence and an atomic), and all that it wrote before.
__device__ __forceinline__ uint32_t LoadAcquire(const uint32_t* at) {
  uint32_t value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
  return value;
}
__device__ __forceinline__ uint64_t LoadAcquire(const uint64_t* at) {
  uint64_t value;
  asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(at) : "memory");
  return value;
}
__device__ __forceinline__ unsigned long long LoadAcquire(const unsigned long long* at) {
  return LoadAcquire(reinterpret_cast<const uint64_t*>(at));
}
__device__ __forceinline__ void StoreRelease(uint32_t* at, uint32_t value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" : : "l"(at), "r"(value) : "memory");
}
__device__ __forceinline__ void StoreRelease(uint64_t* at, uint64_t value) {
  asm volatile("st.release.gpu.global.u64 [%0], %1;" : : "l"(at), "l"(value) : "memory");
}
__device__ __forceinline__ void StoreRelease(unsigned long long* at, unsigned long long value) {
  StoreRelease(reinterpret_cast<uint64_t*>(at), static_cast<uint64_t>(value));
}

}  // namespace countermark

#else
#error "kernels/device.cuh: compile with nvcc, or with g++ and COUNTERMARK_SIMT (tests/simt)"
#endif

#endif  // COUNTERMARK_KERNELS_DEVICE_CUH_
