#include "src/detect/tilt.h"

#include <algorithm>
#include <cmath>

namespace countermark::regions {
namespace {

// n trials a pair, each a hit with probability gamma under the null.
Tilt BinomialTilt(const ChannelCount& count, double trials, double gamma) {
  const double n = trials * static_cast<double>(count.scored);
  // All hits would tilt without end; half a miss fewer is as good.
  const double q = std::min(static_cast<double>(count.statistic), n - 0.5) / n;
  if (!(q > gamma)) return {};
  const double miss = std::log1p(-q) - std::log1p(-gamma);
  return {.theta = std::log(q / gamma) - miss, .log_mgf = -trials * miss};
}

}  // namespace

Tilt Tilt::Of(const ChannelCount& count, const MarkParameters& parameters) {
  if (count.scored == 0) return {};
  switch (parameters.scheme) {
    case Scheme::kPartition:
      return BinomialTilt(count, 1, parameters.green / 256.0);
    case Scheme::kTournament:
      return BinomialTilt(count, parameters.layers, 0.5);
    case Scheme::kGumbel:
      break;
  }
  const double mean = static_cast<double>(count.statistic) * 0x1p-40 / static_cast<double>(count.scored);
  if (!(mean > 1)) return {};
  return {.theta = (1 - 1 / mean) * 0x1p-40, .log_mgf = std::log(mean)};
}

}  // namespace countermark::regions
