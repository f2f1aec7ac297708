// Text to token ids with the bytes each came from. Takes a tokenizer's file; gives the ids its model would see.
#ifndef COUNTERMARK_TOKENIZE_TOKENIZER_H_
#define COUNTERMARK_TOKENIZE_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace countermark {

struct ByteSpan {
  uint64_t begin = 0;  // into the original text
  uint64_t end = 0;    // one past; begin == end where a token stands for no byte of the text (a dummy prefix)
};

struct TokenizedText {
  std::vector<uint32_t> ids;
  std::vector<ByteSpan> spans;  // as many as ids; ascending
};

// Safe to use from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Plain text only: no begin or end token is added and no text is read as a special token. Invalid UTF-8 and NUL bytes are taken as the tokenizer's own
  // library takes them, and the spans still cover the original bytes. Replaces *out, whose memory is reused.
  virtual absl::Status Encode(std::string_view text, TokenizedText* out) const = 0;
  virtual std::string Decode(std::span<const uint32_t> ids) const = 0;
  virtual uint32_t vocabulary() const = 0;       // number of ids
  virtual const std::string& sha256() const = 0;  // of the file's content, 64 hex digits
  virtual std::string_view kind() const = 0;      // "sentencepiece", "gguf"
};

// By the file's content: GGUF (magic "GGUF") or a SentencePiece model. NotFound, or DataLoss with the reason.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& path);

// Encodes many texts over `threads` threads (0: all), results in order.
absl::Status EncodeBatch(const Tokenizer& tokenizer, std::span<const std::string_view> texts, int threads,
                         std::vector<TokenizedText>* out);

}  // namespace countermark

#endif  // COUNTERMARK_TOKENIZE_TOKENIZER_H_
