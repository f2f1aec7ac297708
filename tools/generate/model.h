// A GGUF model that answers several prompts at once, each through its own sampler chain.
#ifndef COUNTERMARK_TOOLS_GENERATE_MODEL_H_
#define COUNTERMARK_TOOLS_GENERATE_MODEL_H_

#include <llama.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace countermark::generate {

struct ModelOptions {
  std::string path;
  int threads = 0;    // 0: all cores
  int parallel = 4;   // prompts at once
  int max_tokens = 256;
  int max_prompt = 1024;  // tokens; a longer prompt is an error
  bool chat = true;   // put the prompt into the model's chat template
};

struct Answer {
  std::vector<uint32_t> tokens;  // without the end token
  std::string text;
  bool ended = false;            // by the model itself, else by max_tokens
};

class Model {
 public:
  static absl::StatusOr<Model> Load(const ModelOptions& options);

  uint32_t vocabulary() const;
  // The prompt as the model will see it, as tokens.
  absl::StatusOr<std::vector<llama_token>> Tokenize(const std::string& prompt) const;

  // Answers every prompt. chain(i) makes the sampler chain of prompt i, which done(i, …) is given back with the answer, in whatever order
  // they end; tick(n) hears of n new tokens. The first error of `chain` or `done` ends it.
  absl::Status Run(const std::vector<std::vector<llama_token>>& prompts, const std::function<absl::StatusOr<llama_sampler*>(size_t)>& chain,
                   const std::function<absl::Status(size_t, const Answer&, llama_sampler*)>& done, const std::function<void(size_t)>& tick);

 private:
  struct ModelFree {
    void operator()(llama_model* m) const { llama_model_free(m); }
  };
  struct ContextFree {
    void operator()(llama_context* c) const { llama_free(c); }
  };
  ModelOptions options_;
  std::unique_ptr<llama_model, ModelFree> model_;
  std::unique_ptr<llama_context, ContextFree> context_;
};

}  // namespace countermark::generate

#endif  // COUNTERMARK_TOOLS_GENERATE_MODEL_H_
