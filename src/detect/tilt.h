// How strongly a count speaks for a mark, as a likelihood that adds up over pairs: the exponential family through the scheme's null.
//
//   Tilt tilt = Tilt::Of(count, parameters);     // the member of the family whose mean is what the count shows
//   tilt.Of(other)                               // ln of the likelihood ratio, member against null, of other pairs
//   Evidence(count, parameters)                  // tilt.Of(count): p ≤ exp(−Evidence), Chernoff's bound
//
// A pair's log-likelihood ratio is theta·score − log_mgf, log_mgf the log of the mean of exp(theta·score) under the null (gumbel: of the Exp(1) value
// above the score). The mean of its exponential under the null is at most 1 for any theta ≥ 0, so the bound holds for any.
#ifndef COUNTERMARK_SRC_DETECT_TILT_H_
#define COUNTERMARK_SRC_DETECT_TILT_H_

#include "countermark/detect/pairs.h"
#include "countermark/mark/scheme.h"

namespace countermark::regions {

struct Tilt {
  double theta = 0;    // a unit of the integer statistic; 0 for a count at or below the null's mean
  double log_mgf = 0;  // a pair

  static Tilt Of(const ChannelCount& count, const MarkParameters& parameters);
  double Of(const ChannelCount& count) const {
    return theta * static_cast<double>(count.statistic) - log_mgf * static_cast<double>(count.scored);
  }
};

inline double Evidence(const ChannelCount& count, const MarkParameters& parameters) { return Tilt::Of(count, parameters).Of(count); }

}  // namespace countermark::regions

#endif  // COUNTERMARK_SRC_DETECT_TILT_H_
