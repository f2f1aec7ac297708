// Looks through a GGUF file's tokenizer keys for what libllama answers by ending the process, so that a broken file is an error instead.
#ifndef COUNTERMARK_SRC_TOKENIZE_GGUF_CHECK_H_
#define COUNTERMARK_SRC_TOKENIZE_GGUF_CHECK_H_

#include <string>

#include "absl/status/statusor.h"

namespace countermark {

struct GgufFacts {
  std::string model;  // tokenizer.ggml.model: "llama", "gpt2", …
  std::string pre;    // tokenizer.ggml.pre, or empty
  bool space_prefix;  // tokenizer.ggml.add_space_prefix, or what libllama takes for the model where the key is absent
};

// DataLoss for a file that cannot be read as GGUF, has no vocabulary, holds a token twice, or calls tokens bytes that are none;
// Unimplemented for a vocabulary that forgets case and spaces (WordPiece) or is no vocabulary of text. libllama's log must be held off by the caller.
absl::StatusOr<GgufFacts> CheckGguf(const std::string& path);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_TOKENIZE_GGUF_CHECK_H_
