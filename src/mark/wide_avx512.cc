// The wide kernels at 16 lanes: AVX-512 F, BW, DQ and VL.
#include <immintrin.h>

#include <cstdint>

#include "src/mark/wide_kernels.h"

namespace countermark::wide {
namespace {

struct L {
  using V = __m512i;
  using M = __mmask16;
  using W = __m512i;
  static constexpr uint32_t kLanes = 16;
#define CM_OP static inline __attribute__((always_inline))
  CM_OP V Set(uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
  CM_OP V Load(const uint32_t* p) { return _mm512_loadu_si512(p); }
  CM_OP V LoadPart(const uint32_t* p, uint32_t n) { return _mm512_maskz_loadu_epi32(static_cast<M>((1u << n) - 1), p); }
  CM_OP void Store(uint32_t* p, V x) { _mm512_storeu_si512(p, x); }
  CM_OP V Iota() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
  CM_OP V Add(V a, V b) { return _mm512_add_epi32(a, b); }
  CM_OP V Sub(V a, V b) { return _mm512_sub_epi32(a, b); }
  CM_OP V Xor(V a, V b) { return _mm512_xor_si512(a, b); }
  CM_OP V Or(V a, V b) { return _mm512_or_si512(a, b); }
  CM_OP V And(V a, V b) { return _mm512_and_si512(a, b); }
  template <int n> CM_OP V Shl(V a) { return _mm512_slli_epi32(a, n); }
  template <int n> CM_OP V Shr(V a) { return _mm512_srli_epi32(a, n); }
  CM_OP V ShrBy(V a, int n) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n)); }
  template <int n> CM_OP V Rotl(V a) { return _mm512_rol_epi32(a, n); }
  CM_OP V Blend(M m, V if_false, V if_true) { return _mm512_mask_blend_epi32(m, if_false, if_true); }
  template <int b> CM_OP M Bit(V a) { return _mm512_test_epi32_mask(a, Set(1u << b)); }
  CM_OP M Equal(V a, V b) { return _mm512_cmpeq_epi32_mask(a, b); }
  CM_OP V Permute(V table, V index) { return _mm512_permutexvar_epi32(index, table); }
  CM_OP V AddIf(M m, V sum, V x) { return _mm512_mask_add_epi32(sum, m, sum, x); }
  CM_OP V AddIfGreater(V sum, V a, V b) { return AddIf(_mm512_cmpgt_epi32_mask(a, b), sum, Set(1)); }
  CM_OP uint32_t Count(M m) { return static_cast<uint32_t>(__builtin_popcount(m)); }

  CM_OP __m512d AsD(W a) { return _mm512_castsi512_pd(a); }
  CM_OP W AsW(__m512d a) { return _mm512_castpd_si512(a); }
  CM_OP W WSet(uint64_t x) { return _mm512_set1_epi64(static_cast<long long>(x)); }
  CM_OP W WLoad(const uint64_t* p) { return _mm512_loadu_si512(p); }
  CM_OP void WStore(uint64_t* p, W a) { _mm512_storeu_si512(p, a); }
  CM_OP W WidenLow(V a) { return _mm512_cvtepu32_epi64(_mm512_castsi512_si256(a)); }
  CM_OP W WidenHigh(V a) { return _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(a, 1)); }
  CM_OP W WAdd(W a, W b) { return _mm512_add_epi64(a, b); }
  CM_OP W WAnd(W a, W b) { return _mm512_and_si512(a, b); }
  CM_OP W WOr(W a, W b) { return _mm512_or_si512(a, b); }
  CM_OP W WXor(W a, W b) { return _mm512_xor_si512(a, b); }
  CM_OP W WShr52(W a) { return _mm512_srli_epi64(a, 52); }
  CM_OP W WAddIfLow(M m, W sum, W x) { return _mm512_mask_add_epi64(sum, static_cast<__mmask8>(m), sum, x); }
  CM_OP W WAddIfHigh(M m, W sum, W x) { return _mm512_mask_add_epi64(sum, static_cast<__mmask8>(m >> 8), sum, x); }
  CM_OP W DSet(double x) { return AsW(_mm512_set1_pd(x)); }
  CM_OP W DAdd(W a, W b) { return AsW(_mm512_add_pd(AsD(a), AsD(b))); }
  CM_OP W DSub(W a, W b) { return AsW(_mm512_sub_pd(AsD(a), AsD(b))); }
  CM_OP W DMul(W a, W b) { return AsW(_mm512_mul_pd(AsD(a), AsD(b))); }
  CM_OP W DDiv(W a, W b) { return AsW(_mm512_div_pd(AsD(a), AsD(b))); }
  CM_OP W DFma(W a, W b, W c) { return AsW(_mm512_fmadd_pd(AsD(a), AsD(b), AsD(c))); }
  CM_OP W DFloor(W a) { return AsW(_mm512_roundscale_pd(AsD(a), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)); }
  CM_OP uint32_t DLess(W a, W b) { return _mm512_cmp_pd_mask(AsD(a), AsD(b), _CMP_LT_OQ); }

  // Four words of four blocks at a time, then four such groups by 128-bit quarters.
  CM_OP void Transpose(const V s[16], void* out) {
    V q[4][4];
    for (int g = 0; g < 4; ++g) {
      const V a = _mm512_unpacklo_epi32(s[4 * g], s[4 * g + 1]), b = _mm512_unpackhi_epi32(s[4 * g], s[4 * g + 1]);
      const V c = _mm512_unpacklo_epi32(s[4 * g + 2], s[4 * g + 3]), d = _mm512_unpackhi_epi32(s[4 * g + 2], s[4 * g + 3]);
      q[g][0] = _mm512_unpacklo_epi64(a, c);
      q[g][1] = _mm512_unpackhi_epi64(a, c);
      q[g][2] = _mm512_unpacklo_epi64(b, d);
      q[g][3] = _mm512_unpackhi_epi64(b, d);
    }
    uint8_t* to = static_cast<uint8_t*>(out);
    for (int i = 0; i < 4; ++i) {
      const V even01 = _mm512_shuffle_i32x4(q[0][i], q[1][i], 0x88), even23 = _mm512_shuffle_i32x4(q[2][i], q[3][i], 0x88);
      const V odd01 = _mm512_shuffle_i32x4(q[0][i], q[1][i], 0xDD), odd23 = _mm512_shuffle_i32x4(q[2][i], q[3][i], 0xDD);
      _mm512_storeu_si512(to + 64 * i, _mm512_shuffle_i32x4(even01, even23, 0x88));
      _mm512_storeu_si512(to + 64 * (4 + i), _mm512_shuffle_i32x4(odd01, odd23, 0x88));
      _mm512_storeu_si512(to + 64 * (8 + i), _mm512_shuffle_i32x4(even01, even23, 0xDD));
      _mm512_storeu_si512(to + 64 * (12 + i), _mm512_shuffle_i32x4(odd01, odd23, 0xDD));
    }
  }
#undef CM_OP
};

#include "src/mark/wide_body.inc"

}  // namespace

const Kernels kAvx512Kernels = {"avx512", kLanes, Stream, WordsAt, BytesAt, Route, Score, ScoreKeys, GumbelScores};

}  // namespace countermark::wide
