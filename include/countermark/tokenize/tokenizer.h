// Text to token ids with the bytes each came from. Takes a tokenizer's file; gives the ids its model would see.
//
//   CM_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer("model.gguf"));
//   TokenizedText tokens;
//   CM_RETURN_IF_ERROR(tokenizer->Encode(text, &tokens));
//   // text.substr(tokens.spans[i].begin, …end − begin) is what tokens.ids[i] stands for
//
// Spans tile the text: the first begins at 0, each where the one before ends, the last ends at the text's end. White space or other bytes
// that the tokenizer drops belong to the token after them (at the end of the text, before them). Where one character became several byte
// tokens, each has its own byte if the character stands unchanged, else the last has all. A text that is dropped whole has no tokens.
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
  // library takes them (a tokenizer.json's takes no invalid UTF-8: every ill-formed part is read as U+FFFD), and the spans still cover the original bytes. Replaces *out, whose memory is reused.
  // InvalidArgument: more than 512 MiB of text, or, for a GGUF vocabulary whose words libllama cuts with std::regex, more than 1 MiB without
  // white space ending in it. Internal: the library's own error (text outside a vocabulary that has no bytes). ResourceExhausted: a
  // tokenizer.json's regular expression that finds no end. Time and memory are linear in
  // the text (about 20 bytes of memory a byte beside the library's own).
  virtual absl::Status Encode(std::string_view text, TokenizedText* out) const = 0;
  // The text of these ids without the space that Encode puts before a text. Begin, end and other control tokens have no text; ids beyond the
  // vocabulary are left out.
  virtual std::string Decode(std::span<const uint32_t> ids) const = 0;
  virtual uint32_t vocabulary() const = 0;       // number of ids
  virtual const std::string& sha256() const = 0;  // of the file's content, 64 hex digits
  virtual std::string_view kind() const = 0;      // "sentencepiece", "gguf", "hf"
};

// By the file's content: GGUF (magic "GGUF"; only its vocabulary is read, and all of it is hashed), Hugging Face's tokenizer.json (its name ends in
// ".json", or it begins with '{') or a SentencePiece model. NotFound (and
// what else opening a file gives), DataLoss with the reason, FailedPrecondition for GGUF in a build without libllama, Unimplemented for a
// GGUF tokenizer that does not write text (WordPiece) and for a tokenizer.json with a part that is not known, named with its place in the file. libllama's log is held off meanwhile and the host's logger put back.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& path);

// Encodes many texts over `threads` threads (0: all), results in order, whatever the number of threads. All are tried; the error is that of
// the first text that failed, "text 7: …".
absl::Status EncodeBatch(const Tokenizer& tokenizer, std::span<const std::string_view> texts, int threads,
                         std::vector<TokenizedText>* out);

}  // namespace countermark

#endif  // COUNTERMARK_TOKENIZE_TOKENIZER_H_
