// The "added_tokens" of a tokenizer.json: texts found before words are cut.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_ADDED_TOKENS_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_ADDED_TOKENS_H_

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "src/tokenize/hf/json.h"
#include "src/tokenize/hf/model.h"
#include "src/tokenize/hf/normalizer.h"
#include "src/tokenize/hf/pieces.h"

namespace countermark::hf {

struct AddedToken {
  std::string text;        // as the file has it
  std::string normalized;  // what is looked for, and what decoding writes
  bool single_word = false, left_strip = false, right_strip = false, is_normalized = false, special = false;
  bool operator==(const AddedToken&) const = default;
};

class AddedTokens {
 public:
  // Numbers are given as the library gives them: a text of the vocabulary has its own, others count on from the vocabulary's size, whatever the
  // file says ("id" there is not read by it). Broken: two tokens that are looked for by one text.
  static absl::StatusOr<AddedTokens> Read(const Json& json, const std::string& where, const Model& model, const Normalizer* normalizer);

  // Appends what covers the text: tokens, of `id` as Pieces::Cut has it, and what is between. In the original text (`normalized` false) or the
  // rewritten one. Special tokens are found too unless `special_as_text`.
  void Find(std::string_view text, bool normalized, bool special_as_text, std::vector<Pieces::Cut>* cuts) const;
  bool Any(bool normalized) const { return !tries_[normalized ? 1 : 0].nodes.empty(); }

  const AddedToken* Get(uint32_t id) const;
  bool IsSpecial(std::string_view text) const { return special_.contains(std::string(text)); }
  uint32_t ids() const { return ids_; }  // one past the highest

 private:
  struct Node {
    std::vector<std::pair<uint8_t, uint32_t>> children;
    int64_t id = -1;
  };
  struct Trie {
    std::vector<Node> nodes;
    std::vector<uint32_t> first = std::vector<uint32_t>(256);  // the root's children; 0 where there is none
  };
  // The longest text that begins at `at`: its end, or 0.
  size_t Longest(const Trie& trie, std::string_view text, size_t at, uint32_t* id) const;
  bool Put(Trie* trie, std::string_view text, uint32_t id);

  std::unordered_map<std::string, uint32_t> id_of_;
  std::unordered_map<uint32_t, AddedToken> tokens_;
  std::unordered_map<std::string, bool> special_;
  Trie tries_[2];  // of the original text, of the rewritten one
  uint32_t ids_ = 0;
};

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_ADDED_TOKENS_H_
