// SentencePiece's precompiled_charsmap as tokenizers' normalizer "Precompiled" applies it (precompiled.rs, spm_precompiled 0.1.4).
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_CHARSMAP_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_CHARSMAP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "src/tokenize/hf/pieces.h"

namespace countermark::hf {

class Charsmap {
 public:
  // DataLoss, without a place: no base64, cut short, replacements that are no UTF-8 or begin inside a character, a trie that leads outside.
  static absl::StatusOr<Charsmap> FromBase64(std::string_view base64);

  // Grapheme by grapheme where one has less than six bytes and begins with a key, else character by character.
  absl::Status Apply(Rewriter* rewriter) const;

 private:
  // What the shortest key that the chunk begins with is replaced by.
  std::optional<std::string_view> Replacement(std::string_view chunk) const;

  std::vector<uint32_t> trie_;
  std::string replacements_;  // each ended by a NUL
};

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_CHARSMAP_H_
