// Null trials: a passage of real text, a fresh key, the product's own pairs, scores and p-values. What comes out is counted, not judged; bands.h judges.
//
//   NullTally tally = RunNulls(corpus, {.seed = 1, .passages = 1000000, .weights = {32768, 32768}});
//   AttainedLevels levels(mark, 198);
//   CheckHits(tally.hits[0], tally.Expected(levels, kAlphas[0]), 1e-3).inside();
#ifndef COUNTERMARK_TESTS_CALIBRATION_NULLS_H_
#define COUNTERMARK_TESTS_CALIBRATION_NULLS_H_

#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "countermark/keys/secret.h"
#include "countermark/mark/scheme.h"
#include "tests/calibration/bands.h"
#include "tests/calibration/corpus.h"

namespace countermark::calibration {

inline constexpr size_t kPassageTokens = 200;
inline constexpr std::array<double, 5> kAlphas = {1e-2, 1e-3, 1e-4, 1e-5, 1e-6};
inline constexpr double kCap = 10;  // of the e-values whose mean is taken

struct NullOptions {
  uint64_t seed = 1;
  uint64_t passages = 0;
  MarkParameters mark = {};
  std::vector<uint32_t> weights = {65536};  // the base channel is tested
  bool keep_repeats = false;                // deduplication off: what no verdict may ever do
  bool fixed_key = false;                   // one key for all passages: what shared pairs do
  uint64_t uniform_every = 16;              // every so many passages give a randomised p and an e-value; 0: none
  int threads = 2;
};

struct NullTally {
  uint64_t passages = 0;
  std::vector<uint64_t> with_pairs;                 // [n]: passages with n pairs on the base channel
  std::array<uint64_t, kAlphas.size()> hits{};      // passages with p ≤ α
  std::vector<std::vector<double>> uniform;         // [kind]: randomised p-values
  uint64_t e_values = 0;
  std::array<uint64_t, kAlphas.size()> e_hits{};  // E ≥ 1/α
  double capped_e_sum = 0;                        // Σ min(E, kCap)

  double Expected(const AttainedLevels& levels, double alpha) const;  // Σ of attained levels
  void Count(uint64_t pairs, double log10_p);         // one more passage
  void Merge(const NullTally& other);
};

// A fixed seed's stream of keys and passages. Blocks of passages have seeds of their own, so the counts do not depend on the threads.
class Source {
 public:
  Source(uint64_t seed, uint64_t block);
  Secret32 Key();
  // kPassageTokens tokens from anywhere in the kind.
  std::span<const uint32_t> Passage(const Kind& kind);
  double Uniform();  // [0, 1)

 private:
  std::mt19937_64 random_;
};

// Passage i is of kind i mod kinds, its place and keys drawn afresh.
NullTally RunNulls(const std::vector<Kind>& corpus, const NullOptions& options);

// A pool of texts that come of one another: a passage and copies of it, each begun up to 20 tokens later and with tokens replaced, left out, doubled and
// moved in from another kind of text. One fresh key a pool.
struct CopyOptions {
  uint64_t seed = 1;
  uint64_t pools = 0;
  size_t texts = 10;
  size_t edits = 8;           // a text
  MarkParameters mark = {};
  bool add_counts = false;    // each text's distinct pairs scored by themselves and the counts added: what no pool may do
  int threads = 2;
};
NullTally RunCopies(const std::vector<Kind>& corpus, const CopyOptions& options);

// Verdicts of the detector over simulated data sets: `records` passages each, one fresh epoch a data set, and candidate accounts (one at least).
struct VerdictOptions {
  uint64_t seed = 1;
  uint64_t sets = 0;
  size_t records = 100;
  size_t accounts = 3;
  Scheme scheme = Scheme::kGumbel;
  double alpha = 1e-2;
  int threads = 2;
};

struct VerdictTally {
  uint64_t sets = 0;
  uint64_t records_marked = 0;  // sets with one or more records called marked
  uint64_t pool_marked = 0;     // sets whose pool is called marked
  uint64_t either = 0;
  // [i]: sets in whose pool some account's p, corrected by Holm over the candidates alone, is ≤ kAlphas[i].
  std::array<uint64_t, kAlphas.size()> account_named{};
  std::array<double, kAlphas.size()> account_expected{};  // the attained levels of that, summed; with one record a set alone
};

VerdictTally RunVerdicts(const std::vector<Kind>& corpus, const VerdictOptions& options);

}  // namespace countermark::calibration

#endif  // COUNTERMARK_TESTS_CALIBRATION_NULLS_H_
