// A row of logits on the device: reading it eight tokens at a time, the weight of a token, and the key by which candidates are ordered.
#ifndef COUNTERMARK_KERNELS_ROW_CUH_
#define COUNTERMARK_KERNELS_ROW_CUH_

#include "countermark/mark/weight.h"
#include "kernels/device.cuh"
#include "kernels/sample.h"

namespace countermark {

inline constexpr int kThreads = 256;           // of every block
inline constexpr int kWarps = kThreads / 32;
inline constexpr int kOctet = 8;               // tokens read at once: 16 bytes of fp16 or bf16
inline constexpr int kUnit = 64;               // tokens of a byte block; slices begin at multiples of it
inline constexpr uint32_t kAllLanes = 0xFFFFFFFFu;

__device__ __forceinline__ int Smaller(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ float Infinity() { return __uint_as_float(0x7F800000u); }

// One row, of which the tokens 0 … vocabulary − 1 count.
struct RowLogits {
  const void* data;
  LogitType type;
  bool aligned;      // to 16 bytes: octets are read whole
  int32_t vocabulary;
};

__device__ __forceinline__ int LogitBytes(LogitType type) { return type == kFloat32 ? 4 : 2; }

__device__ __forceinline__ RowLogits RowAt(const SampleBatch& batch, int row) {
  const char* data = static_cast<const char*>(batch.logits) + static_cast<int64_t>(row) * batch.stride * LogitBytes(batch.type);
  return {data, batch.type, reinterpret_cast<uintptr_t>(data) % 16 == 0, batch.vocabulary};
}

__device__ __forceinline__ float LoadLogit(const RowLogits& row, int token) {
  switch (row.type) {
    case kFloat32: return static_cast<const float*>(row.data)[token];
    case kFloat16: return __half2float(static_cast<const __half*>(row.data)[token]);
    default: return __bfloat162float(static_cast<const __nv_bfloat16*>(row.data)[token]);
  }
}

// Eight logits as they lie in memory: `high` for fp32 alone. Loading does not branch on the type, so that several loads can be on their way at once.
struct RawOctet {
  uint4 low, high;
};

// The row is aligned and `first`, a multiple of 8, at least 8 before its end.
__device__ __forceinline__ RawOctet LoadRaw(const RowLogits& row, int first) {
  const char* at = static_cast<const char*>(row.data) + static_cast<int64_t>(first) * LogitBytes(row.type);
  RawOctet raw = {*reinterpret_cast<const uint4*>(at), {}};
  if (row.type == kFloat32) raw.high = *reinterpret_cast<const uint4*>(at + 16);
  return raw;
}

__device__ __forceinline__ void Unpack(const RawOctet& raw, LogitType type, float z[kOctet]) {
  const uint32_t words[8] = {raw.low.x, raw.low.y, raw.low.z, raw.low.w, raw.high.x, raw.high.y, raw.high.z, raw.high.w};
  if (type == kFloat32) {
#pragma unroll
    for (int i = 0; i < kOctet; ++i) z[i] = __uint_as_float(words[i]);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (type == kBfloat16) {  // a bf16 is the upper half of a float
      z[2 * i] = __uint_as_float(words[i] << 16);
      z[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000u);
    } else {
      __half_raw low, high;
      low.x = static_cast<uint16_t>(words[i]);
      high.x = static_cast<uint16_t>(words[i] >> 16);
      z[2 * i] = __half2float(__half(low));
      z[2 * i + 1] = __half2float(__half(high));
    }
  }
}

// z[0 … 7] = the logits of eight tokens from `first` on, a multiple of 8; −∞ beyond the vocabulary.
__device__ __forceinline__ void LoadOctet(const RowLogits& row, int first, float z[kOctet]) {
  if (row.aligned && first + kOctet <= row.vocabulary) {
    Unpack(LoadRaw(row, first), row.type, z);
    return;
  }
#pragma unroll
  for (int i = 0; i < kOctet; ++i) z[i] = first + i < row.vocabulary ? LoadLogit(row, first + i) : -Infinity();
}

// Calls fn(first, z) for each octet of the tokens begin … end − 1 that falls to this thread, ascending. With `ahead`, two are loaded before the first is
// worked on.
template <bool ahead, typename Fn>
__device__ __forceinline__ void EachOctet(const RowLogits& row, int begin, int end, const Fn& fn) {
  constexpr int kStride = kOctet * kThreads;
  int at = begin + kOctet * static_cast<int>(threadIdx.x);
  float z[kOctet];
  if (ahead && row.aligned) {
    for (; at + kStride + kOctet <= end; at += 2 * kStride) {
      const RawOctet first = LoadRaw(row, at), second = LoadRaw(row, at + kStride);
      Unpack(first, row.type, z);
      fn(at, z);
      Unpack(second, row.type, z);
      fn(at + kStride, z);
    }
  }
  for (; at < end; at += kStride) {
    LoadOctet(row, at, z);
    fn(at, z);
  }
}

// How logits become weights in one row: mark/weight.h by fewer and cheaper instructions, and what stands in for it where a logit is +∞.
struct Weigher {
  float max;        // the row's largest logit
  float scale;      // InverseTemperature
  bool infinite;    // some logits are +∞: they alone are candidates, equally
  float reach;      // z − max below this: the weight is 0 (2^−40.5 of the largest; the weight's own rounding is far below 2^−0.5)

  // The weight before its fraction is cut off, not for infinite rows: 0 for NaN and −∞. A weight w reaches an integer just when this does.
  //
  // The steps of WeightAsFloat. Rounding to an integer is adding and taking away 1.5·2²³, whose sum holds the integer in its low bits: no conversion, of
  // which a multiprocessor does few.
  __device__ __forceinline__ float Scaled(float z) const {
    constexpr float kRound = 0x1.8p23f;
    const float d = z - max;
    const float t = d * scale;
    const float shifted = t + kRound;
    const float r = fmaf(d, scale, -(shifted - kRound));
    float p = 1.537070493e-04f;
    p = fmaf(p, r, 1.339984825e-03f);
    p = fmaf(p, r, 9.618373588e-03f);
    p = fmaf(p, r, 5.550329015e-02f);
    p = fmaf(p, r, 2.402264774e-01f);
    p = fmaf(p, r, 6.931471825e-01f);
    p = fmaf(p, r, 1.0f);
    // The low bits of kRound are zero, so that those of `shifted` are n; what is above them leaves by the shift.
    const uint32_t scaled = __float_as_uint(p) + (__float_as_uint(shifted) << 23) + (static_cast<uint32_t>(kWeightBits) << 23);
    return t >= -41.0f ? __uint_as_float(scaled) : 0.0f;
  }
  __device__ __forceinline__ float operator()(float z) const { return infinite ? (z == Infinity() ? 0x1p40f : 0.0f) : truncf(Scaled(z)); }
  // Whether all of eight tokens are out of reach, the largest of them being `z`.
  __device__ __forceinline__ bool OutOfReach(float z) const { return !infinite && !(z - max >= reach); }
};

__device__ __forceinline__ Weigher MakeWeigher(float max, float scale) { return {max, scale, max == Infinity(), -40.5f / scale}; }

__device__ __forceinline__ float LargestOf(const float z[kOctet]) {
  float m = z[0];
#pragma unroll
  for (int i = 1; i < kOctet; ++i) m = fmaxf(m, z[i]);  // passes over NaN
  return m;
}

// A candidate as one integer: larger keys come first in the order of truncation (weight descending, then id ascending). 53 bits: the weight's
// float less that of 1, then the complement of the id. 0 is no candidate.
inline constexpr uint32_t kOneAsBits = 0x3F800000u;
inline constexpr uint32_t kIdMask = 0xFFFFFFu;
inline constexpr int kKeyBits = 53;

__device__ __forceinline__ uint64_t KeyOf(float weight, uint32_t id) {
  return static_cast<uint64_t>(__float_as_uint(weight) - kOneAsBits) << 24 | (kIdMask - id);
}
__device__ __forceinline__ float WeightOf(uint64_t key) { return __uint_as_float(static_cast<uint32_t>(key >> 24) + kOneAsBits); }
__device__ __forceinline__ uint32_t IdOf(uint64_t key) { return kIdMask - (static_cast<uint32_t>(key) & kIdMask); }
// The least key of weight ≥ `weight`, whatever the id.
__device__ __forceinline__ uint64_t LeastKeyOf(float weight) { return static_cast<uint64_t>(__float_as_uint(weight) - kOneAsBits) << 24; }

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_ROW_CUH_
