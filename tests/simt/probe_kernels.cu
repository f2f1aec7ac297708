#include "tests/simt/probe_kernels.h"

#include "kernels/device.cuh"

namespace countermark::probe {
namespace {

constexpr unsigned kFull = 0xffffffffu;

template <int kWarps>
__global__ void __launch_bounds__(32 * kWarps) BlockSumsKernel(const uint32_t* values, int n, uint64_t* sums) {
  SHARED_ARRAY(uint64_t, partial, kWarps);
  uint64_t sum = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) sum += __ldg(values + blockIdx.x * n + i);
  for (int delta = 16; delta > 0; delta /= 2) sum += __shfl_down_sync(kFull, sum, delta);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
  __syncthreads();  // [partial] every warp has left its sum
  if (threadIdx.x < 32) {
    sum = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0;
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kFull, sum, lanes);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
  }
}

__global__ void WarpResultsKernel(uint32_t* results) {
  const unsigned i = threadIdx.x, lane = i % 32;
  const int mine = static_cast<int>(i) - 20;
  uint32_t* out = results + i * kWarpResults;
  out[0] = __shfl_sync(kFull, i, 3);
  out[1] = __shfl_sync(kFull, i, static_cast<int>(lane) + 1, 8);
  out[2] = __shfl_up_sync(kFull, i, 2, 16);
  out[3] = __shfl_down_sync(kFull, i, 1, 4);
  out[4] = __shfl_xor_sync(kFull, i, 5, 8);
  out[5] = __ballot_sync(kFull, i % 3 == 0);
  out[6] = static_cast<uint32_t>(__any_sync(kFull, i == 1)) | static_cast<uint32_t>(__any_sync(kFull, i > 99)) << 1;
  out[7] = static_cast<uint32_t>(__all_sync(kFull, i < 99)) | static_cast<uint32_t>(__all_sync(kFull, i < 5)) << 1;
  out[8] = __match_any_sync(kFull, i % 4);
  out[9] = __reduce_add_sync(kFull, i);
  out[10] = static_cast<uint32_t>(__reduce_min_sync(kFull, mine));
  out[11] = __reduce_max_sync(kFull, static_cast<unsigned>(mine));
  out[12] = __reduce_xor_sync(kFull, 1u << lane) ^ __reduce_or_sync(kFull, i) ^ __reduce_and_sync(kFull, i | 64);
  const double wide = __shfl_xor_sync(kFull, static_cast<double>(i) + 0.5, 1);
  out[13] = static_cast<uint32_t>(wide * 2);
  out[14] = __float_as_uint(__shfl_sync(kFull, static_cast<float>(i), 2));
  out[15] = __activemask() >> lane & 1;
}

__global__ void DivergenceKernel(uint32_t* out) {
  const unsigned lane = threadIdx.x;
  uint32_t value = lane;
  if (lane % 2 == 0) {
    for (int round = 0; round < 3; ++round) value += __shfl_xor_sync(0x55555555u, value, 2 << round);
  } else {
    for (int round = 0; round < 5; ++round) value = __reduce_max_sync(0xaaaaaaaau, value) - round;
    __syncwarp(0xaaaaaaaau);
  }
  __syncwarp();
  out[lane] = __shfl_sync(kFull, value, static_cast<int>(lane ^ 1));
}

__global__ void WarpExchangeKernel(int rounds, bool halves, uint32_t* out) {
  SHARED_ARRAY(uint32_t, words, 256);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x - lane;
  const unsigned mask = !halves ? kFull : lane % 2 == 0 ? 0x55555555u : 0xaaaaaaaau;
  const unsigned neighbour = warp + (lane + (halves ? 2 : 1)) % 32;
  uint32_t mine = threadIdx.x;
  for (int round = 0; round < rounds; ++round) {
    words[threadIdx.x] = mine;
    __syncwarp(mask);  // [written] the neighbour's word is there
    mine = words[neighbour] + lane;
    __syncwarp(mask);  // [taken] and is not replaced before it is read
  }
  out[threadIdx.x] = mine;
}

__global__ void EarlyExitKernel(int live, uint32_t* out) {
  SHARED_ARRAY(uint32_t, values, 256);
  if (static_cast<int>(threadIdx.x) >= live) return;
  values[threadIdx.x] = threadIdx.x + 1;
  __syncthreads();
  uint32_t sum = 0;
  for (int i = 0; i < live; ++i) sum += values[i];
  out[threadIdx.x] = __all_sync(kFull, sum == values[0] * live * (live + 1) / 2) ? sum : 0;
}

__global__ void BarrierVotesKernel(const int* predicate, int* out) {
  const int mine = predicate[threadIdx.x];
  out[3 * threadIdx.x] = __syncthreads_or(mine);
  out[3 * threadIdx.x + 1] = __syncthreads_and(mine);
  out[3 * threadIdx.x + 2] = __syncthreads_count(mine);
}

__global__ void AtomicsKernel(uint64_t* places) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  auto* words = reinterpret_cast<unsigned*>(places);
  auto* wide = reinterpret_cast<unsigned long long*>(places);
  atomicAdd(words, i);
  atomicAdd(wide + 1, static_cast<unsigned long long>(i) << 30);
  atomicMin(words + 4, 1000 - i);
  atomicMax(wide + 3, static_cast<unsigned long long>(i) << 33);
  atomicOr(words + 8, 1u << (i % 32));
  atomicXor(words + 10, i);
  atomicAdd(reinterpret_cast<int*>(words + 12), -1);
  unsigned seen = 0;  // a product under compare-and-swap, from a first guess
  for (unsigned before = ~seen; before != seen;) {
    seen = before;
    before = atomicCAS(words + 14, seen, seen * 3);
  }

  if (atomicExch(words + 16, 1u) == 0) atomicAdd(words + 17, 1u);
  atomicInc(words + 18, 6);
}

template <bool kFlags>
__global__ void TicketedSumsKernel(const uint32_t* values, uint64_t* state, uint64_t* sums) {
  SHARED_ARRAY(uint32_t, ticket, 1);
  SHARED_ARRAY(uint64_t, before, 1);
  if (threadIdx.x == 0) *ticket = atomicAdd(reinterpret_cast<unsigned*>(state), 1u);
  __syncthreads();
  const uint32_t t = *ticket;
  uint64_t* const flags = state + 1;
  if (threadIdx.x == 0) {
    *before = 0;
    if (t > 0) {
      uint64_t seen = 0;
      for (;;) {
        if constexpr (kFlags) {
          seen = atomicAdd(reinterpret_cast<unsigned long long*>(flags + t - 1), 0ull);
        } else {
          seen = LoadAcquire(flags + t - 1);
        }
        if (seen != 0) break;
        __nanosleep(40);
      }
      if constexpr (kFlags) __threadfence();
      *before = sums[t - 1];  // what the flag publishes
    }
    sums[t] = *before + values[t];
    if constexpr (kFlags) {
      __threadfence();
      atomicExch(reinterpret_cast<unsigned long long*>(flags + t), 1ull);
    } else {
      StoreRelease(flags + t, uint64_t{1});
    }
  }
}

__global__ void WaitForNextBlockKernel(uint32_t* flags) {
  if (blockIdx.x + 1 < gridDim.x) {
    while (LoadAcquire(flags + blockIdx.x + 1) == 0) __nanosleep(10);
  }
  StoreRelease(flags + blockIdx.x, 1u);
}

__global__ void IndicesKernel(uint32_t* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * 12 + thread] = blockIdx.x | blockIdx.y << 4 | blockIdx.z << 8 | threadIdx.x << 12 | threadIdx.y << 16 | threadIdx.z << 20;
}

__global__ void UnwrittenKernel(uint64_t* out) {
  SHARED_ARRAY(uint64_t, array, 2);
  DYN_SHARED(uint64_t, dynamic);
  out[0] = array[0];
  out[1] = dynamic[0];
}

__global__ void MissedBarrierKernel(uint32_t* flag, uint32_t* out) {
  if (threadIdx.x == 5) {
    while (LoadAcquire(flag) == 0) __nanosleep(1);
  }
  __syncthreads();  // kMissedBarrierLine
  StoreRelease(flag, 1u);
  out[threadIdx.x] = 1;
}

__global__ void DifferentBarriersKernel() {
  if (threadIdx.x < 32) {
    __syncthreads();  // kFirstBarrierLine
  } else {
    __syncthreads();  // kSecondBarrierLine
  }
}

__global__ void LonelyShuffleKernel(uint32_t* out) {
  if (threadIdx.x == 3) {
    __syncthreads();
    return;
  }
  out[threadIdx.x] = __shfl_sync(kFull, threadIdx.x, 0);  // kLonelyShuffleLine
  __syncthreads();
}

__global__ void ForeignMaskKernel(uint32_t* out) {
  out[threadIdx.x] = __ballot_sync(0xfffffffeu, 1);  // kForeignMaskLine
}

__global__ void TrapKernel() {
  if (threadIdx.x == 7) __trap();  // kTrapLine
  __syncthreads();
}

__global__ void StaticOverrunKernel(int at) {
  SHARED_ARRAY(uint32_t, words, 32);
  words[threadIdx.x] = 0;
  uint32_t* anywhere = words;
  if (threadIdx.x == 0) anywhere[at] = 7;
}

__global__ void DynamicOverrunKernel(int at) {
  DYN_SHARED(uint32_t, words);
  words[threadIdx.x] = 0;
  if (threadIdx.x == 0) words[at] = 7;
}

#if defined(COUNTERMARK_SIMT)  // ptxas would refuse it
__global__ void TooMuchSharedKernel() {
  SHARED_ARRAY(char, bytes, 49 * 1024);
  bytes[threadIdx.x] = 0;
}
#endif

__global__ void WideLoadKernel(uint32_t* out) {
  SHARED_ARRAY(uint32_t, words, 64);
  for (int i = threadIdx.x; i < 64; i += 32) words[i] = i;
  __syncthreads();
  out[threadIdx.x] = reinterpret_cast<const uint4*>(words)[threadIdx.x % 16].x;
}

__global__ void RacyBlocksKernel(uint32_t* out) {
  if (threadIdx.x == 0) *out += 1;
}

__global__ void RacyPublishKernel(uint32_t* data, uint32_t* flag, bool fence) {
  if (threadIdx.x != 0) return;
  if (blockIdx.x == 0) {
    *data = 41;
    if (fence) __threadfence();
    atomicExch(flag, 1u);
  } else {
    while (atomicAdd(flag, 0u) == 0) __nanosleep(10);
    __threadfence();
    *data += 1;
  }
}

}  // namespace


cudaError_t BlockSums(const uint32_t* values, int n, int blocks, int threads, uint64_t* sums, cudaStream_t stream) {
  return Launch(BlockSumsKernel<32>, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, stream, values, n, sums);
}
cudaError_t WarpResults(int threads, uint32_t* results, cudaStream_t stream) {
  return Launch(WarpResultsKernel, 1, static_cast<unsigned>(threads), 0, stream, results);
}
cudaError_t Divergence(uint32_t* out, cudaStream_t stream) { return Launch(DivergenceKernel, 1, 32, 0, stream, out); }
cudaError_t WarpExchange(int threads, int rounds, bool halves, uint32_t* out, cudaStream_t stream) {
  return Launch(WarpExchangeKernel, 1, static_cast<unsigned>(threads), 0, stream, rounds, halves, out);
}
cudaError_t EarlyExit(int live, uint32_t* out, cudaStream_t stream) { return Launch(EarlyExitKernel, 1, 256, 0, stream, live, out); }
cudaError_t BarrierVotes(const int* predicate, int threads, int* out, cudaStream_t stream) {
  return Launch(BarrierVotesKernel, 1, static_cast<unsigned>(threads), 0, stream, predicate, out);
}
cudaError_t Atomics(int blocks, int threads, uint64_t* places, cudaStream_t stream) {
  return Launch(AtomicsKernel, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, stream, places);
}
cudaError_t TicketedSums(const uint32_t* values, int blocks, uint64_t* state, uint64_t* sums, bool flags, cudaStream_t stream) {
  return Launch(flags ? TicketedSumsKernel<true> : TicketedSumsKernel<false>, static_cast<unsigned>(blocks), 64, 0, stream, values, state, sums);
}
cudaError_t WaitForNextBlock(int blocks, uint32_t* flags, cudaStream_t stream) {
  return Launch(WaitForNextBlockKernel, static_cast<unsigned>(blocks), 1, 0, stream, flags);
}
cudaError_t Indices(uint32_t* out, cudaStream_t stream) { return Launch(IndicesKernel, dim3(2, 3, 2), dim3(2, 3, 2), 0, stream, out); }
cudaError_t Unwritten(uint64_t* out, cudaStream_t stream) { return Launch(UnwrittenKernel, 1, 1, 16, stream, out); }
cudaError_t MissedBarrier(uint32_t* out, cudaStream_t stream) { return Launch(MissedBarrierKernel, 1, 64, 0, stream, out, out + 1); }
cudaError_t DifferentBarriers(cudaStream_t stream) { return Launch(DifferentBarriersKernel, 1, 64, 0, stream); }
cudaError_t LonelyShuffle(uint32_t* out, cudaStream_t stream) { return Launch(LonelyShuffleKernel, 1, 32, 0, stream, out); }
cudaError_t ForeignMask(uint32_t* out, cudaStream_t stream) { return Launch(ForeignMaskKernel, 1, 32, 0, stream, out); }
cudaError_t Trap(cudaStream_t stream) { return Launch(TrapKernel, 1, 32, 0, stream); }
cudaError_t StaticOverrun(int at, cudaStream_t stream) { return Launch(StaticOverrunKernel, 1, 32, 0, stream, at); }
cudaError_t DynamicOverrun(int at, cudaStream_t stream) { return Launch(DynamicOverrunKernel, 1, 32, 128, stream, at); }
#if defined(COUNTERMARK_SIMT)
cudaError_t TooMuchShared(cudaStream_t stream) { return Launch(TooMuchSharedKernel, 1, 32, 0, stream); }
#endif
cudaError_t WideLoad(uint32_t* out, cudaStream_t stream) { return Launch(WideLoadKernel, 1, 32, 0, stream, out); }
cudaError_t RacyBlocks(uint32_t* out, cudaStream_t stream) { return Launch(RacyBlocksKernel, 2, 32, 0, stream, out); }
cudaError_t RacyPublish(uint32_t* data, uint32_t* flag, bool fence, cudaStream_t stream) {
  return Launch(RacyPublishKernel, 2, 32, 0, stream, data, flag, fence);
}

}  // namespace countermark::probe
