// The row loops in AVX2 and FMA. Compiled with those flags; nothing here may be inlined elsewhere.
#include <immintrin.h>

#include "src/sampling/row_kernels.h"

namespace countermark::row_kernels {
namespace {

constexpr float kInfinity = __builtin_inff();

// For each set of 8 lanes, the permutation that moves its members to the front.
struct CompressTable {
  alignas(32) uint32_t lanes[256][8];
  constexpr CompressTable() : lanes() {
    for (int m = 0; m < 256; ++m) {
      int k = 0;
      for (uint32_t j = 0; j < 8; ++j) {
        if (m >> j & 1) lanes[m][k++] = j;
      }
    }
  }
};
constexpr CompressTable kCompress;

// All ones in the first `left` lanes.
inline __m256i TailMask(size_t left) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(left >= 8 ? 8 : static_cast<int>(left)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Four integers below 2⁵² held in floats, as 64-bit integers.
inline __m256i ToInt64(__m128 w) {
  const __m256d magic = _mm256_set1_pd(0x1p52);
  return _mm256_xor_si256(_mm256_castpd_si256(_mm256_add_pd(_mm256_cvtps_pd(w), magic)), _mm256_castpd_si256(magic));
}

inline __m256i AddWide(__m256i sum, __m256 w) {
  sum = _mm256_add_epi64(sum, ToInt64(_mm256_castps256_ps128(w)));
  return _mm256_add_epi64(sum, ToInt64(_mm256_extractf128_ps(w, 1)));
}

inline uint64_t Sum(__m256i v) {
  alignas(32) uint64_t a[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(a), v);
  return a[0] + a[1] + a[2] + a[3];
}

float Max(const float* z, size_t n, bool* nan, bool* infinite) {
  // max_ps gives its second operand when either is NaN: with the running maximum there, a NaN never gets in.
  __m256 max0 = _mm256_set1_ps(-kInfinity), max1 = max0, bad = _mm256_setzero_ps();
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m256 a = _mm256_loadu_ps(z + i), b = _mm256_loadu_ps(z + i + 8);
    bad = _mm256_or_ps(bad, _mm256_cmp_ps(a, b, _CMP_UNORD_Q));
    max0 = _mm256_max_ps(a, max0);
    max1 = _mm256_max_ps(b, max1);
  }
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, _mm256_max_ps(max0, max1));
  bool seen = _mm256_movemask_ps(bad) != 0;
  float max = -kInfinity;
  for (float x : lanes) max = x > max ? x : max;
  for (; i < n; ++i) {
    seen |= z[i] != z[i];
    max = z[i] > max ? z[i] : max;
  }
  if (seen) *nan = true;
  *infinite = max == kInfinity;
  return max;
}

// Eight weights before their fractions are cut off, 0 where there is none; see mark/weight.h.
inline __m256 UncutWeightsOf(__m256 z, __m256 max, __m256 scale) {
  const __m256 d = _mm256_sub_ps(z, max);
  const __m256 t = _mm256_mul_ps(d, scale);
  const __m256 live = _mm256_cmp_ps(t, _mm256_set1_ps(-41.0f), _CMP_GE_OQ);  // false for NaN
  const __m256 k = _mm256_round_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m256 r = _mm256_fmsub_ps(d, scale, k);
  __m256 p = _mm256_set1_ps(1.537070493e-04f);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.339984825e-03f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(9.618373588e-03f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.550329015e-02f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(2.402264774e-01f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(6.931471825e-01f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(k), _mm256_set1_epi32(40)), 23);
  const __m256 w = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
  return _mm256_and_ps(live, w);
}

inline __m256 CutFraction(__m256 w) { return _mm256_round_ps(w, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }

uint64_t Weights(const float* z, size_t n, float max, float scale, float* weights) {
  const __m256 vmax = _mm256_set1_ps(max), vscale = _mm256_set1_ps(scale);
  __m256i sum = _mm256_setzero_si256();
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 w = CutFraction(UncutWeightsOf(_mm256_loadu_ps(z + i), vmax, vscale));
    _mm256_storeu_ps(weights + i, w);
    sum = AddWide(sum, w);
  }
  if (i < n) {
    const __m256i in = TailMask(n - i);
    const __m256 w = CutFraction(_mm256_and_ps(UncutWeightsOf(_mm256_maskload_ps(z + i, in), vmax, vscale), _mm256_castsi256_ps(in)));
    _mm256_maskstore_ps(weights + i, in, w);
    sum = AddWide(sum, w);
  }
  return Sum(sum);
}

uint64_t Weigh(const float* z, const uint32_t* ids, size_t n, float max, float scale, float cut, float* kept_weights, uint32_t* kept_ids, size_t* kept,
               uint64_t* kept_sum) {
  const __m256 vmax = _mm256_set1_ps(max), vscale = _mm256_set1_ps(scale), vcut = _mm256_set1_ps(cut);
  const __m256i first = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  // As in AVX-512: under a low cut, what is not kept is summed in 32 bits a block.
  const bool low = cut <= 0x1p27f;
  const size_t block = 8 * (cut <= 0x1p25f ? 63 : 15);  // 63·2²⁵ and 15·2²⁷ < 2³¹
  __m256i rest = _mm256_setzero_si256(), sum = rest;
  size_t count = 0;
  for (size_t begin = 0; begin < n; begin += block) {
    const size_t end = n - begin < block ? n : begin + block;
    __m256i few = _mm256_setzero_si256();
    for (size_t i = begin; i < end; i += 8) {
      const __m256i in = TailMask(end - i);
      const __m256 w = _mm256_and_ps(UncutWeightsOf(_mm256_maskload_ps(z + i, in), vmax, vscale), _mm256_castsi256_ps(in));
      const __m256 chosen = _mm256_cmp_ps(w, vcut, _CMP_GE_OQ);  // cut ≥ 1, and what is not in the row weighs 0
      const __m256 left = _mm256_andnot_ps(chosen, w);
      if (low) {
        few = _mm256_add_epi32(few, _mm256_cvttps_epi32(left));
      } else {
        rest = AddWide(rest, CutFraction(left));
      }
      const int m = _mm256_movemask_ps(chosen);
      if (m == 0) continue;
      const __m256 whole = CutFraction(_mm256_and_ps(chosen, w));
      const __m256i id = ids ? _mm256_maskload_epi32(reinterpret_cast<const int*>(ids + i), in)
                             : _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(i)), first);
      const __m256i order = _mm256_load_si256(reinterpret_cast<const __m256i*>(kCompress.lanes[m]));
      _mm256_storeu_ps(kept_weights + count, _mm256_permutevar8x32_ps(whole, order));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(kept_ids + count), _mm256_permutevar8x32_epi32(id, order));
      count += static_cast<size_t>(__builtin_popcount(static_cast<unsigned>(m)));
      sum = AddWide(sum, whole);
    }
    rest = _mm256_add_epi64(rest, _mm256_add_epi64(_mm256_cvtepu32_epi64(_mm256_castsi256_si128(few)),
                                                   _mm256_cvtepu32_epi64(_mm256_extracti128_si256(few, 1))));
  }
  *kept = count;
  *kept_sum = Sum(sum);
  return Sum(rest) + *kept_sum;
}

size_t Keep(const float* weights, const uint32_t* ids, size_t n, float cut, float* kept_weights, uint32_t* kept_ids, uint64_t* sum) {
  const __m256 vcut = _mm256_set1_ps(cut);
  __m256i total = _mm256_setzero_si256();
  size_t kept = 0;
  for (size_t i = 0; i < n; i += 8) {
    const __m256i in = TailMask(n - i);
    const __m256 w = i + 8 <= n ? _mm256_loadu_ps(weights + i) : _mm256_maskload_ps(weights + i, in);
    const __m256 chosen = _mm256_and_ps(_mm256_cmp_ps(w, vcut, _CMP_GE_OQ), _mm256_castsi256_ps(in));
    const int m = _mm256_movemask_ps(chosen);
    if (m == 0) continue;
    const __m256i id = ids ? (i + 8 <= n ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ids + i))
                                         : _mm256_maskload_epi32(reinterpret_cast<const int*>(ids + i), in))
                           : _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(i)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256i order = _mm256_load_si256(reinterpret_cast<const __m256i*>(kCompress.lanes[m]));
    _mm256_storeu_ps(kept_weights + kept, _mm256_permutevar8x32_ps(w, order));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(kept_ids + kept), _mm256_permutevar8x32_epi32(id, order));
    kept += static_cast<size_t>(__builtin_popcount(static_cast<unsigned>(m)));
    total = AddWide(total, _mm256_and_ps(w, chosen));
  }
  *sum = Sum(total);
  return kept;
}

Split SplitRow(const float* weights, size_t n, float low, float high, float* middle) {
  const __m256 vlow = _mm256_set1_ps(low), vhigh = _mm256_set1_ps(high);
  __m256i above_sum = _mm256_setzero_si256(), middle_sum = above_sum;
  Split out;
  for (size_t i = 0; i < n; i += 8) {
    const __m256i in = TailMask(n - i);
    const __m256 w = i + 8 <= n ? _mm256_loadu_ps(weights + i) : _mm256_maskload_ps(weights + i, in);
    const __m256 above = _mm256_and_ps(_mm256_cmp_ps(w, vhigh, _CMP_GE_OQ), _mm256_castsi256_ps(in));
    const __m256 between =
        _mm256_andnot_ps(above, _mm256_and_ps(_mm256_cmp_ps(w, vlow, _CMP_GE_OQ), _mm256_castsi256_ps(in)));
    const int above_lanes = _mm256_movemask_ps(above), between_lanes = _mm256_movemask_ps(between);
    if (above_lanes) {
      out.above += static_cast<size_t>(__builtin_popcount(static_cast<unsigned>(above_lanes)));
      above_sum = AddWide(above_sum, _mm256_and_ps(w, above));
    }
    if (between_lanes) {
      const __m256i order = _mm256_load_si256(reinterpret_cast<const __m256i*>(kCompress.lanes[between_lanes]));
      _mm256_storeu_ps(middle + out.middle, _mm256_permutevar8x32_ps(w, order));
      out.middle += static_cast<size_t>(__builtin_popcount(static_cast<unsigned>(between_lanes)));
      middle_sum = AddWide(middle_sum, _mm256_and_ps(w, between));
    }
  }
  out.above_sum = Sum(above_sum);
  out.middle_sum = Sum(middle_sum);
  return out;
}

uint64_t SumRow(const float* weights, size_t n) {
  __m256i sum = _mm256_setzero_si256();
  size_t i = 0;
  for (; i + 8 <= n; i += 8) sum = AddWide(sum, _mm256_loadu_ps(weights + i));
  if (i < n) sum = AddWide(sum, _mm256_maskload_ps(weights + i, TailMask(n - i)));
  return Sum(sum);
}

size_t Race(const uint32_t* words, const float* weights, size_t n) {
  size_t best = 0;
  double arrival = 0;
  // As in AVX-512: (1 − u) in single precision from the high 31 bits, rounded down, against best·w rounded up.
  float limit = kInfinity;
  for (size_t i = 0; i < n; i += 8) {
    const __m256i in = TailMask(n - i);
    const __m256i word = _mm256_maskload_epi32(reinterpret_cast<const int*>(words + i), in);
    const __m256 w = _mm256_maskload_ps(weights + i, in);
    const __m256i inverted = _mm256_xor_si256(word, _mm256_set1_epi32(-1));
    const __m256 low = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(inverted, 1)), _mm256_set1_ps(0x1p-31f * (1.0f - 0x1p-20f)));
    const __m256 tried = _mm256_cmp_ps(low, _mm256_mul_ps(w, _mm256_set1_ps(limit)), _CMP_LE_OQ);
    unsigned hits = static_cast<unsigned>(_mm256_movemask_ps(_mm256_and_ps(tried, _mm256_castsi256_ps(in))));
    for (; hits != 0; hits &= hits - 1) {
      const size_t j = i + static_cast<size_t>(__builtin_ctz(hits));
      const double a = row_kernels::Arrival(words[j], weights[j]);
      if (limit == kInfinity || a < arrival) {
        arrival = a;
        best = j;
        limit = row_kernels::RaceLimit(a);
      }
    }
  }
  return best;
}

void AddGreen(const uint8_t* bytes, size_t n, uint32_t green, float delta, float* logits) {
  const __m256 d = _mm256_set1_ps(delta);
  const __m256i g = _mm256_set1_epi32(static_cast<int>(green));
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256i b = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes + i)));
    const __m256 is_green = _mm256_castsi256_ps(_mm256_cmpgt_epi32(g, b));
    const __m256 z = _mm256_loadu_ps(logits + i);
    _mm256_storeu_ps(logits + i, _mm256_blendv_ps(z, _mm256_add_ps(z, d), is_green));
  }
  for (; i < n; ++i) {
    if (bytes[i] < green) logits[i] += delta;
  }
}

uint64_t Tilt(const uint8_t* bytes, const float* weights, size_t n, uint32_t green, uint64_t red_factor, uint64_t* tilted) {
  __m256i sum = _mm256_setzero_si256();
  const __m256i factor = _mm256_set1_epi64x(static_cast<int64_t>(red_factor)), g = _mm256_set1_epi64x(green);
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    int four;
    __builtin_memcpy(&four, bytes + i, 4);
    const __m256i is_green = _mm256_cmpgt_epi64(g, _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(four)));
    const __m256i w = ToInt64(_mm_loadu_ps(weights + i));
    // The factor has at most 24 bits and w at most 41: two 32-bit products.
    const __m256i product = _mm256_add_epi64(_mm256_mul_epu32(w, factor),
                                             _mm256_slli_epi64(_mm256_mul_epu32(_mm256_srli_epi64(w, 32), factor), 32));
    const __m256i out = _mm256_blendv_epi8(_mm256_srli_epi64(product, 23), w, is_green);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(tilted + i), out);
    sum = _mm256_add_epi64(sum, out);
  }
  uint64_t total = Sum(sum);
  for (; i < n; ++i) {
    const uint64_t w = static_cast<uint64_t>(weights[i]);
    tilted[i] = bytes[i] < green ? w : w * red_factor >> 23;
    total += tilted[i];
  }
  return total;
}

}  // namespace

const Kernels kAvx2 = {"avx2", Max, Weights, Weigh, Keep, SplitRow, SumRow, Race, AddGreen, Tilt};

}  // namespace countermark::row_kernels
