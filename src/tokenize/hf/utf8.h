// UTF-8 that is known to be valid, character by character; and text that need not be, made so.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_UTF8_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace countermark::hf {

inline size_t CharacterLength(char lead) {
  const uint8_t byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

inline bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

// The character that begins at `at`, all of whose bytes must be there.
inline char32_t DecodeCharacter(const char* at) {
  const auto byte = [at](int i) { return static_cast<char32_t>(static_cast<uint8_t>(at[i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return lead;
  if (lead < 0xE0) return (lead & 0x1F) << 6 | (byte(1) & 0x3F);
  if (lead < 0xF0) return (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  return (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
}

inline size_t EncodedLength(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

void AppendCharacter(char32_t c, std::string* out);
std::u32string Decode(std::string_view text);  // valid UTF-8

// Text whose every ill-formed part (the longest that could begin a character, else one byte) is U+FFFD, as Rust's from_utf8_lossy and
// Python's errors="replace" have it.
struct ValidText {
  bool changed = false;            // false: the text stands as it is, and the rest is empty
  std::string text;
  std::vector<uint64_t> source;    // text.size() + 1: where byte k came from; inside a U+FFFD put in, where the part begins
  std::vector<bool> replaced;      // byte k is of a U+FFFD put in
};
ValidText MakeValid(std::string_view text);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_UTF8_H_
