#include "src/detect/region_family.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "countermark/detect/regions.h"

namespace countermark {
namespace {

constexpr int kStepsLog2 = 4;  // a coarse interval is 16 to 31 steps long

int ScaleOf(uint64_t length) { return std::bit_width(length) - 1; }

// Σ (places − length + 1) over lengths first … last, those beyond `places` left out: how many intervals of those lengths lie in so many places.
Statistic CountIntervals(Statistic places, Statistic first, Statistic last) {
  last = std::min(last, places);
  if (last < first) return 0;
  const Statistic lengths = last - first + 1;
  return lengths * ((places - first + 1) + (places - last + 1)) / 2;
}

}  // namespace

namespace regions {

uint64_t StepOf(uint64_t length) { return uint64_t{1} << std::max(0, ScaleOf(length) - kStepsLog2); }

bool IsInFamily(uint64_t begin, uint64_t length) {
  const uint64_t step = StepOf(length);
  return length % step != 0 || begin % step == 0;
}

std::vector<uint64_t> CoarseLengths(uint64_t pairs) {
  std::vector<uint64_t> lengths;
  for (uint64_t length = 1; length <= pairs; length += StepOf(length)) lengths.push_back(length);
  return lengths;
}

double Log10(Statistic value) { return value == 0 ? 0.0 : static_cast<double>(std::log10(static_cast<long double>(value))); }

}  // namespace regions

Statistic RegionTries(uint64_t pairs, uint64_t scored) {
  if (scored == 0 || scored > pairs || pairs > regions::kMostPairs) return 0;
  const Statistic scales = static_cast<Statistic>(ScaleOf(pairs)) + 1;
  const Statistic shortest = Statistic{1} << ScaleOf(scored);
  const Statistic step = regions::StepOf(scored);
  const Statistic least = shortest / step, most = 2 * least - 1;  // steps
  const Statistic coarse = CountIntervals(pairs / step, least, most);
  if (step == 1) return scales * coarse;
  if (scored % step == 0) return scales * 2 * coarse;
  // Fine: every interval of the scale, less those whose length is a multiple of the step, wherever they begin.
  Statistic fine = CountIntervals(pairs, shortest, 2 * shortest - 1);
  for (Statistic steps = least; steps <= most; ++steps) fine -= CountIntervals(pairs, steps * step, steps * step);
  return scales * 2 * fine;
}

double RegionAdjust(double log10_p, Statistic tries) {
  if (tries == 0 || !(log10_p < 0)) return 0.0;
  return std::min(0.0, log10_p + regions::Log10(tries));
}

}  // namespace countermark
