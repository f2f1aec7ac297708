// Every one of the 2³² words through both logarithms; a few minutes on two threads, so run by tests/mark/check_log_exhaustive alone.
//
//   mark_log_exhaustive [STRIDE]     (default 1; a stride above 1 looks at every STRIDE-th word, for a quick look)
//
// Prints a line `near WORD SCORE` for each word whose −ln(1 − word/2³²)·2⁴⁰ is within 2⁻¹⁶ of an integer: for all others the computed
// floor is exact as soon as the fixed-point value is right to 2⁻⁵⁷, so what is left to a many-digit check are these lines. Then
// `words N`, `near N`, `negative-log-ulp X` (the largest distance of NegativeLog from the C library's 64-bit-mantissa logarithm, in units
// in the last place of a double), `fixed-log-units X` (the largest distance of the fixed-point value from the same, in units of 2⁻⁴⁰,
// where that logarithm is the coarser of the two above 2⁻⁶³·the value). Exit 1 if an invariant breaks: NegativeLog strictly decreasing, the
// score never decreasing, the arrival bound never above the arrival.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "countermark/mark/gumbel.h"
#include "countermark/mark/log.h"

namespace {

struct Findings {
  std::string near;
  uint64_t words = 0;
  uint64_t near_count = 0;
  long double worst_ulp = 0;
  long double worst_units = 0;
  uint64_t broken = 0;
};

void Look(uint64_t first, uint64_t last, uint64_t stride, Findings& found) {
  double previous_log = INFINITY;
  uint64_t previous_score = 0;
  for (uint64_t i = first; i < last; i += stride) {
    const uint32_t word = static_cast<uint32_t>(i);
    ++found.words;

    const countermark::SignedInt128 units = countermark::NegativeLogUnits(word);
    const uint64_t score = countermark::FixedNegativeLog(word);
    const uint32_t fraction = static_cast<uint32_t>(units) & 0xFFFFFF;
    if (fraction < 256 || fraction >= (1u << 24) - 256) {
      ++found.near_count;
      found.near += "near " + std::to_string(word) + " " + std::to_string(score) + "\n";
    }
    const long double exact_fixed = word == 0 ? 0.0L : -std::log1p(-std::ldexp(static_cast<long double>(word), -32));
    found.worst_units = std::max(found.worst_units, std::fabs(std::ldexp(static_cast<long double>(units), -64) - exact_fixed) * 0x1p40L);

    const double log = countermark::NegativeLog(word);
    const long double exact = -std::log(std::ldexp(static_cast<long double>(2 * i + 1), -33));
    const double ulp = std::ldexp(1.0, std::ilogb(static_cast<double>(exact)) - 52);
    found.worst_ulp = std::max(found.worst_ulp, std::fabs(static_cast<long double>(log) - exact) / ulp);

    const double bound = countermark::GumbelArrivalBound(word, 1.0);
    if (!(log < previous_log) || score < previous_score || !(log > 0) || !(bound <= countermark::GumbelArrival(word, 1.0))) {
      if (++found.broken <= 10) std::fprintf(stderr, "an invariant breaks at word %u\n", word);
    }
    previous_log = log;
    previous_score = score;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t stride = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  if (stride == 0) {
    std::fprintf(stderr, "mark_log_exhaustive: error: the stride is a whole number, 1 or more\n");
    return 2;
  }
  constexpr uint64_t kAll = uint64_t{1} << 32;
  Findings low, high;
  const uint64_t middle = (kAll / 2 + stride - 1) / stride * stride;
  std::thread other([&] { Look(0, middle, stride, low); });
  Look(middle, kAll, stride, high);
  other.join();
  std::fputs(low.near.c_str(), stdout);
  std::fputs(high.near.c_str(), stdout);
  std::printf("words %llu\nnear %llu\nnegative-log-ulp %.4Lf\nfixed-log-units %.3Le\nbroken %llu\n",
              static_cast<unsigned long long>(low.words + high.words), static_cast<unsigned long long>(low.near_count + high.near_count),
              std::max(low.worst_ulp, high.worst_ulp), std::max(low.worst_units, high.worst_units),
              static_cast<unsigned long long>(low.broken + high.broken));
  return low.broken + high.broken == 0 ? 0 : 1;
}
