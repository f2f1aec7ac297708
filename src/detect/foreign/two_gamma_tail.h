// The upper tail of a weighted sum of two Gamma variables of one whole shape, for watermarks that score every token under two keys.
//
//   Log10TwoGammaTail(400, 0.9, 0.1, 520.0);   // log10 P(0.9·X + 0.1·Y ≥ 520), X and Y Gamma(400, 1)
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_TWO_GAMMA_TAIL_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_TWO_GAMMA_TAIL_H_

#include <cstdint>

namespace countermark {

// log10 P(a·X + b·Y ≥ w), X and Y independent Gamma(n, 1). a, b ≥ 0, not both 0. ≤ 0, never NaN; 0 for n = 0 and where an argument is out of its range.
//
// Exact: with the smaller weight s and the larger g, q = s/g, Gamma(n, scale g) is the mixture over k ~ NegativeBinomial(n, q) of Gamma(n + k, scale s), so
//   P = Σ_k C(n + k − 1, k) q^n (1 − q)^k · Q(2n + k, w/s),
// all terms positive. Relative error of P below 1e-9. Where that would take more than 20 million terms (n beyond some 10⁵, or a weight close to 0) the Chernoff bound,
// min over θ of exp(−θw) (1 − aθ)^−n (1 − bθ)^−n, which is an upper bound.
double Log10TwoGammaTail(uint64_t n, double a, double b, double w);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_TWO_GAMMA_TAIL_H_
