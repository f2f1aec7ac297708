// Exact upper tails in the log domain, finite far below what a double can hold, and e-values beside them.
//
//   ChannelCount count = ScoreChannel(pairs, channel, 0, base_key, parameters);
//   double log10_p = Log10P(count, parameters);   // −45.3: p = 10^−45.3
//   double log10_e = Log10E(count, parameters);   // 43.1:  p ≤ 10^−43.1, also when the text was scored until it looked good enough
//   Log10BinomialTail(1000, 400, 64, 256);        // P(Binomial(1000, 1/4) ≥ 400) = 10^−24.8
//
// Every p function gives log10 of a probability: ≤ 0, never NaN, never −inf for a possible outcome, monotone in the statistic. An
// impossible input (k > n, p outside (0, 1), a negative or NaN s) gives 0, p = 1: a broken count is never evidence.
//
// Accuracy: the relative error of log10 p is below 2e-15 where long double has 64 bits of mantissa or more (x86, AArch64 Linux) and below 1e-12
// elsewhere, on both sides of the mean, for n up to 2⁵³ and for tails down to 10^−10¹⁵. So log10 p is right to 1e-9, absolute, down to
// 10^−400,000 (10^−1,000 elsewhere). A call takes one to two microseconds at any n. No global state: safe in any number of threads.
#ifndef COUNTERMARK_DETECT_TAILS_H_
#define COUNTERMARK_DETECT_TAILS_H_

#include <array>
#include <cstdint>

#include "countermark/detect/pairs.h"
#include "countermark/mark/scheme.h"

namespace countermark {

// log10 P(Binomial(n, p) ≥ k). p = numerator/denominator, strictly between 0 and 1; k ≤ n. 0 for k = 0.
double Log10BinomialTail(uint64_t n, uint64_t k, uint32_t numerator, uint32_t denominator);

// log10 Q(n, s), Q the regularised upper incomplete gamma function: P(sum of n Exp(1) ≥ s). n ≥ 0, s ≥ 0; n = 0 gives 0.
double Log10GammaTail(uint64_t n, double s);

// log10 p of one channel's count under the null of its scheme (statistics.md, Text), N = scored, K = statistic:
//   partition   P(Binomial(N, G/256) ≥ K)
//   tournament  P(Binomial(m·N, 1/2) ≥ K)
//   gumbel      Q(N, K/2⁴⁰), an upper bound: each score is floored from at most its Exp(1) value. K/2⁴⁰ is exact while K < 2⁶⁴ (K < 2⁵³
//               where long double is double) and beyond is rounded down, towards the larger p, by less than one part in 2⁶³ (2⁵²): log10 p
//               rises by less than 5e-20·K/2⁴⁰ (1e-16·K/2⁴⁰).
// The result itself is rounded to the nearest double: it may be below the true log10 p by the relative error above, and by no more.
double Log10P(const ChannelCount& count, const MarkParameters& parameters);

// log10 E, the e-value of one channel's count: E = 1/24·Σ_λ Π over pairs of e(λ), the mean over the published bets λ of whole
// products (statistics.md, e-values):
//   partition   e = 1 + λ(1/γ − 1) for a hit, 1 − λ for a miss, γ = G/256: the likelihood ratio of q = γ + λ(1 − γ) against γ
//   tournament  the same for every bit, γ = 1/2
//   gumbel      e = (1 − λ)·exp(λ·score/2⁴⁰)
// Under the null the expectation of E is 1 (gumbel: at most 1), so P(E ≥ 1/α) ≤ α, and, as new pairs only multiply, also when one stops
// at the best moment (Ville). Proof for one pair; pairs are independent, products and means follow:
//   partition: γ(1 + λ(1/γ − 1)) + (1 − γ)(1 − λ) = 1.
//   gumbel: word is uniform on 0 … 2³² − 1, so word = ⌊2³²U⌋ with U uniform on [0, 1), and score/2⁴⁰ ≤ −ln(1 − word/2³²) ≤ −ln(1 − U) = X,
//   an Exp(1) value. λ > 0, so the expectation of exp(λ·score/2⁴⁰) is at most that of exp(λX) = 1/(1 − λ).
// No pairs, or an impossible count, gives 0 (E = 1).
double Log10E(const ChannelCount& count, const MarkParameters& parameters);

// The bets: 2^−j and 3·2^−(j+1), j = 1 … 12. If the best bet lies between 2^−12 and 3/4, one of these earns at least 96 % of its exponent
// (to second order, as for weak marks); the mean over 24 costs at most 1.39 decades.
inline constexpr std::array<double, 24> kEValueBets = [] {
  std::array<double, 24> bets{};
  double power = 0.5;
  for (int i = 0; i < 24; i += 2, power /= 2) {
    bets[i] = 1.5 * power;
    bets[i + 1] = power;
  }
  return bets;
}();

// ln of the whole product at each bet of kEValueBets: Log10E is log10 of the mean of their exponentials. All 0 where Log10E is 0 for lack of
// pairs or an impossible count.
std::array<long double, kEValueBets.size()> LnEOfBets(const ChannelCount& count, const MarkParameters& parameters);

// Whether some text could have given this count: K ≤ N, K ≤ m·N, or K ≤ N·24387948313145 (the highest score), with parameters in
// range. For counts that come from elsewhere, such as a report.
bool PossibleCount(const ChannelCount& count, const MarkParameters& parameters);

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_TAILS_H_
