#include "src/tokenize/hf/utf8.h"

#include <cstring>

namespace countermark::hf {
namespace {

// The bytes of the character at `at`, or 0 where there is none; then *bad bytes are ill-formed together (Unicode 3.9, table 3-7).
size_t WellFormed(std::string_view text, size_t at, size_t* bad) {
  const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<uint8_t>(text[at + i]) : uint8_t{0}; };
  const uint8_t lead = byte(0);
  *bad = 1;
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t length = CharacterLength(text[at]);
  const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    *bad = i;
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

// The first byte at or after `at` that is not of a character, else the text's size.
size_t FirstIllFormed(std::string_view text, size_t at) {
  size_t bad;
  while (at < text.size()) {
    uint64_t eight;
    if (at + 8 <= text.size() && (std::memcpy(&eight, text.data() + at, 8), (eight & 0x8080808080808080u) == 0)) {
      at += 8;
      continue;
    }
    const size_t length = WellFormed(text, at, &bad);
    if (length == 0) return at;
    at += length;
  }
  return at;
}

}  // namespace

void AppendCharacter(char32_t c, std::string* out) {
  switch (EncodedLength(c)) {
    case 1:
      out->push_back(static_cast<char>(c));
      return;
    case 2:
      out->push_back(static_cast<char>(0xC0 | c >> 6));
      break;
    case 3:
      out->push_back(static_cast<char>(0xE0 | c >> 12));
      out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
      break;
    default:
      out->push_back(static_cast<char>(0xF0 | c >> 18));
      out->push_back(static_cast<char>(0x80 | (c >> 12 & 0x3F)));
      out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
  }
  out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
}

std::u32string Decode(std::string_view text) {
  std::u32string characters;
  for (size_t at = 0; at < text.size(); at += CharacterLength(text[at])) characters.push_back(DecodeCharacter(text.data() + at));
  return characters;
}

ValidText MakeValid(std::string_view text) {
  ValidText valid;
  size_t at = 0, from = FirstIllFormed(text, 0);
  if (from == text.size()) return valid;
  valid.changed = true;
  valid.text.reserve(text.size() + text.size() / 4 + 16);
  while (true) {
    for (; at < from; ++at) {
      valid.text.push_back(text[at]);
      valid.source.push_back(at);
      valid.replaced.push_back(false);
    }
    if (at == text.size()) break;
    size_t bad;
    WellFormed(text, at, &bad);
    valid.text.append("\xEF\xBF\xBD");
    valid.source.insert(valid.source.end(), 3, at);
    valid.replaced.insert(valid.replaced.end(), 3, true);
    at += bad;
    from = FirstIllFormed(text, at);
  }
  valid.source.push_back(text.size());
  return valid;
}

}  // namespace countermark::hf
