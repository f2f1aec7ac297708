#include "src/tokenize/utf8_repair.h"

#include <cstring>

namespace countermark {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

// Bytes of the form that begins at `at`, and its code point; 0 where the byte there is none.
size_t ReadForm(std::string_view text, size_t at, uint32_t* code_point) {
  const uint8_t lead = static_cast<uint8_t>(text[at]);
  if (lead < 0x80) {
    *code_point = lead;
    return 1;
  }
  size_t length = 0;
  uint32_t value = 0;
  if ((lead & 0xE0) == 0xC0) {
    length = 2;
    value = lead & 0x1F;
  } else if ((lead & 0xF0) == 0xE0) {
    length = 3;
    value = lead & 0x0F;
  } else if ((lead & 0xF8) == 0xF0) {
    length = 4;
    value = lead & 0x07;
  } else {
    return 0;
  }
  if (at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[at + i])) return 0;
    value = value << 6 | (static_cast<uint8_t>(text[at + i]) & 0x3F);
  }
  *code_point = value;
  return length;
}

size_t FormLength(uint32_t code_point) {
  return code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
}

void AppendForm(uint32_t code_point, std::string* out) {
  switch (FormLength(code_point)) {
    case 1:
      out->push_back(static_cast<char>(code_point));
      return;
    case 2:
      out->push_back(static_cast<char>(0xC0 | code_point >> 6));
      break;
    case 3:
      out->push_back(static_cast<char>(0xE0 | code_point >> 12));
      out->push_back(static_cast<char>(0x80 | (code_point >> 6 & 0x3F)));
      break;
    default:
      out->push_back(static_cast<char>(0xF0 | code_point >> 18));
      out->push_back(static_cast<char>(0x80 | (code_point >> 12 & 0x3F)));
      out->push_back(static_cast<char>(0x80 | (code_point >> 6 & 0x3F)));
  }
  out->push_back(static_cast<char>(0x80 | (code_point & 0x3F)));
}

// The first byte at or after `at` that the reader would rewrite, else text.size().
size_t FirstRewritten(std::string_view text, size_t at) {
  while (at < text.size()) {
    uint64_t eight;
    if (at + 8 <= text.size() && (std::memcpy(&eight, text.data() + at, 8), (eight & 0x8080808080808080u) == 0)) {
      at += 8;
      continue;
    }
    uint32_t code_point;
    const size_t length = ReadForm(text, at, &code_point);
    if (length == 0 || length != FormLength(code_point)) return at;
    at += length;
  }
  return text.size();
}

}  // namespace

bool MaskUnreadable(std::string_view text, bool escaped_spaces, std::string* masked) {
  const uint8_t lowest_lead = escaped_spaces ? 0xC0 : 0xF4;
  bool found = false;
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < lowest_lead) {
      ++at;
      continue;
    }
    uint32_t code_point;
    const size_t length = ReadForm(text, at, &code_point);
    if (length != 0 && (code_point > 0x10FFFF || (escaped_spaces && code_point == ' '))) {
      if (!found) masked->assign(text);
      found = true;
      std::memset(masked->data() + at, 0xFF, length);  // no continuation byte, which would end a form cut short before it
    }
    at += length == 0 ? 1 : length;
  }
  return found;
}

RepairedText RepairUtf8(std::string_view text) {
  RepairedText repaired;
  const size_t first = FirstRewritten(text, 0);
  if (first == text.size()) return repaired;
  repaired.changed = true;
  repaired.text.reserve(text.size() + text.size() / 8 + 16);
  repaired.source.reserve(text.size() + text.size() / 8 + 17);
  for (size_t at = 0; at < text.size();) {
    uint32_t code_point;
    const size_t length = ReadForm(text, at, &code_point);
    const size_t before = repaired.text.size();
    if (length == 0) {
      repaired.text.append(kReplacement, 3);
    } else {
      AppendForm(code_point, &repaired.text);
    }
    const bool rewritten = length == 0 || length != FormLength(code_point);
    for (size_t k = before; k < repaired.text.size(); ++k) repaired.source.push_back(at + (rewritten ? 0 : k - before));
    at += length == 0 ? 1 : length;
  }
  repaired.source.push_back(text.size());
  return repaired;
}

}  // namespace countermark
