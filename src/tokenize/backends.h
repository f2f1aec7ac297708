// The kinds of tokenizer that OpenTokenizer chooses from, one file each. A new kind is a function here and a line in tokenizer.cc.
#ifndef COUNTERMARK_SRC_TOKENIZE_BACKENDS_H_
#define COUNTERMARK_SRC_TOKENIZE_BACKENDS_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "countermark/tokenize/tokenizer.h"

namespace countermark {

// All take the file's path and its SHA-256 in hex. DataLoss, naming the path and the library's reason, if the file is broken.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenSentencePiece(const std::string& path, std::string sha256);
// A Hugging Face tokenizer.json. DataLoss for a broken one, Unimplemented for one with a part that is not known, both with its place in the file.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenHf(const std::string& path, std::string sha256);
// FailedPrecondition in a build without libllama.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenGguf(const std::string& path, std::string sha256);

// A longer text is an InvalidArgument: the libraries count its pieces in int, and a rewritten text is up to three times as long.
inline constexpr size_t kMaxTokenizedText = size_t{512} << 20;

absl::Status CheckTextLength(size_t bytes);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_TOKENIZE_BACKENDS_H_
