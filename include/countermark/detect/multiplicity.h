// Many tests, one verdict: Holm's and Bonferroni's corrections in the log domain, and the ledger of every test that was run.
#ifndef COUNTERMARK_DETECT_MULTIPLICITY_H_
#define COUNTERMARK_DETECT_MULTIPLICITY_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace countermark {

// Holm's step-down adjusted values: log10 p in, log10 of the adjusted p out, in the same order, each ≤ 0. `family` ≥ log10_p.size() is the
// number of hypotheses when some were not computed (their p counts as 1).
std::vector<double> HolmAdjust(std::span<const double> log10_p, uint64_t family = 0);

// min(0, log10_p + log10(tests)).
double BonferroniAdjust(double log10_p, uint64_t tests);

// How many tests stand behind a verdict: the product of what was varied. Every factor is at least 1.
struct TestLedger {
  uint64_t records = 1;      // records a verdict is given for (documents); 0: unknown, verdicts say "uncorrected"
  uint64_t keys = 1;         // epochs tried
  uint64_t channels = 1;     // channels tested a record, the account channel counted with its candidates apart
  uint64_t candidates = 0;   // account keys tested a record
  uint64_t schemes = 1;
  uint64_t views = 1;        // raw, cleaned
  uint64_t regions = 1;      // intervals that could have been chosen
  uint64_t tokenizers = 1;
  // records·keys·schemes·views·regions·tokenizers·(channels + candidates), saturating.
  uint64_t Total() const;
};

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_MULTIPLICITY_H_
