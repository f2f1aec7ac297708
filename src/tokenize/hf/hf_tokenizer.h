// A Hugging Face tokenizer.json: ids and offsets as the `tokenizers` package gives them, and spans that tile the text.
//
//   CM_ASSIGN_OR_RETURN(std::unique_ptr<HfTokenizer> tokenizer, HfTokenizer::Parse(json, sha256));
//
// A text goes: ill-formed bytes to U+FFFD → added tokens found → normalizer → added tokens found again → pre-tokenizer → model. Where the vocabulary is of
// bytes and nothing rewrites the text, the words are cut from the text itself and looked up as bytes; what was found for a word is kept.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_HF_TOKENIZER_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_HF_TOKENIZER_H_

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/tokenize/tokenizer.h"
#include "src/tokenize/hf/added_tokens.h"
#include "src/tokenize/hf/bpe.h"
#include "src/tokenize/hf/decoder.h"
#include "src/tokenize/hf/model.h"
#include "src/tokenize/hf/normalizer.h"
#include "src/tokenize/hf/pre_tokenizer.h"
#include "src/tokenize/hf/word_cache.h"

namespace countermark::hf {

class HfTokenizer final : public Tokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<HfTokenizer>> Parse(std::string_view json, std::string sha256);

  // For tests: what the package's encode(text, add_special_tokens=False) gives, offsets in bytes, and the choice of its encode_special_tokens.
  struct Options {
    bool special_as_text = true;          // the special tokens' names are text like any other
    bool plain_path = true;               // false: never by bytes
    std::vector<ByteSpan>* offsets = nullptr;
  };
  absl::Status Encode(std::string_view text, const Options& options, TokenizedText* out) const;

  absl::Status Encode(std::string_view text, TokenizedText* out) const override { return Encode(text, Options(), out); }
  std::string Decode(std::span<const uint32_t> ids) const override;
  uint32_t vocabulary() const override { return ids_; }
  const std::string& sha256() const override { return sha256_; }
  std::string_view kind() const override { return "hf"; }

 private:
  struct Output;
  absl::Status EncodeValid(std::string_view text, const Options& options, Output* out) const;
  // A stretch of the text between added tokens.
  absl::Status EncodeStretch(std::string_view text, size_t begin, size_t end, const Options& options, Output* out) const;
  absl::Status EncodeByBytes(std::string_view text, size_t begin, size_t end, Output* out) const;
  absl::Status EncodePieces(std::string_view text, size_t begin, size_t end, const Options& options, Output* out) const;
  void PlanBytes();

  std::unique_ptr<WordCache> TakeCache() const;
  void GiveCache(std::unique_ptr<WordCache> cache) const;

  std::unique_ptr<Normalizer> normalizer_;
  std::vector<std::unique_ptr<PreTokenizer>> pre_tokenizers_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Decoder> decoder_;
  AddedTokens added_;
  std::string sha256_;
  uint32_t ids_ = 0;
  bool prefix_space_ = false;               // a byte-level pre-tokenizer puts a space before a text
  const Bpe* by_bytes_ = nullptr;           // set where words can be looked up as bytes
  std::vector<const Cutter*> word_cutters_;

  mutable std::mutex caches_mutex_;
  mutable std::vector<std::unique_ptr<WordCache>> caches_;
};

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_HF_TOKENIZER_H_
