// Which intervals of N pairs may be reported as marked, and how many: the family of countermark/detect/regions.h.
#ifndef COUNTERMARK_SRC_DETECT_REGION_FAMILY_H_
#define COUNTERMARK_SRC_DETECT_REGION_FAMILY_H_

#include <cstdint>
#include <vector>

#include "countermark/detect/pairs.h"

namespace countermark::regions {

inline constexpr uint64_t kMostPairs = 0xFFFFFFFF;

// The step d of a length's scale.
uint64_t StepOf(uint64_t length);
// Whether an interval of that length may begin there: coarse at multiples of the step, fine anywhere.
bool IsInFamily(uint64_t begin, uint64_t length);
// The lengths of the coarse intervals within N pairs, ascending: 31 + 16 a scale.
std::vector<uint64_t> CoarseLengths(uint64_t pairs);
// log10 of an integer; 0 for 0.
double Log10(Statistic value);

}  // namespace countermark::regions

#endif  // COUNTERMARK_SRC_DETECT_REGION_FAMILY_H_
