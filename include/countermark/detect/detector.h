// Token ids and an epoch's keys in; tests of the base channel and of candidate accounts out.
//
//   CM_ASSIGN_OR_RETURN(Detector detector, Detector::Create(keys, {"org-1", "org-2"}));
//   PairSet pairs(detector.window());
//   pairs.Add(ids);
//   DetectionResult result = detector.Score(pairs);
//   RecordVerdict verdict = detector.Judge(result, ledger, 1e-6);
//
// H0 of every test: the text is statistically independent of the key. The base channel says whose model, the account channel whose answers;
// the two are never joined in one number. Formulas: docs/how-to-read-a-p-value.md; tails.h, multiplicity.h.
#ifndef COUNTERMARK_DETECT_DETECTOR_H_
#define COUNTERMARK_DETECT_DETECTOR_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/detect/multiplicity.h"
#include "countermark/detect/pairs.h"
#include "countermark/detect/weighted.h"
#include "countermark/keys/epoch.h"

namespace countermark {

struct ChannelTest {
  std::string name;
  ChannelCount count;
  double log10_p = 0;
  double log10_e = 0;
};

// Of the candidate at the same place in Detector::accounts().
struct AccountTest {
  ChannelCount count;
  double log10_p = 0;
  double log10_p_adjusted = 0;  // Holm over all candidates of this record (or of the pool), nothing else
};

struct DetectionResult {
  uint64_t scored = 0;                // distinct pairs, on whatever channel
  std::vector<ChannelTest> channels;  // the channels whose key the epoch key gives without a label: base
  std::vector<AccountTest> accounts;
};

// The same tests with a weight for each pair (weighted.h).
struct WeightedChannelTest {
  std::string name;
  uint64_t scored = 0;
  Statistic sum = 0;
  WeightedTest test;
};
struct WeightedAccountTest {
  uint64_t scored = 0;
  Statistic sum = 0;
  WeightedTest test;
  double log10_p_adjusted = 0;  // Holm over all candidates
};
struct WeightedResult {
  std::vector<WeightedChannelTest> channels;
  std::vector<WeightedAccountTest> accounts;
};

// The pairs on one channel, ascending, and the exact integer score of each.
struct PairScores {
  std::vector<uint32_t> which;
  std::vector<uint64_t> score;
};

enum class RecordVerdict {
  kNoEvidence,
  kMarked,
  kInconclusive,  // no pair on a tested channel
  kUncorrected,   // the number of records is not known, so no verdict can be given
};
std::string_view RecordVerdictName(RecordVerdict verdict);  // "no evidence", "marked", "inconclusive", "uncorrected"

class Detector {
 public:
  // A record made from flags may leave tenant, epoch, vocabulary (0: not known), tokenizer and times empty. InvalidArgument: parameters out of
  // range, a candidate named twice, candidates for an epoch without an account channel.
  static absl::StatusOr<Detector> Create(const EpochKeys& keys, std::vector<std::string> accounts);

  int window() const { return record_.mark.window; }
  const EpochRecord& record() const { return record_; }
  const std::vector<std::string>& accounts() const { return accounts_; }
  // Ids from here on are errors: the epoch's vocabulary, or the format's limit where the record does not say.
  uint32_t id_limit() const { return record_.vocabulary != 0 ? record_.vocabulary : kTokenLimit; }
  // InvalidArgument names the first id that the epoch's vocabulary does not hold.
  absl::Status CheckIds(std::span<const uint32_t> ids) const;

  // All tests on the distinct pairs. Safe on several threads at once.
  DetectionResult Score(const PairSet& pairs) const;
  // What the base channel's count is the sum of, pair by pair: for passages (regions.h) and weights.
  PairScores ScoreEachPair(const PairSet& pairs) const { return ScoreEachPair(pairs, 0, base_key_); }
  // The same of the account channel under the key of accounts()[account], for figures.
  PairScores ScoreEachPair(const PairSet& pairs, size_t account) const { return ScoreEachPair(pairs, account_channel_, account_keys_[account]); }

  // The same with a weight for each pair, fixed without the key.
  WeightedResult ScoreWeighted(const PairSet& pairs, std::span<const PairWeight> weights) const;

  // The ledger of a run over `records` records (0: not known).
  TestLedger Ledger(uint64_t records) const;

  // What a channel's p, and a Holm-adjusted account's, is multiplied with before a verdict, saturating at 2⁶⁴ − 1:
  //   m = questions·keys·schemes·views·tokenizers·(channels + (1 if candidates)), and times records if `of_record`.
  static uint64_t Multiplier(const TestLedger& ledger, bool of_record);
  // Marked if a value so corrected is ≤ alpha: the chance of one or more false claims in the whole run, over all its records and their pool
  // together, is at most alpha. of_record false: the pooled test, which is one whatever the number of records.
  RecordVerdict Judge(const DetectionResult& result, const TestLedger& ledger, double alpha, bool of_record = true) const;
  // The same of weighted tests: a question of its own, which corrects for ledger.weighted too.
  static RecordVerdict JudgeWeighted(const WeightedResult& result, const TestLedger& ledger, double alpha, bool of_record = true);

 private:
  Detector(const EpochKeys& keys, std::vector<std::string> accounts);
  PairScores ScoreEachPair(const PairSet& pairs, int channel, const Secret32& key) const;
  EpochRecord record_;
  std::vector<uint32_t> weights_;
  int account_channel_ = -1;
  Secret32 base_key_;
  Secret32 route_key_;
  std::vector<std::string> accounts_;
  std::vector<Secret32> account_keys_;
};

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_DETECTOR_H_
