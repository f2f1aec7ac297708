// A request's sampling parameters, and what the low-entropy policy makes of them.
#ifndef COUNTERMARK_SAMPLING_PARAMETERS_H_
#define COUNTERMARK_SAMPLING_PARAMETERS_H_

#include "absl/status/statusor.h"
#include "countermark/keys/epoch.h"

namespace countermark {

// Applied in this order: temperature, then top-k, top-p, min-p one after another on the unmarked distribution.
struct SamplingParameters {
  float temperature = 1.0f;  // 0: greedy
  int top_k = 0;             // ≤ 0: off
  double top_p = 1.0;        // in (0, 1]; 1: off
  double min_p = 0.0;        // in [0, 1]; 0: off
};

// What a request must leave to chance so that a mark can live (mark-format.md, low entropy).
struct EntropyFloor {
  float temperature = 0.3f;
  int top_k = 8;
  double top_p = 0.5;
  double min_p = 0.5;  // min-p at most this: a min-p of 1 is a top-k of 1 by another name
};

// The parameters as they will be used, and whether the floor changed them.
struct PolicyOutcome {
  SamplingParameters parameters;
  bool floored = false;
};

// InvalidArgument: a parameter is NaN or out of range. PermissionDenied: the policy is kDeny and the request is below the floor.
absl::StatusOr<PolicyOutcome> ApplyLowEntropyPolicy(const SamplingParameters& asked, LowEntropyPolicy policy,
                                                    const EntropyFloor& floor = {});

}  // namespace countermark

#endif  // COUNTERMARK_SAMPLING_PARAMETERS_H_
