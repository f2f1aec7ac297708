// The "normalizer" of a tokenizer.json: what rewrites a text before it is cut.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_NORMALIZER_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_NORMALIZER_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "src/tokenize/hf/json.h"
#include "src/tokenize/hf/pieces.h"

namespace countermark::hf {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Internal where the library itself fails; ResourceExhausted from a regular expression.
  virtual absl::Status Apply(Rewriter* rewriter) const = 0;
  // True only if the text, as it stands in the original, stays as it is with the origins it has. May be false for others.
  virtual bool Keeps(std::string_view) const { return false; }
};

// `where` is the object's place. DataLoss or Unimplemented, with the place.
absl::StatusOr<std::unique_ptr<Normalizer>> ReadNormalizer(const Json& json, const std::string& where);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_NORMALIZER_H_
