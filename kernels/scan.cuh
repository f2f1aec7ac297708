// First look at a slice of a row: its largest logit, and what the cut of truncation is guessed from.
#ifndef COUNTERMARK_KERNELS_SCAN_CUH_
#define COUNTERMARK_KERNELS_SCAN_CUH_

#include <cstring>

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

// The largest of a thread's logits in a slice, NaN if one of them is: two numbers of 16 bits at once, or one of 32.
__device__ __forceinline__ float ScanOctets(const RowLogits& row, int begin, int end) {
  constexpr int kStride = kOctet * kThreads;
  int at = begin + kOctet * static_cast<int>(threadIdx.x);
  float max = -Infinity();
  bool nan = false;
  const auto take = [&](float z) {
    nan = nan || z != z;
    max = fmaxf(max, z);
  };
  if (row.aligned && row.type == kFloat32) {
    for (; at + kOctet <= end; at += kStride) {
      float z[kOctet];
      Unpack(LoadRaw(row, at), kFloat32, z);
#pragma unroll
      for (int i = 0; i < kOctet; ++i) take(z[i]);
    }
  } else if (row.aligned) {
    // A bf16 or fp16 of −∞ twice; then word by word. Four octets are asked for before the first is looked at.
    const bool bfloat = row.type == kBfloat16;
    uint32_t most = bfloat ? 0xFF80FF80u : 0xFC00FC00u;
    const auto both = [&](uint32_t word) {
      if (bfloat) {
        __nv_bfloat162 a, b;
        memcpy(static_cast<void*>(&a), &most, 4);
        memcpy(static_cast<void*>(&b), &word, 4);
        a = __hmax2_nan(a, b);
        memcpy(&most, &a, 4);
      } else {
        __half2 a, b;
        memcpy(static_cast<void*>(&a), &most, 4);
        memcpy(static_cast<void*>(&b), &word, 4);
        a = __hmax2_nan(a, b);
        memcpy(&most, &a, 4);
      }
    };
    const auto octet = [&](const uint4& raw) {
      both(raw.x);
      both(raw.y);
      both(raw.z);
      both(raw.w);
    };
    for (; at + 3 * kStride + kOctet <= end; at += 4 * kStride) {
      const uint4 a = LoadRaw(row, at).low, b = LoadRaw(row, at + kStride).low, c = LoadRaw(row, at + 2 * kStride).low, d = LoadRaw(row, at + 3 * kStride).low;
      octet(a);
      octet(b);
      octet(c);
      octet(d);
    }
    for (; at + kOctet <= end; at += kStride) octet(LoadRaw(row, at).low);
    float z[kOctet];
    Unpack({{most, 0, 0, 0}, {}}, row.type, z);
    take(z[0]);
    take(z[1]);
  }
  for (; at < end; at += kStride) {  // a last octet that is not whole, or a row that is not aligned
    float z[kOctet];
    LoadOctet(row, at, z);
#pragma unroll
    for (int i = 0; i < kOctet; ++i) take(z[i]);
  }
  return nan ? __uint_as_float(0x7FC00000u) : max;
}

// `bins`: null where nothing truncates; `sums`: whether they are to hold sums. One slice: tokens begin … end − 1.
__device__ inline void ScanSlice(const RowLogits& row, int begin, int end, float scale, bool sums, Bin* bins, SlicePart* part, BlockScratch* scratch) {
  float max = -Infinity(), sum = 0.0f;
  bool nan = false;
  if (!sums) {
    max = ScanOctets(row, begin, end);
    nan = max != max;
  }
  if (sums || nan) {  // NaN is rare: its thread looks again
    max = -Infinity();
    EachOctet<true>(row, begin, end, [&](int, const float* z) {
#pragma unroll
      for (int i = 0; i < kOctet; ++i) nan = nan || z[i] != z[i];
      const float largest = LargestOf(z);
      if (largest > max) {
        if (sums) sum *= exp2f((max - largest) * scale);
        max = largest;
      }
      if (sums && max > -Infinity()) {
#pragma unroll
        for (int i = 0; i < kOctet; ++i) sum += exp2f((z[i] - max) * scale);
      }
    });
  }
  if (bins != nullptr) bins[threadIdx.x] = {max, sum};

  uint32_t best = OrderedBits(max);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const uint32_t other = __shfl_xor_sync(kAllLanes, best, step);
    if (other > best) best = other;
  }
  if (threadIdx.x % 32 == 0) scratch->warp_values[0][threadIdx.x / 32] = best;
  const int any_nan = __syncthreads_or(nan);
  if (threadIdx.x == 0) {
    for (int w = 0; w < kWarps; ++w) {
      if (scratch->warp_values[0][w] > best) best = static_cast<uint32_t>(scratch->warp_values[0][w]);
    }
    part->max = FromOrderedBits(best);
    part->nan = any_nan != 0;
  }
  __syncthreads();  // [maxima read]
}

// The lowest id of the row's largest logit, which the first slice that knows of it holds. 0 where nothing is finite.
__device__ inline uint32_t LikeliestOf(const RowLogits& row, float max, const SlicePart* parts, int32_t slices, int32_t length, BlockScratch* scratch) {
  if (threadIdx.x == 0) scratch->result[0] = kIdMask;
  __syncthreads();
  for (int s = 0; s < slices; ++s) {
    if (__ldcg(&parts[s].max) != max) continue;
    for (int at = s * length + static_cast<int>(threadIdx.x); at < (s + 1) * length && at < row.vocabulary; at += kThreads) {
      if (LoadLogit(row, at) != max) continue;
      atomicMin(&scratch->result[0], static_cast<unsigned long long>(at));
      break;
    }
    break;
  }
  __syncthreads();
  const uint32_t first = static_cast<uint32_t>(scratch->result[0]);
  __syncthreads();
  return first < static_cast<uint32_t>(row.vocabulary) ? first : 0;
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
