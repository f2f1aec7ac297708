// Byte-pair encoding: the parts of a word joined, the pair of lowest rank first.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_BPE_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_BPE_H_

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/tokenize/hf/model.h"

namespace countermark::hf {

class Bpe final : public Model {
 public:
  static absl::StatusOr<std::unique_ptr<Bpe>> Read(const Json& json, const std::string& where);

  absl::Status Tokenize(std::string_view word, std::vector<ModelToken>* tokens) const override;
  const Bpe* bpe() const override { return this; }

  // For words in GPT-2's alphabet of bytes, given as the bytes themselves. Only if byte_level(): the vocabulary has all of the alphabet and
  // the model nothing that depends on characters. Replaces *ids; the tokens' bytes, TokenBytes() each, tile the word.
  bool byte_level() const { return byte_level_; }
  void TokenizeBytes(std::string_view word, std::vector<uint32_t>* ids) const;
  uint32_t TokenBytes(uint32_t id) const { return bytes_of_id_[id]; }

 private:
  struct Symbol {
    uint32_t id;
    uint32_t bytes;
  };
  absl::Status ReadMerges(const Json& json, const std::string& where);
  void PrepareBytes();
  absl::Status Symbols(std::string_view word, std::vector<Symbol>* symbols) const;
  void Merge(std::vector<Symbol>* symbols) const;
  void MergeShort(std::vector<Symbol>* symbols) const;
  void MergeLong(std::vector<Symbol>* symbols) const;

  PairMap merges_;
  std::optional<std::string> unknown_, prefix_, suffix_;
  bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false;
  bool plain_texts_ = true;            // no merge makes a text of other than its parts' length: the short way gives what the long one does
  std::array<int64_t, 256> fallback_;  // "<0x00>" …, −1 where there is none

  bool byte_level_ = false;
  std::array<uint32_t, 256> id_of_byte_;
  Vocabulary by_bytes_;                // only with ignore_merges
  std::vector<uint32_t> bytes_of_id_;
};

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_BPE_H_
