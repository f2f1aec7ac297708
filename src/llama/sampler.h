// The hook as a llama_sampler: the C++ form, behind the C one of countermark/llama.h.
#ifndef COUNTERMARK_SRC_LLAMA_SAMPLER_H_
#define COUNTERMARK_SRC_LLAMA_SAMPLER_H_

#include <llama.h>

#include <memory>

#include "absl/status/statusor.h"
#include "countermark/sampling/hook.h"

namespace countermark {

// A sampler for the end of a chain. `options.prompt` is ignored: the tokens accepted before the first apply are the prompt. The caller, or
// the chain it adds it to, frees it. Errors are those of Hook::Begin.
absl::StatusOr<llama_sampler*> MakeLlamaSampler(std::shared_ptr<const Hook> hook, const RequestOptions& options);

// The state of a sampler made here, or null for any other.
const Request* LlamaSamplerRequest(const llama_sampler* sampler);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_LLAMA_SAMPLER_H_
