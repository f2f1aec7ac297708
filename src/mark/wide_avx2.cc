// The wide kernels at 8 lanes: AVX2 and FMA.
#include <immintrin.h>

#include <cstdint>

#include "src/mark/wide_kernels.h"

namespace countermark::wide {
namespace {

struct L {
  using V = __m256i;
  using M = __m256i;  // a lane's top bit (Blend), or all of its bits (AddIf, Count)
  using W = __m256i;
  static constexpr uint32_t kLanes = 8;
#define CM_OP static inline __attribute__((always_inline))
  CM_OP V Set(uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
  CM_OP V Load(const uint32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  CM_OP V LoadPart(const uint32_t* p, uint32_t n) {
    if (n == kLanes) return Load(p);
    return _mm256_maskload_epi32(reinterpret_cast<const int*>(p), _mm256_cmpgt_epi32(Set(n), Iota()));
  }
  CM_OP void Store(uint32_t* p, V x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  CM_OP V Iota() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  CM_OP V Add(V a, V b) { return _mm256_add_epi32(a, b); }
  CM_OP V Sub(V a, V b) { return _mm256_sub_epi32(a, b); }
  CM_OP V Xor(V a, V b) { return _mm256_xor_si256(a, b); }
  CM_OP V Or(V a, V b) { return _mm256_or_si256(a, b); }
  CM_OP V And(V a, V b) { return _mm256_and_si256(a, b); }
  template <int n> CM_OP V Shl(V a) { return _mm256_slli_epi32(a, n); }
  template <int n> CM_OP V Shr(V a) { return _mm256_srli_epi32(a, n); }
  CM_OP V ShrBy(V a, int n) { return _mm256_srl_epi32(a, _mm_cvtsi32_si128(n)); }
  // By whole bytes one shuffle, else two shifts.
  template <int n> CM_OP V Rotl(V a) {
    if constexpr (n == 16) {
      return _mm256_shuffle_epi8(a, _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
                                                     2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    } else if constexpr (n == 8) {
      return _mm256_shuffle_epi8(a, _mm256_setr_epi8(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
                                                     3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14));
    } else {
      return Or(Shl<n>(a), Shr<32 - n>(a));
    }
  }
  CM_OP V Blend(M m, V if_false, V if_true) {
    return _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(if_false), _mm256_castsi256_ps(if_true), _mm256_castsi256_ps(m)));
  }
  template <int b> CM_OP M Bit(V a) { return Shl<31 - b>(a); }
  CM_OP M Equal(V a, V b) { return _mm256_cmpeq_epi32(a, b); }
  CM_OP V Permute(V table, V index) { return _mm256_permutevar8x32_epi32(table, index); }
  CM_OP V AddIf(M m, V sum, V x) { return Add(sum, And(m, x)); }
  CM_OP V AddIfGreater(V sum, V a, V b) { return Sub(sum, _mm256_cmpgt_epi32(a, b)); }
  CM_OP uint32_t Count(M m) { return static_cast<uint32_t>(__builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(m))))); }

  CM_OP __m256d AsD(W a) { return _mm256_castsi256_pd(a); }
  CM_OP W AsW(__m256d a) { return _mm256_castpd_si256(a); }
  CM_OP W WSet(uint64_t x) { return _mm256_set1_epi64x(static_cast<long long>(x)); }
  CM_OP W WLoad(const uint64_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  CM_OP void WStore(uint64_t* p, W a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
  CM_OP W WidenLow(V a) { return _mm256_cvtepu32_epi64(_mm256_castsi256_si128(a)); }
  CM_OP W WidenHigh(V a) { return _mm256_cvtepu32_epi64(_mm256_extracti128_si256(a, 1)); }
  CM_OP W WAdd(W a, W b) { return _mm256_add_epi64(a, b); }
  CM_OP W WAnd(W a, W b) { return _mm256_and_si256(a, b); }
  CM_OP W WOr(W a, W b) { return _mm256_or_si256(a, b); }
  CM_OP W WXor(W a, W b) { return _mm256_xor_si256(a, b); }
  CM_OP W WShr52(W a) { return _mm256_srli_epi64(a, 52); }
  CM_OP W WAddIfLow(M m, W sum, W x) { return WAdd(sum, WAnd(x, _mm256_cvtepi32_epi64(_mm256_castsi256_si128(m)))); }
  CM_OP W WAddIfHigh(M m, W sum, W x) { return WAdd(sum, WAnd(x, _mm256_cvtepi32_epi64(_mm256_extracti128_si256(m, 1)))); }
  CM_OP W DSet(double x) { return AsW(_mm256_set1_pd(x)); }
  CM_OP W DAdd(W a, W b) { return AsW(_mm256_add_pd(AsD(a), AsD(b))); }
  CM_OP W DSub(W a, W b) { return AsW(_mm256_sub_pd(AsD(a), AsD(b))); }
  CM_OP W DMul(W a, W b) { return AsW(_mm256_mul_pd(AsD(a), AsD(b))); }
  CM_OP W DDiv(W a, W b) { return AsW(_mm256_div_pd(AsD(a), AsD(b))); }
  CM_OP W DFma(W a, W b, W c) { return AsW(_mm256_fmadd_pd(AsD(a), AsD(b), AsD(c))); }
  CM_OP W DFloor(W a) { return AsW(_mm256_floor_pd(AsD(a))); }
  CM_OP uint32_t DLess(W a, W b) { return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(AsD(a), AsD(b), _CMP_LT_OQ))); }

  // Four words of four blocks at a time, then pairs of such groups by 128-bit halves.
  CM_OP void Transpose(const V s[16], void* out) {
    uint8_t* to = static_cast<uint8_t*>(out);
    for (int half = 0; half < 2; ++half) {
      V q[2][4];
      for (int g = 0; g < 2; ++g) {
        const V* row = s + 8 * half + 4 * g;
        const V a = _mm256_unpacklo_epi32(row[0], row[1]), b = _mm256_unpackhi_epi32(row[0], row[1]);
        const V c = _mm256_unpacklo_epi32(row[2], row[3]), d = _mm256_unpackhi_epi32(row[2], row[3]);
        q[g][0] = _mm256_unpacklo_epi64(a, c);
        q[g][1] = _mm256_unpackhi_epi64(a, c);
        q[g][2] = _mm256_unpacklo_epi64(b, d);
        q[g][3] = _mm256_unpackhi_epi64(b, d);
      }
      for (int i = 0; i < 4; ++i) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 64 * i + 32 * half), _mm256_permute2x128_si256(q[0][i], q[1][i], 0x20));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 64 * (4 + i) + 32 * half), _mm256_permute2x128_si256(q[0][i], q[1][i], 0x31));
      }
    }
  }
#undef CM_OP
};

#include "src/mark/wide_body.inc"

}  // namespace

const Kernels kAvx2Kernels = {"avx2", kLanes, Stream, WordsAt, BytesAt, Route, Score, ScoreKeys, GumbelScores};

}  // namespace countermark::wide
