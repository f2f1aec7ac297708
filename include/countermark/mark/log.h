// Two logarithms that give the same bits on every host and device.
//
// NegativeLog: a double, for choosing a token. FixedNegativeLog: an exact integer, for scoring one.
#ifndef COUNTERMARK_MARK_LOG_H_
#define COUNTERMARK_MARK_LOG_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#include "countermark/mark/platform.h"
#include "countermark/mark/wide_integer.h"

namespace countermark {

// −ln((word + 0.5)/2³²) > 0, to within one unit in the last place: fdlibm's e_log.c with its products and sums fused by explicit fma, so
// that no compiler's contraction can change a bit.
COUNTERMARK_HD inline double NegativeLog(uint32_t word) {
  // (word + ½)/2³² = (2·word + 1)/2³³ = 2^k·m with √½ ≤ m < √2, exactly.
  const double x = static_cast<double>(2 * static_cast<uint64_t>(word) + 1);
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  // fdlibm's normalisation: the high word plus 0x95f64 carries into the exponent just when m ≥ √2.
  const uint32_t high = static_cast<uint32_t>(bits >> 32);
  const uint32_t mantissa = high & 0x000FFFFF;
  const uint32_t carry = (mantissa + 0x95F64) & 0x100000;
  const int k = static_cast<int>(high >> 20) - 1023 + static_cast<int>(carry >> 20) - 33;
  bits = (static_cast<uint64_t>(mantissa | (carry ^ 0x3FF00000)) << 32) | (bits & 0xFFFFFFFF);
  double m;
  std::memcpy(&m, &bits, sizeof m);

  const double f = m - 1.0;  // exact
  const double s = f / (2.0 + f);
  const double z = s * s;
  const double w = z * z;
  const double p1 = std::fma(w, std::fma(w, 1.531383769920937332e-01, 2.222219843214978396e-01), 3.999999999940941908e-01);
  const double p2 = std::fma(w, std::fma(w, std::fma(w, 1.479819860511658591e-01, 1.818357216161805012e-01),
                                         2.857142874366239149e-01), 6.666666666666735130e-01);
  const double r = std::fma(w, p1, z * p2);
  const double half_f = 0.5 * f;  // exact
  const double dk = static_cast<double>(k);
  // ln = k·ln2_hi − ((f²/2 − (s·(f²/2 + R) + k·ln2_lo)) − f); k·ln2_hi is exact, ln2_hi ending in zeros.
  const double low = std::fma(dk, 1.90821492927058770002e-10, s * std::fma(half_f, f, r));
  return std::fma(-dk, 6.93147180369123816490e-01, std::fma(half_f, f, -low) - f);
}

// The reduction both fixed-point forms share. With n = 2³² − word = 2^e·y, 1 ≤ y < 2: −ln(n/2³²) = (32 − e)·ln 2 − ln y, and ln y =
// ln(1 + r) − ln c, where c is a 16-bit reciprocal chosen by y's first 7 fraction bits, and r = y·c − 1, exactly, |r| < 2⁻⁷.
struct FixedLogParts {
  int e;            // 0 … 31
  int index;        // of c
  int64_t r;        // in units of 2⁻⁴⁷
  uint64_t log_c;   // −ln c in units of 2⁻⁶⁴, rounded
};

COUNTERMARK_HD inline FixedLogParts SplitForFixedLog(uint32_t word) {
  static constexpr uint32_t kReciprocal[128] = {  // round(2¹⁶ / (1 + (i + ½)/128))
      65281, 64777, 64281, 63792, 63310, 62836, 62369, 61909, 61455, 61008, 60568, 60133, 59705, 59283, 58867, 58457,
      58053, 57654, 57260, 56872, 56489, 56111, 55738, 55370, 55007, 54649, 54295, 53946, 53601, 53261, 52925, 52593,
      52265, 51942, 51622, 51306, 50995, 50686, 50382, 50081, 49784, 49490, 49200, 48913, 48630, 48349, 48072, 47798,
      47528, 47260, 46995, 46733, 46474, 46218, 45965, 45714, 45467, 45222, 44979, 44739, 44502, 44267, 44035, 43805,
      43577, 43352, 43129, 42908, 42690, 42474, 42260, 42048, 41838, 41631, 41425, 41222, 41020, 40820, 40623, 40427,
      40233, 40041, 39851, 39662, 39476, 39291, 39108, 38926, 38746, 38568, 38392, 38217, 38044, 37872, 37702, 37533,
      37366, 37200, 37036, 36873, 36712, 36552, 36393, 36236, 36080, 35926, 35772, 35620, 35470, 35320, 35172, 35026,
      34880, 34735, 34592, 34450, 34309, 34169, 34031, 33893, 33757, 33622, 33487, 33354, 33222, 33091, 32961, 32832};
  static constexpr uint64_t kReciprocalLog[128] = {  // round(−ln(kReciprocal[i]/2¹⁶)·2⁶⁴)
      0x00FF7F551588DE02, 0x02FB6DEBF18DCEC2, 0x04F32C10F02DD34D, 0x06E7A009F8646364, 0x08D8AEC49A6EC158, 0x0AC531D7E47A6A46,
      0x0CAE148768667548, 0x0E933AC58B121F92, 0x1075993598E4F130, 0x1254062F0A9416FE, 0x142E64BEC266E772, 0x1606C5A94E854A48,
      0x17DAE56D93235379, 0x19ABC1463FB43747, 0x1B79412BCD862A0B, 0x1D434CD6730BDE4F, 0x1F09CBC0254F2124, 0x20CDC825A774D78B,
      0x228F2F08D10D590E, 0x244CC63215D596E9, 0x26079D31C99025F7, 0x27BFA061DAF8D3AF, 0x2974BBE7408DCD1E, 0x2B26DBB3463311B5,
      0x2CD5EB84F22B2472, 0x2E81D6EA81DBC97A, 0x302BBE428DF456D5, 0x31D25BBD110C8156, 0x3376D35D10AF8C3B, 0x3517DAF9105EB186,
      0x36B69A3D1F93C8DC, 0x385301AB1CE201DF, 0x39ED019C40144A15, 0x3B8347415CBAFA1F, 0x3D1846A55D36C149, 0x3EAAAEACC54880A2,
      0x40392616DAFCE571, 0x41C7777F6156459F, 0x4351B75E6B0F2C83, 0x44DA6D0A5B73442F, 0x46603CB750ADBD9E, 0x47E46879387DD045,
      0x496590437E58E7C1, 0x4AE4F9EAE8CD1368, 0x4C614125741807AE, 0x4DDD0A8B1851F320, 0x4F55969716FC4194, 0x50CC32A82ED25732,
      0x523F720137472B12, 0x53B208C98DD1A3BA, 0x55228C0EB74A0B3F, 0x5690EFC3DC8C081D, 0x57FD27C2B2A15488, 0x596727CC1CA9CCD5,
      0x5ACEE388D6797625, 0x5C35BD8A202AF406, 0x5D98CD48FDCBB4C9, 0x5EFAE6290860EEA4, 0x605C01768802D770, 0x61BAA168DC5B03FD,
      0x6316B92165A429D8, 0x6471B6AD17A9762F, 0x65CA160468EDD914, 0x6721490B8346057F, 0x6877489360BED762, 0x69CA8A59AF87A85A,
      0x6B1C860965281068, 0x6C6D343B3CF98F70, 0x6DBB0474F7EF76F4, 0x6F07742C37162906, 0x70527BC457C89AB3, 0x719C139005BFE0F5,
      0x72E433D173CD44A5, 0x742941B9D40E0E43, 0x756E596B9B469301, 0x76B04AF8D697432E, 0x77F23A641DDED53F, 0x79328AA1ECE436FF,
      0x7A6F96966EFC52A9, 0x7BAC8E1903B450D8, 0x7CE7CDF20A61F00D, 0x7E214DDBFD2788F3, 0x7F590583DE3E4651, 0x80909389767E73A4,
      0x81C4A37E80E1D6DE, 0x82F87CE935755FFB, 0x842A704274706AF0, 0x855C23F6884894C8, 0x868BE4661B47E680, 0x87B9A8E4FE6BF740,
      0x88E568BC4D87BE8D, 0x8A10D229263AA70E, 0x8B3A295DA2384E51, 0x8C63207FBAF82DC3, 0x8D89F7AC2836DCB4, 0x8EB064F33DE4980B,
      0x8FD4A45C537C5805, 0x90F86FE32E775F14, 0x9219FF7A52519B1B, 0x933B1109A1877E69, 0x9459D86FE75BFD5A, 0x957817815F255709,
      0x9695CB097A816DC5, 0x97B120CA89F230B5, 0x98CBE07D407350F0, 0x99E433D1F80E6B8B, 0x9AFDBB6EC63D1090, 0x9C14CBF30ED41C49,
      0x9D295BF40731C82B, 0x9E3F180014B06184, 0x9F52489B9342F600, 0xA062E44475890483, 0xA174A36F0405F810, 0xA285A589F4CD024A,
      0xA39401F9AF556E0D, 0xA4A1961D20623D50, 0xA5AE5E4AD0E8242B, 0xA6BA56D23D9CC5EF, 0xA7C38EFA89FBC2A7, 0xA8CDDB06119ED15F,
      0xA9D55B2DCD306552, 0xAADBF8A5D3A05444, 0xABE3A49A1DF94142, 0xACE873300596024E, 0xADEC53874ED59EEF, 0xAEEF41B8B0F99E3C,
      0xAFF139D6950D45F3, 0xB0F237ED2B233612};
  const uint64_t n = (uint64_t{1} << 32) - word;
  int e = 31;
  while (n >> e == 0) --e;
  const int i = static_cast<int>((n << (63 - e)) >> 56 & 127);
  const int64_t product = static_cast<int64_t>(n * kReciprocal[i]);  // y·c·2^(e+16), below 2⁴⁹
  return {e, i, (product - (int64_t{1} << (e + 16))) * (int64_t{1} << (31 - e)), kReciprocalLog[i]};
}

inline constexpr uint64_t kFixedLn2 = 0xB17217F7D1CF79AC;  // round(ln 2·2⁶⁴)

// −ln(1 − word/2³²) in units of 2⁻⁶⁴, word > 0, from its parts; within 32 units of the true value: half a unit for each of up to 32 ln 2,
// half for ln c, 4 for each of the last truncated products (the earlier ones shrink by r), and the ninth term, below 2⁻⁶⁶.
COUNTERMARK_HD inline SignedInt128 FixedLogUnits(const FixedLogParts& parts) {
  // ln(1 + r) by Horner's rule; coefficients (−1)^(j+1)/j in units of 2⁻⁶².
  constexpr int64_t kOne = int64_t{1} << 62;
  int64_t sum = -kOne / 8;
  for (int j = 7; j >= 1; --j) sum = static_cast<int64_t>(SignedInt128{sum} * parts.r >> 47) + (j % 2 == 1 ? kOne / j : -kOne / j);
  sum = static_cast<int64_t>(SignedInt128{sum} * parts.r >> 47);
  return SignedInt128{kFixedLn2} * (32 - parts.e) - SignedInt128{parts.log_c} - SignedInt128{sum} * 4;
}

// The same in units of 2⁻⁹⁶, within 2⁻⁸⁴ of the true value: twelve terms in units of 2⁻⁸⁶, and the tables' next 32 bits.
COUNTERMARK_HD inline SignedInt128 FixedLogUnitsFine(const FixedLogParts& parts) {
  static constexpr int32_t kReciprocalLogRest[128] = {  // round(−ln(c)·2⁹⁶) − 2³²·round(−ln(c)·2⁶⁴)
      1340999008, 61105415, -1356725645, 1259012868, -1117792168, 1251802873, 221029670, -196363783, 463453134, 1354710102,
      -1112135285, 492410057, 197386868, 452558383, -11696772, 1721669910, -190071869, -1337513265, 68180501, -1545547771,
      -1021531207, -765565028, 882579906, 1521239181, -1150616193, -973046693, -1821767220, -23932434, -2095339814, -814280923,
      553576247, 1090096617, -686262157, -476710501, -1747718509, -982652381, 1418080340, -341108163, 1133920511, 1640875223,
      -406471432, -784511500, 2007251256, -1211601843, -145296243, 465892692, 803057528, -853420419, 230993465, -1740614512,
      836330449, 43948293, -1725623580, 1512944068, -2020394800, 369773167, 2069771372, 1078920385, 211897938, 717081907,
      -502437384, -151152472, -1947241768, 428017126, 445789074, -217988277, 2835117, 1155403389, -510028107, 1439034159,
      770809572, -1334264012, 940443681, -179570757, 1478175494, 1192049728, -1589639209, 1743062024, 939973865, -684099777,
      -1539539029, 2134993819, -2055766952, -1750417660, -1769791342, 423876123, 1213583833, -1471817317, -2112733934,
      1660276534, 478466661, -1931557066, 238110254, -364755488, 374237755, -1581354174, 74587620, 768560273, -1197464373,
      1459475343, 533901935, -529782811, 1510550688, 1395509478, 1872589326, -791212580, -1715333766, 1940671936, 1692780600,
      -1617663553, 1882387569, 1688735132, 682774766, -936428029, 1848906500, 1894837944, 1558383060, 1068204246, -857648687,
      2021178114, -1840635702, 1270713679, 906534293, -881469893, -1777705906, -279340696, -2015356920, -414877309};
  constexpr int32_t kLn2Rest = -907824232;
  constexpr SignedInt128 kOne = SignedInt128{1} << 86;
  SignedInt128 sum = -kOne / 12;
  for (int j = 11; j >= 1; --j) sum = (sum * parts.r >> 47) + (j % 2 == 1 ? kOne / j : -kOne / j);
  sum = sum * parts.r >> 47;
  const SignedInt128 ln2 = SignedInt128{kFixedLn2} * (SignedInt128{1} << 32) + kLn2Rest;
  const SignedInt128 log_c = SignedInt128{parts.log_c} * (SignedInt128{1} << 32) + kReciprocalLogRest[parts.index];
  return ln2 * (32 - parts.e) - log_c - sum * 1024;
}

// ⌊−ln(1 − word/2³²)·2⁴⁰⌋ exactly. Where the fraction is farther than 64 units of 2⁻⁶⁴ from an integer the first form settles it; one word
// in 2¹⁷ takes the second. No word but 0 lies nearer to an integer of 2⁻⁴⁰ than 2⁻⁷⁴, as tests/mark/check_log_exhaustive found by looking at all
// 2³² (docs/results/gumbel-score-exhaustive.json), so the second is fine enough.
COUNTERMARK_HD inline uint64_t FixedNegativeLog(uint32_t word) {
  if (word == 0) return 0;
  const FixedLogParts parts = SplitForFixedLog(word);
  const SignedInt128 units = FixedLogUnits(parts);
  const uint32_t fraction = static_cast<uint32_t>(units) & 0xFFFFFF;
  if (fraction - 64 < (1u << 24) - 128) return static_cast<uint64_t>(units >> 24);
  return static_cast<uint64_t>(FixedLogUnitsFine(parts) >> 56);
}

}  // namespace countermark

#endif  // COUNTERMARK_MARK_LOG_H_
