// Every one of the 2³² words through the score's logarithm; minutes on two threads, so run by tests/mark/check_log_exhaustive alone.
//
//   mark_log_exhaustive [STRIDE]     (default 1; a stride above 1 looks at every STRIDE-th word, for a quick look)
//
// Prints a line `near WORD SCORE` for each word whose −ln(1 − word/2³²)·2⁴⁰ is within 2⁻¹⁶ of an integer: for all others the floor is
// exact as soon as the fixed-point value is right to 2⁻⁵⁷, so what is left to a many-digit check are these lines. Of every 64th word
// looked at, the C library's logarithm of 64-bit mantissa is asked too. Then the lines `words N`, `near N`, `compared N`,
// `negative-log-ulp X` (NegativeLog's largest distance from it, in units in the last place of a double), `fixed-log-units X` (the
// fixed-point value's, in units of 2⁻⁴⁰; that logarithm itself is good to 2⁻¹⁹ of them) and `broken N`. Exit 1 if an invariant breaks: the score never
// decreasing; NegativeLog strictly decreasing and the arrival bound never above the arrival, where compared.
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
  uint64_t compared = 0;
  long double worst_ulp = 0;
  long double worst_units = 0;
  uint64_t broken = 0;
};

void Break(uint32_t word, Findings& found) {
  if (++found.broken <= 10) std::fprintf(stderr, "an invariant breaks at word %u\n", word);
}

// The slow part: both logarithms beside the C library's.
void Compare(uint32_t word, Findings& found) {
  ++found.compared;
  if (word > 0) {
    const countermark::SignedInt128 units = countermark::FixedLogUnits(countermark::SplitForFixedLog(word));
    const long double exact = -std::log1p(-std::ldexp(static_cast<long double>(word), -32));
    found.worst_units = std::max(found.worst_units, std::fabs(std::ldexp(static_cast<long double>(units), -64) - exact) * 0x1p40L);
  }
  const double log = countermark::NegativeLog(word);
  const long double exact = -std::log(std::ldexp(static_cast<long double>(2 * static_cast<uint64_t>(word) + 1), -33));
  const double ulp = std::ldexp(1.0, std::ilogb(static_cast<double>(exact)) - 52);
  found.worst_ulp = std::max(found.worst_ulp, std::fabs(static_cast<long double>(log) - exact) / ulp);
  if (!(log > 0) || (word != 0xFFFFFFFF && !(countermark::NegativeLog(word + 1) < log))) Break(word, found);
  if (!(countermark::GumbelArrivalBound(word, 1.0) <= countermark::GumbelArrival(word, 1.0))) Break(word, found);
}

void Look(uint64_t first, uint64_t last, uint64_t stride, Findings& found) {
  uint64_t previous = 0;
  for (uint64_t i = first; i < last; i += stride) {
    const uint32_t word = static_cast<uint32_t>(i);
    const uint64_t score = countermark::FixedNegativeLog(word);
    if (score < previous) Break(word, found);
    previous = score;
    const uint32_t fraction =
        word == 0 ? 0 : static_cast<uint32_t>(countermark::FixedLogUnits(countermark::SplitForFixedLog(word))) & 0xFFFFFF;
    if (fraction < 256 || fraction >= (1u << 24) - 256) {
      ++found.near_count;
      found.near += "near " + std::to_string(word) + " " + std::to_string(score) + "\n";
    }
    if (found.words++ % 64 == 0) Compare(word, found);
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
  std::printf("words %llu\nnear %llu\ncompared %llu\nnegative-log-ulp %.4Lf\nfixed-log-units %.3Le\nbroken %llu\n",
              static_cast<unsigned long long>(low.words + high.words), static_cast<unsigned long long>(low.near_count + high.near_count), static_cast<unsigned long long>(low.compared + high.compared),
              std::max(low.worst_ulp, high.worst_ulp), std::max(low.worst_units, high.worst_units),
              static_cast<unsigned long long>(low.broken + high.broken));
  return low.broken + high.broken == 0 ? 0 : 1;
}
