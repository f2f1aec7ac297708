// What a calibrated test may do: attained levels, bands around expected hits, and a bound on a distribution's distance. All of it is computed
// apart from the product's own tails.
//
//   AttainedLevels levels(mark, 198);
//   double mean = 0;  for each passage of n pairs: mean += levels.At(n, 1e-3);
//   HitCheck check = CheckHits(hits, mean, 1e-3);     // the 99.9 % band
//   if (!check.inside()) …
#ifndef COUNTERMARK_TESTS_CALIBRATION_BANDS_H_
#define COUNTERMARK_TESTS_CALIBRATION_BANDS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "countermark/mark/scheme.h"

namespace countermark::calibration {

// The chance of p ≤ α for a text of n pairs, under a fresh key: for the discrete tests the largest tail P(Binomial ≥ k) that is ≤ α, summed from the
// masses in long double; for gumbel α itself, which its floored scores miss by less than one part in 10⁶ at n ≤ 200. 0 for n = 0.
class AttainedLevels {
 public:
  AttainedLevels(const MarkParameters& mark, size_t most_pairs);
  double At(size_t pairs, double alpha) const;

 private:
  bool continuous_;
  std::vector<std::vector<long double>> tails_;  // [pairs]: those ≤ 0.1, descending
};

struct HitCheck {
  uint64_t hits = 0;
  double expected = 0;
  uint64_t low = 0, high = 0;  // the band, both ends inside
  bool inside() const { return low <= hits && hits <= high; }
  bool not_above() const { return hits <= high; }
};

// The band that the number of hits leaves with probability at most `odds`, half of it on either side. The hits are independent, with
// chances that sum to `expected`; beyond one from the mean their tails are below those of Poisson(expected) (Hoeffding 1956 from unequal
// chances to equal ones, Anderson and Samuels 1967 from those to Poisson), whose quantiles are the band.
HitCheck CheckHits(uint64_t hits, double expected, double odds);

// sup |F_n − F| of values that should be uniform on [0, 1]. Sorts them.
double UniformDistance(std::span<double> values);
// What that distance exceeds with probability at most `odds` (Dvoretzky, Kiefer and Wolfowitz 1956, Massart's constant): √(ln(2/odds)/2n).
double UniformDistanceBound(size_t values, double odds);

}  // namespace countermark::calibration

#endif  // COUNTERMARK_TESTS_CALIBRATION_BANDS_H_
