// The "pre_tokenizer" of a tokenizer.json: what cuts a text into words.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_PRE_TOKENIZER_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_PRE_TOKENIZER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "src/tokenize/hf/json.h"
#include "src/tokenize/hf/pieces.h"

namespace countermark::hf {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual absl::Status Apply(Pieces* pieces) const = 0;
};

// One that leaves the text as it is and only cuts it.
class Cutter : public PreTokenizer {
 public:
  // Appends ascending ranges of the text; what is in none is dropped.
  virtual absl::Status Cut(std::string_view text, std::vector<Pieces::Cut>* cuts) const = 0;
  absl::Status Apply(Pieces* pieces) const final {
    return pieces->CutAll([this](std::string_view text, const Piece&, std::vector<Pieces::Cut>* cuts) { return Cut(text, cuts); });
  }
};

// GPT-2's: a space before the text, words, then the alphabet of bytes.
class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  ByteLevelPreTokenizer(bool add_prefix_space, std::unique_ptr<Cutter> words) : add_prefix_space_(add_prefix_space), words_(std::move(words)) {}
  absl::Status Apply(Pieces* pieces) const override;
  bool add_prefix_space() const { return add_prefix_space_; }
  const Cutter* words() const { return words_.get(); }  // nullptr without "use_regex"

 private:
  bool add_prefix_space_;
  std::unique_ptr<Cutter> words_;
};

// Appends what is read, a sequence as its parts in their order. DataLoss or Unimplemented, with the place.
absl::Status ReadPreTokenizers(const Json& json, const std::string& where, std::vector<std::unique_ptr<PreTokenizer>>* out);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_PRE_TOKENIZER_H_
