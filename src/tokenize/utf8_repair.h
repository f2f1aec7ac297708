// A text as llama.cpp's code-point reader sees it, and where each byte of that came from.
//
// The reader takes any lead byte with the continuation bytes it asks for (over-long forms and surrogates too) and reads every other byte as
// U+FFFD. Text that is plain UTF-8 comes out as it went in, and then nothing is copied.
#ifndef COUNTERMARK_SRC_TOKENIZE_UTF8_REPAIR_H_
#define COUNTERMARK_SRC_TOKENIZE_UTF8_REPAIR_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace countermark {

struct RepairedText {
  bool changed = false;          // false: text and source are empty, the text stands as it is
  std::string text;              // re-encoded
  std::vector<uint64_t> source;  // text.size() + 1: where byte k came from; inside a rewritten character, where that begins
};

// True if the text holds a form at which libllama gives up: one above U+10FFFF, which its writer of code points throws at, and, where
// `escaped_spaces`, an over-long space, which comes past the escaping of spaces and ends the process in the lookup of merges. *masked is then
// the text with every byte of such forms 0xFF, which reads as one U+FFFD a byte; no offset moves.
bool MaskUnreadable(std::string_view text, bool escaped_spaces, std::string* masked);

RepairedText RepairUtf8(std::string_view text);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_TOKENIZE_UTF8_REPAIR_H_
