// GPT-2's alphabet: a visible character for each byte, in which byte-level vocabularies are written.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_BYTE_CHARS_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_BYTE_CHARS_H_

#include <optional>
#include <string>
#include <string_view>

#include "src/tokenize/hf/pieces.h"

namespace countermark::hf {

char32_t ByteChar(uint8_t byte);
int ByteOfChar(char32_t c);  // −1 for no character of the alphabet

// The bytes that a text of the alphabet stands for; nothing if it has another character.
std::optional<std::string> BytesOf(std::string_view text);

// Every character becomes the alphabet's characters of its bytes.
absl::Status ToByteChars(Rewriter* rewriter);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_BYTE_CHARS_H_
