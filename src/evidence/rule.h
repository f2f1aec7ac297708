// The parts of rule 1 (countermark/evidence/report.h) that deriving and verifying share.
#ifndef COUNTERMARK_SRC_EVIDENCE_RULE_H_
#define COUNTERMARK_SRC_EVIDENCE_RULE_H_

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

// The tests the verdict hangs on: all, since all share alpha; where the number of records is not known, the pooled ones if there are any.
std::vector<const ReportTest*> DecisiveTests(const Report& report);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_EVIDENCE_RULE_H_
