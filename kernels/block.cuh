// What the threads of a block work out together: sums, minima, and the place where a running sum of ordered keys reaches a target.
#ifndef COUNTERMARK_KERNELS_BLOCK_CUH_
#define COUNTERMARK_KERNELS_BLOCK_CUH_

#include "kernels/device.cuh"
#include "kernels/row.cuh"

namespace countermark {

// Shared memory of these functions; every one of them may be followed by another without a barrier of the caller's.
struct BlockScratch {
  unsigned long long bins[256];
  unsigned int counts[256];
  unsigned long long warp_values[2][kWarps];
  unsigned long long result[3];
};

// The sum over the block, given to all. Integers: the order does not matter.
__device__ inline uint64_t BlockSum(uint64_t value, BlockScratch* scratch) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  if (threadIdx.x % 32 == 0) scratch->warp_values[0][threadIdx.x / 32] = value;
  __syncthreads();
  uint64_t sum = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) sum += scratch->warp_values[0][w];
  __syncthreads();  // [sum read] the next user writes where this one still reads
  return sum;
}

// Two sums at once.
__device__ inline void BlockSum2(uint64_t* a, uint64_t* b, BlockScratch* scratch) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    *a += __shfl_xor_sync(kAllLanes, *a, step);
    *b += __shfl_xor_sync(kAllLanes, *b, step);
  }
  if (threadIdx.x % 32 == 0) {
    scratch->warp_values[0][threadIdx.x / 32] = *a;
    scratch->warp_values[1][threadIdx.x / 32] = *b;
  }
  __syncthreads();
  *a = *b = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    *a += scratch->warp_values[0][w];
    *b += scratch->warp_values[1][w];
  }
  __syncthreads();
}

// An arrival in the race: the smaller time is first, at a tie the lower id.
struct Arrival {
  double time;
  uint32_t id;
};
__device__ __forceinline__ bool Earlier(const Arrival& a, const Arrival& b) { return a.time != b.time ? a.time < b.time : a.id < b.id; }

// The first of the block's arrivals, given to all.
__device__ inline Arrival BlockFirst(Arrival mine, BlockScratch* scratch) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const Arrival other = {__shfl_xor_sync(kAllLanes, mine.time, step), __shfl_xor_sync(kAllLanes, mine.id, step)};
    if (Earlier(other, mine)) mine = other;
  }
  if (threadIdx.x % 32 == 0) {
    scratch->warp_values[0][threadIdx.x / 32] = static_cast<unsigned long long>(__double_as_longlong(mine.time));
    scratch->warp_values[1][threadIdx.x / 32] = mine.id;
  }
  __syncthreads();
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    const Arrival other = {__longlong_as_double(static_cast<long long>(scratch->warp_values[0][w])), static_cast<uint32_t>(scratch->warp_values[1][w])};
    if (Earlier(other, mine)) mine = other;
  }
  __syncthreads();
  return mine;
}

// The sum of what the threads before this one hold.
__device__ inline uint64_t BlockSumBefore(uint64_t value, BlockScratch* scratch) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  uint64_t sum = value;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const uint64_t below = __shfl_up_sync(kAllLanes, sum, static_cast<unsigned>(step));
    if (lane >= step) sum += below;
  }
  if (lane == 31) scratch->warp_values[0][warp] = sum;
  __syncthreads();
  for (int w = 0; w < warp; ++w) sum += scratch->warp_values[0][w];
  __syncthreads();
  return sum - value;
}

// The end of a prefix: keys are gone through from the largest down, each with a measure, until the sum reaches `target` ≥ 1.
//
// `each(fn)` calls fn(key, measure) for the entries of this thread; all threads of the block call this function together. The keys have `bits`
// bits, a multiple of 8. Returns the smallest key of the prefix, or a smaller number that no entry lies above it and below that key: an
// entry is in the prefix just when its key ≥ what is returned. 0 if all together do not reach the target. With `exact`, what is returned is that
// smallest key itself. *before: the sum of the entries above the last group of equal leading digits (exact: above the key itself).
//
// Radix selection: a histogram of eight bits a pass over the entries that agree with what is known, from the top. Entries are read again each pass
// rather than kept, so that they may come from a list or from the logits themselves.
template <typename Each>
__device__ inline uint64_t PrefixEnd(const Each& each, int bits, uint64_t target, bool exact, BlockScratch* scratch, uint64_t* before) {
  uint64_t known = 0, above = 0;
  for (int shift = bits - 8; shift >= 0; shift -= 8) {
    scratch->bins[threadIdx.x] = 0;
    scratch->counts[threadIdx.x] = 0;
    __syncthreads();
    each([&](uint64_t key, uint64_t measure) {
      if (key >> shift >> 8 != known >> shift >> 8) return;
      const int bin = static_cast<int>(key >> shift & 255);
      atomicAdd(&scratch->bins[bin], static_cast<unsigned long long>(measure));
      atomicAdd(&scratch->counts[bin], 1u);
    });
    __syncthreads();  // [bins filled]
    if (threadIdx.x < 32) {
      // Lane 0 has the eight highest bins. Which lane's bins hold the target, and which of them?
      const int top = 255 - 8 * static_cast<int>(threadIdx.x);
      uint64_t mine = 0;
      for (int i = 0; i < 8; ++i) mine += scratch->bins[top - i];
      uint64_t sum = mine;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const uint64_t below = __shfl_up_sync(kAllLanes, sum, static_cast<unsigned>(step));
        if (static_cast<int>(threadIdx.x) >= step) sum += below;
      }
      const uint64_t wanted = target - above;
      if (sum >= wanted && sum - mine < wanted) {
        uint64_t reached = sum - mine;
        int bin = top;
        while (reached + scratch->bins[bin] < wanted) reached += scratch->bins[bin--];
        scratch->result[0] = static_cast<unsigned long long>(bin);
        scratch->result[1] = above + reached;
        scratch->result[2] = scratch->counts[bin];
      }
      if (threadIdx.x == 31 && sum < wanted) scratch->result[0] = 256;  // all together are not enough
    }
    __syncthreads();  // [bin chosen]
    const uint64_t bin = scratch->result[0];
    const uint64_t count = scratch->result[2];
    if (bin < 256) above = scratch->result[1];
    __syncthreads();
    if (bin == 256) {
      *before = 0;
      return 0;
    }
    known |= bin << shift;
    if (count == 1 && !exact) break;
  }
  *before = above;
  return known;
}

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_BLOCK_CUH_
