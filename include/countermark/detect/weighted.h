// Tests in which pairs do not count alike. Takes a weight for each distinct pair, fixed before any key is asked; gives the upper tail of
// S = Σ weight·score under H0 (the text is statistically independent of the key).
//
//   std::vector<PairWeight> weights = entropy.Weights(pairs, …);              // detect/entropy.h: one a pair, from the text and a model alone
//   WeightedCount count = CountWeighted(pairs, channel, 0, base_key, parameters, weights);
//   WeightedTest test = TestWeighted(count.groups, count.sum, parameters);
//   test.log10_p;                                                             // −14.2: the verdict's, a rigorous bound
//   test.display_log10_p;                                                     // −15.6: for people, nothing hangs on it
//
//   WeightedCount count = CountLayers(pairs, channel, 0, base_key, parameters);   // tournament: layer l has the fixed weight 290 − 9l
//   WeightedTest test = TestLayers(count.groups, count.sum, parameters);          // exact while affordable
//
// H0 and its law. Given text and weights, the scores of distinct pairs are independent, as mark-format.md has them: partition Bernoulli(G/256),
// tournament m bits of 1/2 each, gumbel below an Exp(1) value each. Weights may hang on the text, on a model, on anything, but not on the key:
// not on a serving log, not on a model that was trained on text marked with this key (docs/weights.md).
//
// The bound (Chernoff). For λ > 0 and every s, P(S ≥ s) ≤ E e^{λS}·e^{−λs} ≤ M(λ)·e^{−λs}, M the product over pairs of 1 − γ + γ·e^{λw}, of
// ((1 + e^{λw})/2)^m, or of 1/(1 − λw), λ·max w < 1 (gumbel: a score and its weight are ≥ 0, so e^{λws} is at most that of the Exp(1) value).
// So P(S ≥ s) ≤ B(s) := min(1, inf over λ of M(λ)e^{−λs}). λ may be chosen from the data: B is a function of s alone and does not increase, so
// {B(S) ≤ α} is {S ≥ s₀} or {S > s₀} with s₀ = inf{s : B(s) ≤ α}. In the first case B(s₀) ≤ α and P(S ≥ s₀) ≤ B(s₀) ≤ α; in the second
// P(S > s₀) is the limit of P(S ≥ s) ≤ B(s) ≤ α for s falling to s₀. Either way P(B(S) ≤ α) ≤ α. What is returned is M(λ)e^{−λS} at one λ,
// which is never below B(S), rounded upwards: P(p ≤ α) ≤ α still. B exceeds the exact tail by about λ·sd(S)·√(2π), one to two decades at 10^−10 to
// 10^−1000.
//
// Rounding. Weights and scores are integers and their sum is exact; λ has 32 bits of mantissa, so λw is exact. ln M is a sum of positive terms, each with
// a relative error below 16 units of the last place of long double; G groups add less than G units. (G + 32) units are added, the subtraction and
// the change of base get 8 more, and the conversions to double go up. So log10_p ≥ log10 B, and by less than 1e-9·(1 + N/10⁶) with N pairs.
//
// A normal or Gamma law with S's two first moments is not offered: with one heavy weight it accuses falsely, which tests/detect/weighted_stat_test.cc shows.
#ifndef COUNTERMARK_DETECT_WEIGHTED_H_
#define COUNTERMARK_DETECT_WEIGHTED_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "countermark/detect/pairs.h"
#include "countermark/mark/scheme.h"

namespace countermark {

// Of one pair, ≥ 0; only ratios matter.
using PairWeight = uint16_t;

// So many independent draws with this weight: pairs (partition, gumbel) or bits (tournament).
struct WeightGroup {
  uint32_t weight = 0;  // > 0
  uint64_t draws = 0;   // > 0
  bool operator==(const WeightGroup&) const = default;
};

struct WeightedCount {
  uint64_t scored = 0;              // pairs of the channel, those of weight 0 too
  std::vector<WeightGroup> groups;  // ascending by weight, each weight once
  Statistic sum = 0;                // Σ weight·score, the score being mark-format.md's integer (gumbel: in units of 2⁻⁴⁰)
};

// The pairs on channel `which` under its key. weights, channel: one a pair of the set.
WeightedCount CountWeighted(const PairSet& pairs, std::span<const uint8_t> channel, int which, const Secret32& key, const MarkParameters& parameters,
                            std::span<const PairWeight> weights);
// The sums of the listed pairs under each of many keys, in the keys' order; `shared` gets what they have in common (its sum is 0).
std::vector<Statistic> CountWeightedCandidates(const PairSet& pairs, std::span<const uint32_t> which, std::span<const Secret32> keys,
                                               const MarkParameters& parameters, std::span<const PairWeight> weights, WeightedCount* shared);
// Tournament alone: Σ over pairs and layers of LayerWeight(l, m)·bit l. A group a layer.
WeightedCount CountLayers(const PairSet& pairs, std::span<const uint8_t> channel, int which, const Secret32& key, const MarkParameters& parameters);
// 10·(m − 1) − 9·l: falls evenly from 10 parts at the first layer to 1 at the last. 290 − 9l for m = 30; 1 for m = 1.
constexpr uint32_t LayerWeight(int layer, int layers) { return layers == 1 ? 1 : static_cast<uint32_t>(10 * (layers - 1) - 9 * layer); }

struct WeightedTest {
  double lambda = 0;           // > 0, per unit of the sum
  double log_mgf = 0;          // ln M(λ), rounded up
  double log10_p = 0;          // the verdict's: ChernoffLog10P(λ, log_mgf, sum), or of TestLayers the exact tail; ≤ 0
  double display_log10_p = 0;  // Lugannani and Rice's saddlepoint (1980), lattice form where S is one: near, no bound; ≤ log10_p
  bool exact = false;          // log10_p is the exact tail, rounded up by less than 1e-6
};

// The bound and the saddlepoint. Never NaN or infinite; log10_p does not rise with the sum but by the rounding above. p = 1 (0) at or below the mean, for no
// groups, and for a sum that no text could give (above Σ weight·draws·highest score).
WeightedTest TestWeighted(std::span<const WeightGroup> groups, Statistic sum, const MarkParameters& parameters);
// The same, with the exact tail in place of the bound where Log10LatticeTail affords it and the bound is below 1/20.
WeightedTest TestLayers(std::span<const WeightGroup> groups, Statistic sum, const MarkParameters& parameters);

// min(0, (log_mgf − λ·sum)/ln 10), rounded up: what a verifier computes again from a report. 0 for a λ that is not above 0 and finite or a log_mgf that
// is not ≥ 0 and finite.
double ChernoffLog10P(double lambda, double log_mgf, Statistic sum);

// log10 P(Σ over groups of weight·Binomial(draws, numerator/denominator) ≥ sum), rounded up by less than 1e-6; nothing where it would cost more than about
// 0.2 s (a standard deviation above 80,000, some 25,000 pairs of 30 layers) or the sum is at or below the mean.
// Method: the law tilted by e^{λS}, λ the saddlepoint, has its mean at the sum, so nothing underflows; its convolution is taken in the frequency domain on a
// period of 36 standard deviations or more, where folding can only add; what lies beyond the period is bounded by Bernstein's inequality and added.
std::optional<double> Log10LatticeTail(std::span<const WeightGroup> groups, Statistic sum, uint32_t numerator, uint32_t denominator);

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_WEIGHTED_H_
