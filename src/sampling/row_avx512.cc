// The row loops in AVX-512 (F, BW, DQ, VL). Compiled with those flags; nothing here may be inlined elsewhere.
#include <immintrin.h>

#include "src/sampling/row_kernels.h"

namespace countermark::row_kernels {
namespace {

constexpr float kInfinity = __builtin_inff();

inline __mmask16 TailMask(size_t left) { return left >= 16 ? 0xFFFF : static_cast<__mmask16>((1u << left) - 1); }

inline __m512i AddWide(__m512i sum, __m512 w) {
  sum = _mm512_add_epi64(sum, _mm512_cvttps_epi64(_mm512_castps512_ps256(w)));
  return _mm512_add_epi64(sum, _mm512_cvttps_epi64(_mm512_extractf32x8_ps(w, 1)));
}

float Max(const float* z, size_t n, bool* nan, bool* infinite) {
  // max_ps gives its second operand when either is NaN: with the running maximum there, a NaN never gets in.
  __m512 max0 = _mm512_set1_ps(-kInfinity), max1 = max0, max2 = max0, max3 = max0;
  __mmask16 bad = 0;
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    const __m512 a = _mm512_loadu_ps(z + i), b = _mm512_loadu_ps(z + i + 16), c = _mm512_loadu_ps(z + i + 32),
                 d = _mm512_loadu_ps(z + i + 48);
    bad |= _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q) | _mm512_cmp_ps_mask(c, d, _CMP_UNORD_Q);
    max0 = _mm512_max_ps(a, max0);
    max1 = _mm512_max_ps(b, max1);
    max2 = _mm512_max_ps(c, max2);
    max3 = _mm512_max_ps(d, max3);
  }
  for (; i < n; i += 16) {
    const __m512 a = _mm512_mask_loadu_ps(_mm512_set1_ps(-kInfinity), TailMask(n - i), z + i);
    bad |= _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    max0 = _mm512_max_ps(a, max0);
  }
  if (bad) *nan = true;
  const float max = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(max0, max1), _mm512_max_ps(max2, max3)));
  *infinite = max == kInfinity;
  return max;
}

// Sixteen weights before their fractions are cut off, and which of them count; see mark/weight.h.
inline __m512 UncutWeightsOf(__m512 z, __m512 max, __m512 scale, __mmask16* live) {
  const __m512 d = _mm512_sub_ps(z, max);
  const __m512 t = _mm512_mul_ps(d, scale);
  *live = _mm512_cmp_ps_mask(t, _mm512_set1_ps(-41.0f), _CMP_GE_OQ);  // false for NaN
  const __m512 k = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_fmsub_ps(d, scale, k);
  __m512 p = _mm512_set1_ps(1.537070493e-04f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.339984825e-03f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.618373588e-03f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.550329015e-02f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.402264774e-01f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931471825e-01f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  // p·2^(k+40) by adding to the exponent: exact, p being normal and the result at least 2⁻².
  const __m512i exponent = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(k), _mm512_set1_epi32(40)), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent));
}

inline __m512 CutFraction(__mmask16 live, __m512 w) { return _mm512_maskz_roundscale_ps(live, w, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }

uint64_t Weights(const float* z, size_t n, float max, float scale, float* weights) {
  const __m512 vmax = _mm512_set1_ps(max), vscale = _mm512_set1_ps(scale);
  __m512i sum = _mm512_setzero_si512();
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 in = TailMask(n - i);
    __mmask16 live;
    const __m512 uncut = UncutWeightsOf(_mm512_mask_loadu_ps(_mm512_set1_ps(-kInfinity), in, z + i), vmax, vscale, &live);
    const __m512 w = CutFraction(live, uncut);
    _mm512_mask_storeu_ps(weights + i, in, w);
    sum = AddWide(sum, w);
  }
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(sum));
}

// Copies the lanes in `keep` and adds them to the sum.
struct Kept {
  float* weights;
  uint32_t* ids;
  size_t count = 0;
  __m512i sum = _mm512_setzero_si512();

  void Take(__mmask16 keep, __m512 w, __m512i id) {
    _mm512_storeu_ps(weights + count, _mm512_maskz_compress_ps(keep, w));
    _mm512_storeu_si512(ids + count, _mm512_maskz_compress_epi32(keep, id));
    count += static_cast<size_t>(__builtin_popcount(keep));
    sum = AddWide(sum, _mm512_maskz_mov_ps(keep, w));
  }
};

uint64_t Weigh(const float* z, const uint32_t* ids, size_t n, float max, float scale, float cut, float* kept_weights, uint32_t* kept_ids, size_t* kept,
               uint64_t* kept_sum) {
  const __m512 vmax = _mm512_set1_ps(max), vscale = _mm512_set1_ps(scale), vcut = _mm512_set1_ps(cut);
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  // What is not kept is below the cut: under a low cut 32 bits hold the sum of a block of it, which is then carried to 64. Cut ≥ 1.
  const bool low = cut <= 0x1p27f;
  const size_t block = 16 * (cut <= 0x1p25f ? 63 : 15);  // 63·2²⁵ and 15·2²⁷ < 2³¹
  __m512i rest = _mm512_setzero_si512();
  Kept out = {kept_weights, kept_ids};
  for (size_t begin = 0; begin < n; begin += block) {
    const size_t end = n - begin < block ? n : begin + block;
    __m512i few = _mm512_setzero_si512();
    for (size_t i = begin; i < end; i += 16) {
      const __mmask16 in = TailMask(end - i);
      __mmask16 live;
      const __m512 w = UncutWeightsOf(_mm512_mask_loadu_ps(_mm512_set1_ps(-kInfinity), in, z + i), vmax, vscale, &live);
      const __mmask16 keep = _mm512_mask_cmp_ps_mask(live, w, vcut, _CMP_GE_OQ);
      const __mmask16 leave = static_cast<__mmask16>(live & ~keep);
      if (low) {
        few = _mm512_add_epi32(few, _mm512_maskz_cvttps_epi32(leave, w));
      } else {
        rest = AddWide(rest, CutFraction(leave, w));
      }
      if (keep) {
        const __m512i id = ids ? _mm512_maskz_loadu_epi32(in, ids + i) : _mm512_add_epi32(first, _mm512_set1_epi32(static_cast<int>(i)));
        out.Take(keep, CutFraction(keep, w), id);
      }
    }
    rest = _mm512_add_epi64(rest, _mm512_add_epi64(_mm512_cvtepu32_epi64(_mm512_castsi512_si256(few)),
                                                   _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(few, 1))));
  }
  *kept = out.count;
  *kept_sum = static_cast<uint64_t>(_mm512_reduce_add_epi64(out.sum));
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(rest)) + *kept_sum;
}

size_t Keep(const float* weights, const uint32_t* ids, size_t n, float cut, float* kept_weights, uint32_t* kept_ids, uint64_t* sum) {
  const __m512 vcut = _mm512_set1_ps(cut);
  __m512i total = _mm512_setzero_si512();
  __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i step = _mm512_set1_epi32(16);
  size_t kept = 0;
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 in = TailMask(n - i);
    const __m512 w = _mm512_maskz_loadu_ps(in, weights + i);
    const __mmask16 keep = _mm512_mask_cmp_ps_mask(in, w, vcut, _CMP_GE_OQ);
    if (keep) {
      const __m512i id = ids ? _mm512_maskz_loadu_epi32(in, ids + i) : place;
      // Compress in a register, then store whole: a compressing store is slow on some processors.
      _mm512_storeu_ps(kept_weights + kept, _mm512_maskz_compress_ps(keep, w));
      _mm512_storeu_si512(kept_ids + kept, _mm512_maskz_compress_epi32(keep, id));
      kept += static_cast<size_t>(__builtin_popcount(keep));
      total = AddWide(total, _mm512_maskz_mov_ps(keep, w));
    }
    place = _mm512_add_epi32(place, step);
  }
  *sum = static_cast<uint64_t>(_mm512_reduce_add_epi64(total));
  return kept;
}

Split SplitRow(const float* weights, size_t n, float low, float high, float* middle) {
  const __m512 vlow = _mm512_set1_ps(low), vhigh = _mm512_set1_ps(high);
  __m512i above_sum = _mm512_setzero_si512(), middle_sum = above_sum;
  Split out;
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 in = TailMask(n - i);
    const __m512 w = _mm512_maskz_loadu_ps(in, weights + i);
    const __mmask16 above = _mm512_mask_cmp_ps_mask(in, w, vhigh, _CMP_GE_OQ);
    const __mmask16 between = _mm512_mask_cmp_ps_mask(static_cast<__mmask16>(in & ~above), w, vlow, _CMP_GE_OQ);
    if (above) {
      out.above += static_cast<size_t>(__builtin_popcount(above));
      above_sum = AddWide(above_sum, _mm512_maskz_mov_ps(above, w));
    }
    if (between) {
      _mm512_storeu_ps(middle + out.middle, _mm512_maskz_compress_ps(between, w));
      out.middle += static_cast<size_t>(__builtin_popcount(between));
      middle_sum = AddWide(middle_sum, _mm512_maskz_mov_ps(between, w));
    }
  }
  out.above_sum = static_cast<uint64_t>(_mm512_reduce_add_epi64(above_sum));
  out.middle_sum = static_cast<uint64_t>(_mm512_reduce_add_epi64(middle_sum));
  return out;
}

uint64_t SumRow(const float* weights, size_t n) {
  __m512i sum = _mm512_setzero_si512();
  for (size_t i = 0; i < n; i += 16) sum = AddWide(sum, _mm512_maskz_loadu_ps(TailMask(n - i), weights + i));
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(sum));
}

size_t Race(const uint32_t* words, const float* weights, size_t n) {
  size_t best = 0;
  double arrival = 0;
  // A token is tried when (1 − u)·(1 − 2⁻²⁰) ≤ best·w·(1 + 2⁻²⁰) in single precision: never tighter than GumbelArrivalBound.
  float limit = kInfinity;
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 in = TailMask(n - i);
    const __m512i word = _mm512_maskz_loadu_epi32(in, words + i);
    const __m512 w = _mm512_maskz_loadu_ps(in, weights + i);
    const __m512 low = _mm512_mul_ps(_mm512_cvtepu32_ps(_mm512_xor_si512(word, _mm512_set1_epi32(-1))),
                                     _mm512_set1_ps(0x1p-32f * (1.0f - 0x1p-20f)));
    unsigned hits = _mm512_mask_cmp_ps_mask(in, low, _mm512_mul_ps(w, _mm512_set1_ps(limit)), _CMP_LE_OQ);
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
  const __m512 d = _mm512_set1_ps(delta);
  const __m512i g = _mm512_set1_epi8(static_cast<char>(green));
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    uint64_t m = _mm512_cmplt_epu8_mask(_mm512_loadu_si512(bytes + i), g);
    for (int j = 0; j < 4; ++j, m >>= 16) {
      const __m512 z = _mm512_loadu_ps(logits + i + 16 * j);
      _mm512_storeu_ps(logits + i + 16 * j, _mm512_mask_add_ps(z, static_cast<__mmask16>(m), z, d));
    }
  }
  for (; i < n; ++i) {
    if (bytes[i] < green) logits[i] += delta;
  }
}

uint64_t Tilt(const uint8_t* bytes, const float* weights, size_t n, uint32_t green, uint64_t red_factor, uint64_t* tilted) {
  __m512i sum = _mm512_setzero_si512();
  const __m512i factor = _mm512_set1_epi64(static_cast<int64_t>(red_factor));
  const __m128i g = _mm_set1_epi8(static_cast<char>(green));
  for (size_t i = 0; i < n; i += 8) {
    const __mmask8 in = n - i >= 8 ? 0xFF : static_cast<__mmask8>((1u << (n - i)) - 1);
    const __m512i w = _mm512_cvttps_epi64(_mm256_maskz_loadu_ps(in, weights + i));
    const __mmask8 green_lanes = static_cast<__mmask8>(_mm_mask_cmplt_epu8_mask(in, _mm_maskz_loadu_epi8(in, bytes + i), g));
    const __m512i red = _mm512_srli_epi64(_mm512_mullo_epi64(w, factor), 23);
    const __m512i out = _mm512_mask_mov_epi64(red, green_lanes, w);
    _mm512_mask_storeu_epi64(tilted + i, in, out);
    sum = _mm512_add_epi64(sum, out);
  }
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(sum));
}

}  // namespace

const Kernels kAvx512 = {"avx512", Max, Weights, Weigh, Keep, SplitRow, SumRow, Race, AddGreen, Tilt};

}  // namespace countermark::row_kernels
