// The matched filter: do a model's preferences agree with the scores of a key?
//
//   MatchedFilter filter(parameters);
//   FilterSum sum = filter.Sum(table, key);                              // Σ w·(s − E s), an exact integer
//   ChernoffBound bound(filter, table);   bound.Log10P(sum);             // weights that do not hang on the key
//   BetSums bets = filter.Bets(table);    Log10Mixture(filter, sum, bets);  // served probes: the mixture e-value
//
// H0: the suspect is independent of the key. Terms: one a (window, token) of the table, X = w·(s − E s), s the score of mark-format.md (gumbel in nats,
// E s = 1; tournament set bits, m/2; partition 0 or 1, G/256). Under H0, and weights that do not hang on the key, the s of different terms are
// independent, so for each λ > 0 E exp(λS) ≤ exp(Σ L(λw)) with L(θ) ≥ ln E exp(θ(s − E s)):
//   gumbel, 0 ≤ θ < 1   −θ − ln(1 − θ): the score is below its Exp(1) value x, and θ ≥ 0.
//   gumbel, θ = −a < 0  a − ln(1 + a) + a·2⁻⁴⁰ + (1 + a)·min(1, 25a)·2⁻³²: here the floor works against us. word is uniform on 0 … n − 1, n = 2³², and
//                       s ≥ −ln(1 − word/n) − 2⁻⁴⁰, so E exp(−a·s) ≤ exp(a·2⁻⁴⁰)·(1/n)·Σ_{j=1..n} (j/n)^a. The right Riemann sum of the rising function
//                       x^a is above its integral 1/(1 + a) by at most 1/n (telescoping), and for a < 1 by at most 25a/n: the first cell gives at most a/n, the cell
//                       after x = k/n at most (a/n²)·(k/n)^(a−1) ≤ (a/n²)·(n/k), and Σ 1/k ≤ 1 + ln n < 23.2.
//   tournament          m·ln cosh(θ/2), exactly.
//   partition           ln(1 − γ + γe^θ) − γθ, γ = G/256, exactly.
//
// Key-independent probes: weights are fixed, so for every s P(S ≥ s) ≤ exp(−λs + Σ L(λw)) for each λ; the least over λ is a function of s alone, falling, and
// so a p-value (Chernoff). Served probes: a weight may hang on what the key gave windows earlier in the log. In the log's order the factors exp(λX −
// L(λw)) are a supermartingale for each fixed λ, as w is settled before its window's words are used for the first time; a mean over fixed λ is one too; p = min(1, 1/E)
// by Ville. Choosing the best λ afterwards would not be.
//
// Arithmetic: S is exact. The sums of L are rounded up and what follows from them down by more than rounding can be (2⁻⁴⁰, relative).
#ifndef COUNTERMARK_AUDIT_MODEL_FILTER_H_
#define COUNTERMARK_AUDIT_MODEL_FILTER_H_

#include <array>
#include <cstdint>
#include <vector>

#include "countermark/audit/model_weights.h"
#include "countermark/keys/secret.h"
#include "countermark/mark/scheme.h"

namespace countermark {

using FilterSum = __int128;  // Σ w·(s − E s) in the filter's unit

// The bets λ of the mixture: 2⁻¹ … 2⁻¹².
inline constexpr int kFilterBets = 12;
// Σ L(λw) at each bet; sums of tables that share no term (another window, or another key) add up.
struct BetSums {
  std::array<long double, kFilterBets> log_mgf{};
  void Add(const BetSums& more) {
    for (int j = 0; j < kFilterBets; ++j) log_mgf[j] += more.log_mgf[j];
  }
};

class MatchedFilter {
 public:
  explicit MatchedFilter(const MarkParameters& parameters) : parameters_(parameters) {}
  const MarkParameters& parameters() const { return parameters_; }

  // S under a channel's key, over all rows. One thread.
  FilterSum Sum(const WeightTable& table, const Secret32& key) const;
  long double Real(FilterSum sum) const;  // S as a real number, rounded to the nearest
  // Var s of one term.
  double Variance() const;
  // S over its standard deviation under H0. For display.
  double Z(FilterSum sum, double squares) const;

  // L(θ), never below the true value. gumbel: θ < 1, else +∞.
  double LogMgf(double theta) const;
  // Σ L(λw) over the table, rounded up; `scale` multiplies every bet. +∞ where a gumbel weight is too large for the bet.
  long double LogMgfSum(const WeightTable& table, double lambda) const;
  BetSums Bets(const WeightTable& table, double scale = 1) const;

 private:
  MarkParameters parameters_;
};

// ln of the product at each bet, λS − Σ L(λw), rounded down.
std::array<long double, kFilterBets> LnOfBets(const MatchedFilter& filter, FilterSum sum, const BetSums& bets, double scale = 1);
// log10 of the mean over the bets.
double Log10OfBets(const std::array<long double, kFilterBets>& ln);
inline double Log10Mixture(const MatchedFilter& filter, FilterSum sum, const BetSums& bets, double scale = 1) {
  return Log10OfBets(LnOfBets(filter, sum, bets, scale));
}

// The bound for one table whose weights do not hang on the key, under as many keys as one likes: Σ L(λw) is computed once at a grid of λ, six an octave, which
// costs at most half a per cent of the exponent against the best λ.
class ChernoffBound {
 public:
  ChernoffBound(const MatchedFilter& filter, const WeightTable& table, int threads = 1);
  // log10 of the bound, ≤ 0. `copies`: the sum is one over so many different keys (a ring), each on the whole table.
  double Log10P(FilterSum sum, uint64_t copies = 1) const;

 private:
  MatchedFilter filter_;
  std::vector<double> lambda_;
  std::vector<long double> log_mgf_;
};

// Two readings of the same question, corrected for two: min(0, min(a, b) + log10 2).
double BetterOfTwo(double log10_a, double log10_b);

}  // namespace countermark

#endif  // COUNTERMARK_AUDIT_MODEL_FILTER_H_
