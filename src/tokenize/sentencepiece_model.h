// The SentencePiece library behind standard types alone: its header declares an absl::string_view of its own, so no file that includes
// Abseil can include it.
#ifndef COUNTERMARK_SRC_TOKENIZE_SENTENCEPIECE_MODEL_H_
#define COUNTERMARK_SRC_TOKENIZE_SENTENCEPIECE_MODEL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace countermark {

class SentencePieceModel {
 public:
  SentencePieceModel();
  ~SentencePieceModel();

  // `serialized` is a model file's content. The reason it was refused, or empty.
  std::string Load(std::string_view serialized);

  // Ids, and where each ended in the text; it began where the one before ended. The library's error, or empty.
  std::string Encode(std::string_view text, std::vector<uint32_t>* ids, std::vector<uint32_t>* ends) const;

  // Ids that the model does not have are left out.
  std::string Decode(std::span<const uint32_t> ids) const;

  uint32_t size() const { return static_cast<uint32_t>(is_byte_.size()); }
  bool IsByte(uint32_t id) const { return is_byte_[id]; }

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  std::vector<bool> is_byte_;
};

}  // namespace countermark

#endif  // COUNTERMARK_SRC_TOKENIZE_SENTENCEPIECE_MODEL_H_
