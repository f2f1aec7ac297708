// Kernels against the CPU hook, token for token: one case is a batch of rows with requests of their own, stepped twice.
//
// The grid: vocabularies, batch sizes, types of logits, patterns of −∞, ties, NaN, truncations, temperatures, window lengths, channels, schemes,
// repeated windows, drafts. A case is drawn from its number, so that a failure names it: CheckCase(n) runs it again.
#ifndef COUNTERMARK_TESTS_KERNELS_PARITY_H_
#define COUNTERMARK_TESTS_KERNELS_PARITY_H_

#include <cstdint>
#include <string>

namespace countermark::testing {

struct CaseLimits {
  int32_t largest_vocabulary = 256000;
  int32_t most_rows = 256;
  int64_t most_logits = int64_t{1} << 62;  // rows × vocabulary
};

// "" if the kernels and the hook agree on every row of case `number`: token, cause, log-probability, counters; else what differs.
std::string CheckCase(uint64_t number, const CaseLimits& limits);

}  // namespace countermark::testing

#endif  // COUNTERMARK_TESTS_KERNELS_PARITY_H_
