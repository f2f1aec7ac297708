// Many tests, one verdict: Holm's and Bonferroni's corrections in the log domain, and the ledger of every test that was run.
//
// Takes log10 of raw p-values, gives log10 of adjusted ones, each ≤ 0; the verdict "adjusted ≤ α" errs anywhere in the family with
// probability at most α, whatever the dependence between the tests.
//
//   std::vector<double> adjusted = HolmAdjust(log10_p);               // accounts: one p each, {−9, −2, −0.1} → {−8.52, −1.70, −0.1}
//   TestLedger ledger{.records = 1000, .channels = 2, .questions = 2};
//   double corrected = BonferroniAdjust(-12.0, ledger.Total());       // −12 + log10 2002 = −8.70
#ifndef COUNTERMARK_DETECT_MULTIPLICITY_H_
#define COUNTERMARK_DETECT_MULTIPLICITY_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace countermark {

// Holm's step-down adjusted values (Holm 1979): with p sorted ascending, adjusted_i = max over j ≤ i of min(1, (family − j + 1)·p_j).
// log10 p in, log10 of the adjusted p out, in the same order, each ≤ 0; equal p get equal values; −inf (p = 0) stays. `family` ≥ log10_p.size()
// is the number of hypotheses when some were not computed (their p counts as 1); less, or 0, means the size. NaN and values
// above 0 count as p = 1. Cost: one sort.
std::vector<double> HolmAdjust(std::span<const double> log10_p, uint64_t family = 0);

// min(0, log10_p + log10(tests)); tests = 0 counts as 1, NaN as p = 1.
double BonferroniAdjust(double log10_p, uint64_t tests);

// How many tests a run has made, by what was varied. Every factor is at least 1: a 0 counts as 1.
//
// A run asks several questions of the same text: does any record carry the mark; does their pool; does a passage of a record (regions); and the first
// two again with weights. Any answer could be a false claim, so each question has an equal part of α (Bonferroni over `questions`), and the run as a
// whole keeps α. Within its part a question corrects for its own tests: `records` times those of a subject for the records, once those of a subject for the
// pool (Detector::Multiplier), times `regions` and the intervals that could have been tried for passages, times `weighted` for the weighted.
//
// The text becomes tokens in views · tokenizers ways, its readings; each is tested on its own, with an equal part again.
struct TestLedger {
  uint64_t records = 1;      // records a verdict is given for (documents); 0: unknown, verdicts say "uncorrected"
  uint64_t keys = 1;         // epochs tried
  uint64_t channels = 1;     // channels tested a record, the account channel counted with its candidates apart
  uint64_t candidates = 0;   // account keys tested a record
  uint64_t schemes = 1;
  uint64_t views = 1;        // raw, cleaned
  uint64_t tokenizers = 1;
  uint64_t questions = 1;    // QuestionsOf what was asked
  uint64_t regions = 0;      // searches for marked passages of a record's channel; 0: none were looked for
  uint64_t weighted = 0;     // weighted tests of a subject's channel or account; 0: none were made

  // Every test that was run, a search for passages as one: a raw p times this is corrected for the whole run, by more than a verdict needs.
  //   ((records + (1 if there is a pool beside them))·(channels + candidates)·(1 + weighted) + records·channels·regions)·keys·schemes·views·tokenizers,
  // saturating at 2⁶⁴ − 1. There is a pool where questions > 1 and records ≠ 1. An unknown number of records leaves the pool's tests alone to be
  // counted, and one search.
  uint64_t Total() const;
  // A single record is its own pool: one question, else two (0: not known). As many again with weights, and one more for passages.
  static uint64_t QuestionsOf(uint64_t records, bool regions = false, bool weighted = false) {
    return (records == 1 ? 1 : 2) * (weighted ? 2 : 1) + (regions ? 1 : 0);
  }
};

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_MULTIPLICITY_H_
