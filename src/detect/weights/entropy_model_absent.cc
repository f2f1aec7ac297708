// Stands in for entropy_model.cc in a build without libllama.
#include "countermark/detect/entropy.h"
#include "src/base/strings.h"

namespace countermark {

absl::StatusOr<std::unique_ptr<EntropyModel>> EntropyModel::Open(const std::string& path, const EntropyModelOptions&) {
  return absl::FailedPreconditionError(Cat("'", path, "' cannot be evaluated: this build has no libllama; build with it (tools/setup fetches it), or test without weights"));
}

}  // namespace countermark
