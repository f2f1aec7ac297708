// For builds without libllama.
#include "src/audit/model/language_model.h"

namespace countermark::audit {

absl::StatusOr<std::unique_ptr<LanguageModel>> LoadLanguageModel(const std::string& path, const LanguageModelOptions&) {
  return absl::FailedPreconditionError("this build has no libllama, which '" + path + "' needs; build with -DCOUNTERMARK_LLAMA=ON");
}

}  // namespace countermark::audit
