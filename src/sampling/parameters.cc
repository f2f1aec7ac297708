#include "countermark/sampling/parameters.h"

#include <algorithm>
#include <cmath>

#include "countermark/mark/weight.h"

namespace countermark {

absl::StatusOr<PolicyOutcome> ApplyLowEntropyPolicy(const SamplingParameters& asked, LowEntropyPolicy policy,
                                                    const EntropyFloor& floor) {
  if (!(asked.temperature >= 0) || std::isinf(asked.temperature)) {
    return absl::InvalidArgumentError("temperature must be a finite number, 0 or more");
  }
  if (!(asked.top_p > 0 && asked.top_p <= 1)) return absl::InvalidArgumentError("top-p must be above 0 and at most 1");
  if (!(asked.min_p >= 0 && asked.min_p <= 1)) return absl::InvalidArgumentError("min-p must be between 0 and 1");

  PolicyOutcome out = {asked, false};
  SamplingParameters& p = out.parameters;
  if (p.top_k < 0) p.top_k = 0;
  p.temperature = std::max(asked.temperature, floor.temperature);
  if (p.top_k > 0) p.top_k = std::max(p.top_k, floor.top_k);
  p.top_p = std::max(asked.top_p, floor.top_p);
  p.min_p = std::min(asked.min_p, floor.min_p);
  out.floored = p.temperature != asked.temperature || p.top_k != std::max(asked.top_k, 0) || p.top_p != asked.top_p ||
                p.min_p != asked.min_p;
  if (!out.floored || policy == LowEntropyPolicy::kFloor) return out;
  if (policy == LowEntropyPolicy::kDeny) {
    return absl::PermissionDeniedError(
        "this deployment takes no request below its entropy floor (temperature, top-k, top-p or min-p leave too little choice)");
  }
  return PolicyOutcome{asked, false};
}

}  // namespace countermark
