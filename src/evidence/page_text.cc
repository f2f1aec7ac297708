#include "src/evidence/page_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "src/base/strings.h"

namespace countermark::page {
namespace {

struct Range {
  uint32_t first, last;
};

// Ascending. Controls; soft hyphen; combining grapheme joiner; Arabic letter mark; Hangul fillers; Khmer inherent vowels; Mongolian selectors; zero
// width, bidirectional and line separators; invisible operators; Braille blank; Hangul filler; variation selectors; BOM; half-width filler; interlinear and object
// replacement; musical controls; tags; the private planes' noncharacters are looked at apart.
constexpr Range kHidden[] = {{0x0000, 0x001F},   {0x007F, 0x009F},   {0x00AD, 0x00AD},   {0x034F, 0x034F},   {0x061C, 0x061C},   {0x115F, 0x1160},
                             {0x17B4, 0x17B5},   {0x180B, 0x180F},   {0x200B, 0x200F},   {0x2028, 0x202E},   {0x2060, 0x206F},   {0x2800, 0x2800},
                             {0x3164, 0x3164},   {0xFDD0, 0xFDEF},   {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},   {0xFFF0, 0xFFFC},
                             {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF}};

bool IsHidden(uint32_t code) {
  if ((code & 0xFFFE) == 0xFFFE) return true;
  const auto* at = std::lower_bound(std::begin(kHidden), std::end(kHidden), code, [](const Range& range, uint32_t c) { return range.last < c; });
  return at != std::end(kHidden) && at->first <= code;
}

void AppendEscaped(std::string_view bytes, std::string* out) {
  for (const char c : bytes) {
    switch (c) {
      case '&': *out += "&amp;"; break;
      case '<': *out += "&lt;"; break;
      case '>': *out += "&gt;"; break;
      case '"': *out += "&quot;"; break;
      case '\'': *out += "&#39;"; break;
      default: *out += c;
    }
  }
}

std::string NameOf(const Character& character) {
  char name[16];
  std::snprintf(name, sizeof name, character.well_formed ? "U+%04X" : "%02X", static_cast<unsigned>(character.code));
  return name;
}

}  // namespace

Character FirstCharacter(std::string_view text) {
  const auto byte = [text](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true, !IsHidden(lead)};
  const size_t length = lead >= 0xF0 && lead <= 0xF4 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return {lead, 1, false, false};
  uint32_t code = lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {lead, 1, false, false};
    code = code << 6 | (byte(i) & 0x3F);
  }
  const uint32_t least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
  if (code < least || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {lead, 1, false, false};
  return {code, length, true, !IsHidden(code)};
}

std::string Text(std::string_view text, size_t most) {
  std::string out;
  std::string_view rest = text;
  for (size_t shown = 0; !rest.empty(); ++shown) {
    if (shown == most) return Cat(out, "… (", Thousands(text.size()), " bytes)");
    const Character character = FirstCharacter(rest);
    if (character.visible) {
      AppendEscaped(rest.substr(0, character.bytes), &out);
    } else {
      out += Cat("⟨", NameOf(character), "⟩");
    }
    rest.remove_prefix(character.bytes);
  }
  return out;
}

void AppendShown(std::string_view text, std::string* out) {
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    const bool layout = character.well_formed && (character.code == '\n' || character.code == '\t');
    if (character.visible || layout) {
      AppendEscaped(text.substr(0, character.bytes), out);
    } else {
      *out += Cat("<b class=\"x\">", NameOf(character), "</b>");
    }
    text.remove_prefix(character.bytes);
  }
}

std::string Thousands(uint64_t value) {
  std::string digits = std::to_string(value);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string Fixed(double value, int digits) {
  char text[400];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  const bool zero = std::string_view(text).find_first_of("123456789") == std::string_view::npos;
  const std::string_view body = text[0] == '-' ? std::string_view(text).substr(1) : std::string_view(text);
  return Cat(text[0] == '-' && !zero ? "−" : "", body);
}

std::string Percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", 100 * share);
  return Cat(static_cast<const char*>(text), " %");
}

std::string Power(double log10_p, bool plain) {
  if (!(log10_p < 0)) return "1";
  if (log10_p > -2.5) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3f", std::min(1.0, std::ceil(std::pow(10.0, log10_p) * 1000) / 1000));
    return text;
  }
  if (std::isinf(log10_p)) return "0";
  double exponent = std::floor(log10_p);
  double tenths = std::ceil(std::pow(10.0, log10_p - exponent) * 10 - 1e-9);
  if (tenths >= 100) {
    tenths = 10;
    exponent += 1;
  }
  const std::string power = Fixed(exponent, 0);
  if (tenths == 10) return plain ? Cat("1e", power) : Cat("10<sup>", power, "</sup>");
  return plain ? Cat(Fixed(tenths / 10, 1), "e", power) : Cat(Fixed(tenths / 10, 1), " × 10<sup>", power, "</sup>");
}

std::string OneIn(double log10_p) {
  const double decades = std::floor(-log10_p + 1e-9);
  if (!(decades >= 1)) return Cat(Power(log10_p), " (not small)");
  static constexpr std::string_view kWords[] = {"ten", "a hundred", "a thousand", "ten thousand", "a hundred thousand", "a million", "ten million", "a hundred million", "a thousand million"};
  if (decades <= 9) return Cat("one in ", kWords[static_cast<size_t>(decades) - 1]);
  return Cat("one in 10<sup>", Fixed(decades, 0), "</sup>");
}

}  // namespace countermark::page
