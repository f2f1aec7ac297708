// The control of a data set's audit: its pooled statistic under decoy keys (detect/decoys.h), on pairs that a finished run holds.
//
//   CM_ASSIGN_OR_RETURN(DecoyControl control, DatasetControl(keys, "run", DrawDecoySeed(), 1000, threads));
//
// The pairs are the distinct ones of the base channel in the order of the input, each at its first document: all, or as many of the first as `most_scores` scores allow,
// for the real key and the decoys alike. No verdict hangs on it.
#ifndef COUNTERMARK_AUDIT_CONTROL_H_
#define COUNTERMARK_AUDIT_CONTROL_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "countermark/audit/dataset.h"
#include "countermark/detect/decoys.h"

namespace countermark {

// Reads only; the run may be locked by nobody or by the caller. FailedPrecondition: not a finished run of 'dataset' (a merge holds no pairs of its own), or one of
// another key. DataLoss: a damaged file. At most 50 bytes of memory a pair.
absl::StatusOr<DecoyControl> DatasetControl(const AuditKeys& keys, const std::string& directory, const DecoySeed& seed, size_t decoys, int threads,
                                            uint64_t most_scores = 500'000'000);

}  // namespace countermark

#endif  // COUNTERMARK_AUDIT_CONTROL_H_
