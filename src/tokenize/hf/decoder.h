// The "decoder" of a tokenizer.json: tokens back to text.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_DECODER_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_DECODER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "src/tokenize/hf/json.h"

namespace countermark::hf {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Rewrites the tokens' texts, which are then put one after another.
  virtual void Apply(std::vector<std::string>* tokens) const = 0;
};

// DataLoss or Unimplemented, with the place.
absl::StatusOr<std::unique_ptr<Decoder>> ReadDecoder(const Json& json, const std::string& where);

// Whether a "post_processor", a "truncation" or a "padding" is one that this reader knows. What they do is not done: a text to be tested is
// not cut, filled up or put between special tokens.
absl::Status CheckPostProcessor(const Json& json, const std::string& where);
absl::Status CheckTruncation(const Json& json, const std::string& where);
absl::Status CheckPadding(const Json& json, const std::string& where);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_DECODER_H_
