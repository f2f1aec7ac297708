// A language model that is asked what it expects after each token of a context.
//
//   CM_ASSIGN_OR_RETURN(std::unique_ptr<LanguageModel> model, LoadLanguageModel("suspect.gguf", options));
//   CM_RETURN_IF_ERROR(model->Begin());
//   CM_RETURN_IF_ERROR(model->Extend(tokens, wanted, [](size_t i, std::span<const float> logits) { … }));   // of the token after tokens[i]
//   CM_RETURN_IF_ERROR(model->Extend(more, …));
#ifndef COUNTERMARK_SRC_AUDIT_MODEL_LANGUAGE_MODEL_H_
#define COUNTERMARK_SRC_AUDIT_MODEL_LANGUAGE_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace countermark::audit {

struct LanguageModelOptions {
  uint32_t max_context = 2048;  // tokens of a context
  int threads = 1;
};

// One context at a time, one thread.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual uint32_t vocabulary() const = 0;
  virtual std::string Piece(uint32_t id) const = 0;            // a token's text; of a control token none
  virtual std::optional<uint32_t> begin_token() const = 0;     // what a text is to begin with, if anything
  virtual absl::StatusOr<std::vector<uint32_t>> Tokenize(std::string_view text) const = 0;  // plain text, no special tokens
  // Begins a new context.
  virtual absl::Status Begin() = 0;
  using Row = std::function<void(size_t index, std::span<const float> logits)>;
  // Takes the context on by `tokens`, max_context in all at most, and gives the logits after each that is wanted.
  virtual absl::Status Extend(std::span<const uint32_t> tokens, std::span<const uint8_t> wanted, const Row& row) = 0;
};

// A GGUF model by libllama. NotFound and the like; DataLoss with the reason for a file that is no model; ResourceExhausted without memory for its context;
// FailedPrecondition in a build without libllama.
absl::StatusOr<std::unique_ptr<LanguageModel>> LoadLanguageModel(const std::string& path, const LanguageModelOptions& options);

// probabilities[map[v]] = softmax(logits)[v], and 0 where no token is mapped to; a map of −1 loses the token. No map: v itself, up to
// probabilities.size(). Gives the likeliest token in the terms of `probabilities`, or −1 where it is lost or there is none (NaN).
int64_t Softmax(std::span<const float> logits, std::span<const int32_t> map, std::span<float> probabilities);

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_MODEL_LANGUAGE_MODEL_H_
