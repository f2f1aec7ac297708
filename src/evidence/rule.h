// The parts of rule 2 (countermark/evidence/report.h) that validating, deriving and verifying share.
#ifndef COUNTERMARK_SRC_EVIDENCE_RULE_H_
#define COUNTERMARK_SRC_EVIDENCE_RULE_H_

#include <map>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "countermark/evidence/report.h"

namespace countermark {

// log10 m: how many families of tests share alpha.
double Log10Families(const TestLedger& ledger, bool pooled);

// The verdict that follows from the adjusted values as they stand in the report.
Verdict VerdictOf(const Report& report);

// Whether tenant, epoch, parameters, weights and tokenizer are those of the epoch record the report carries, and the record is in canonical form.
// OK without a record. InvalidArgument names the member.
absl::Status CheckAgainstRecord(const Report& report);

// What a report claims of one key, by a test, a passage or a weighted test.
struct Claim {
  uint64_t record;
  TestKind kind;
  std::string_view name;
  uint64_t scored;
  double log10_p_adjusted;
};
// Those that the verdict hangs on: all, since all share alpha; where the number of records is not known, the pooled ones alone.
std::vector<Claim> DecisiveClaims(const Report& report);

// The counts of channels, by record, reading and name.
using ChannelCounts = std::map<std::tuple<uint64_t, uint64_t, std::string_view>, const ChannelCount*>;
ChannelCounts ChannelCountsOf(const Report& report);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_EVIDENCE_RULE_H_
