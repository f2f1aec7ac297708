// Stands in for gguf_tokenizer.cc in a build without libllama.
#include "src/base/strings.h"
#include "src/tokenize/backends.h"

namespace countermark {

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenGguf(const std::string& path, std::string) {
  return absl::FailedPreconditionError(
      Cat("'", path, "' is a GGUF file, and this build has no libllama to read its vocabulary; build with libllama, or give the SentencePiece .model"));
}

}  // namespace countermark
