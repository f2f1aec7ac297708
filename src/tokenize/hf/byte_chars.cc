#include "src/tokenize/hf/byte_chars.h"

#include <array>

namespace countermark::hf {
namespace {

bool IsVisible(int byte) { return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF); }

constexpr size_t kEnd = 0x100 + 68;  // one past the last character of the alphabet

struct Alphabet {
  std::array<char32_t, 256> character;
  std::array<int16_t, kEnd> byte;
};

const Alphabet& TheAlphabet() {
  static const Alphabet alphabet = [] {
    Alphabet made;
    made.byte.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      made.character[static_cast<size_t>(byte)] = IsVisible(byte) ? static_cast<char32_t>(byte) : next++;
      made.byte[made.character[static_cast<size_t>(byte)]] = static_cast<int16_t>(byte);
    }
    return made;
  }();
  return alphabet;
}

}  // namespace

char32_t ByteChar(uint8_t byte) { return TheAlphabet().character[byte]; }
int ByteOfChar(char32_t c) { return c < kEnd ? TheAlphabet().byte[c] : -1; }

std::optional<std::string> BytesOf(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size(); at += CharacterLength(text[at])) {
    const int byte = ByteOfChar(DecodeCharacter(text.data() + at));
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

absl::Status ToByteChars(Rewriter* rewriter) {
  const std::string_view text = rewriter->text();
  std::vector<Change> changes;
  changes.reserve(text.size());
  for (char byte : text) changes.push_back({ByteChar(static_cast<uint8_t>(byte)), IsContinuation(byte) ? 1 : 0});
  return rewriter->Transform(changes, 0);
}

}  // namespace countermark::hf
