// The "model" of a tokenizer.json: a word to its tokens.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_MODEL_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_MODEL_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "src/tokenize/hf/json.h"
#include "src/tokenize/hf/vocabulary.h"

namespace countermark::hf {

struct ModelToken {
  uint32_t id;
  size_t begin, end;  // bytes of the word, as the library gives them
  size_t cut;         // where the token after it begins: `end`, but for bytes of one unknown character
};

class Bpe;

class Model {
 public:
  virtual ~Model() = default;
  // Appends the tokens of a word, which is not empty. Internal: a character that the vocabulary has nothing for, not even an unknown token.
  virtual absl::Status Tokenize(std::string_view word, std::vector<ModelToken>* tokens) const = 0;
  const Vocabulary& vocabulary() const { return vocabulary_; }
  virtual uint32_t size() const { return vocabulary_.texts(); }  // as the library counts it: where added tokens' numbers begin
  virtual const Bpe* bpe() const { return nullptr; }

 protected:
  Vocabulary vocabulary_;
};

// DataLoss or Unimplemented, with the place.
absl::StatusOr<std::unique_ptr<Model>> ReadModel(const Json& json, const std::string& where);

// What model.cc chooses from.
absl::StatusOr<std::unique_ptr<Model>> ReadBpe(const Json& json, const std::string& where);
absl::StatusOr<std::unique_ptr<Model>> ReadWordPiece(const Json& json, const std::string& where);
absl::StatusOr<std::unique_ptr<Model>> ReadWordLevel(const Json& json, const std::string& where);
absl::StatusOr<std::unique_ptr<Model>> ReadUnigram(const Json& json, const std::string& where);

// {"text": id, …} into a vocabulary. An id twice is an error.
absl::Status ReadVocabulary(const Json& json, const std::string& where, Vocabulary* vocabulary);

absl::Status NothingFor(std::string_view word, std::string_view unknown_token);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_MODEL_H_
