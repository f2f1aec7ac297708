// The hook as a llama_sampler: the C++ form, behind the C one of countermark/llama.h.
#ifndef COUNTERMARK_SRC_LLAMA_SAMPLER_H_
#define COUNTERMARK_SRC_LLAMA_SAMPLER_H_

#include <llama.h>

#include <cstddef>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "countermark/keys/secret.h"
#include "countermark/sampling/hook.h"

namespace countermark {

// Hears what becomes of a sampler and of its clones, which share it. Called on the thread that uses them.
class LlamaSamplerListener {
 public:
  virtual ~LlamaSamplerListener() = default;
  // The first token is about to be chosen, after making or after a reset. `prompted`: tokens were accepted before.
  virtual void Began(bool prompted) noexcept = 0;
  // The output's token at `position` is one of this cause. A clone that goes back, as after drafts that are verified anew, says a position again.
  virtual void Took(size_t position, Cause cause) noexcept = 0;
};

// What a host says that is more than a library's caller.
struct LlamaSeat {
  std::optional<Secret32> account_key;  // of the account in the request's options, which is registered
  // The host has itself raised a request to the entropy floor, in samplers before this one: the plain draws are to come from the account's key and the
  // prompt, so that the same request gets the same answer.
  bool floored = false;
  std::shared_ptr<LlamaSamplerListener> listener;  // may be null
};

// A sampler for the end of a chain. `options.prompt` is ignored: the tokens accepted before the first apply are the prompt. The caller, or
// the chain it adds it to, frees it. Errors are those of Hook::Begin.
absl::StatusOr<llama_sampler*> MakeLlamaSampler(std::shared_ptr<const Hook> hook, const RequestOptions& options, const LlamaSeat& seat = {});

// The state of a sampler made here, or null for any other.
const Request* LlamaSamplerRequest(const llama_sampler* sampler);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_LLAMA_SAMPLER_H_
