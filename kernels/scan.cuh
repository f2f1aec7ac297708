// First look at a slice of a row: its largest logit, and what the cut of truncation is guessed from.
#ifndef COUNTERMARK_KERNELS_SCAN_CUH_
#define COUNTERMARK_KERNELS_SCAN_CUH_

#include "kernels/block.cuh"
#include "kernels/row.cuh"
#include "kernels/step.cuh"

namespace countermark {

// Orders floats as unsigned integers; −0 and +0 are one.
__device__ __forceinline__ uint32_t OrderedBits(float z) {
  const uint32_t bits = __float_as_uint(z + 0.0f);
  return bits ^ (bits >> 31 != 0 ? 0xFFFFFFFFu : 0x80000000u);
}

__device__ __forceinline__ float FromOrderedBits(uint32_t ordered) {
  return __uint_as_float(ordered ^ (ordered >> 31 != 0 ? 0x80000000u : 0xFFFFFFFFu));
}

// `bins`: null where nothing truncates; `sums`: whether they are to hold sums. One slice: tokens begin … end − 1.
__device__ inline void ScanSlice(const RowLogits& row, int begin, int end, float scale, bool sums, Bin* bins, SlicePart* part, BlockScratch* scratch) {
  float max = -Infinity(), sum = 0.0f;
  uint32_t first = kIdMask;
  bool nan = false;
  EachOctet(row, begin, end, [&](int at, const float* z) {
#pragma unroll
    for (int i = 0; i < kOctet; ++i) nan = nan || z[i] != z[i];
    const float largest = LargestOf(z);
    if (largest > max) {
      if (sums) sum *= exp2f((max - largest) * scale);
      max = largest;
#pragma unroll
      for (int i = kOctet - 1; i >= 0; --i) {
        if (z[i] == largest) first = static_cast<uint32_t>(at + i);
      }
    }
    if (sums && max > -Infinity()) {
#pragma unroll
      for (int i = 0; i < kOctet; ++i) sum += exp2f((z[i] - max) * scale);
    }
  });
  if (bins != nullptr) bins[threadIdx.x] = {max, sum};

  // The largest, at a tie the lowest id: one integer to maximise.
  unsigned long long best = static_cast<unsigned long long>(OrderedBits(max)) << 32 | (kIdMask - first);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const unsigned long long other = __shfl_xor_sync(kAllLanes, best, step);
    if (other > best) best = other;
  }
  if (threadIdx.x % 32 == 0) scratch->warp_values[0][threadIdx.x / 32] = best;
  const int any_nan = __syncthreads_or(nan);
  if (threadIdx.x == 0) {
    for (int w = 0; w < kWarps; ++w) {
      if (scratch->warp_values[0][w] > best) best = scratch->warp_values[0][w];
    }
    part->max = FromOrderedBits(static_cast<uint32_t>(best >> 32));
    part->first = kIdMask - (static_cast<uint32_t>(best) & kIdMask);
    part->nan = any_nan != 0;
  }
  __syncthreads();  // [maxima read]
}

// A weight above which, by the bins of a row, at least `count` tokens lie (count > 0: certainly so), or the share `top_p` of all the weight (probably
// so); 1 where the bins cannot tell. All threads get the same.
//
// Bins are sorted by their largest logit into classes of a quarter of log₂ below the row's. The `count` largest bins hold as many tokens at least. As to
// weight: if the bins whose largest token lies below the cut are a fair sample, then what lies below it in the other bins is like what lies in these.
__device__ inline float GuessCut(const Bin* bins, int n, const Weigher& weigh, int64_t count, uint64_t top_p, BlockScratch* scratch) {
  constexpr float kOne = 0x1p32f;  // sums are kept as integers in this unit
  scratch->bins[threadIdx.x] = 0;
  scratch->counts[threadIdx.x] = 0;
  if (threadIdx.x == 0) scratch->result[0] = 256;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) {
    const float max = __ldcg(&bins[i].max), sum = __ldcg(&bins[i].sum);
    const float below = (weigh.max - max) * weigh.scale;  // in log₂
    const int at = below < 63.75f ? static_cast<int>(below * 4.0f) : 255;
    atomicAdd(&scratch->counts[at], 1u);
    if (count == 0 && below < 63.75f) atomicAdd(&scratch->bins[at], static_cast<unsigned long long>((sum < 0x1p24f ? sum : 0.0f) * exp2f(-below) * kOne));  // not NaN
  }
  __syncthreads();  // [classes filled]
  const uint64_t mine = scratch->counts[threadIdx.x], my_sum = scratch->bins[threadIdx.x];
  const uint64_t counted = BlockSumBefore(mine, scratch) + mine;
  const uint64_t summed = BlockSumBefore(my_sum, scratch) + my_sum;
  bool enough;
  if (count > 0) {
    enough = counted >= static_cast<uint64_t>(count);
  } else {
    const float all = static_cast<float>(BlockSum(my_sum, scratch));
    const float rest = static_cast<float>(static_cast<uint64_t>(n) - counted);
    const float left_out = (all - static_cast<float>(summed)) * static_cast<float>(n) / fmaxf(rest, 1.0f);
    const float allowed = (1.0f - static_cast<float>(top_p) * 0x1p-32f) * all;
    enough = rest >= 8.0f && left_out * 1.25f <= allowed;
  }
  if (enough && threadIdx.x < 160) atomicMin(&scratch->result[0], static_cast<unsigned long long>(threadIdx.x));
  __syncthreads();
  const unsigned long long at = scratch->result[0];
  __syncthreads();
  if (at >= 160) return 1.0f;
  return fmaxf(1.0f, 0.999f * exp2f(40.0f - 0.25f * static_cast<float>(at + 1)));
}

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_SCAN_CUH_
