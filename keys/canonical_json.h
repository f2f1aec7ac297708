// Pieces of RFC 8785 (canonical JSON) that our records need: strings, and numbers with at most three decimals.
#ifndef COUNTERMARK_KEYS_CANONICAL_JSON_H_
#define COUNTERMARK_KEYS_CANONICAL_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace countermark::keys_internal {

// Appends text, which is valid UTF-8, as a JSON string: only what must be escaped is, \uXXXX in lower case (RFC 8785, 3.2.2.2).
// String: std::string, or one whose memory is wiped.
template <typename String>
void AppendJsonString(String* out, std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out->push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"': out->append("\\\""); break;
      case '\\': out->append("\\\\"); break;
      case '\b': out->append("\\b"); break;
      case '\f': out->append("\\f"); break;
      case '\n': out->append("\\n"); break;
      case '\r': out->append("\\r"); break;
      case '\t': out->append("\\t"); break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out->append("\\u00");
          out->push_back(kDigits[c >> 4]);
          out->push_back(kDigits[c & 15]);
        } else {
          out->push_back(c);
        }
    }
  }
  out->push_back('"');
}

// thousandths/1000 in the shortest form, which is what ECMAScript prints for the nearest double: 2000 → 2, 1500 → 1.5, 1 → 0.001.
std::string ThousandthsToJson(int64_t thousandths);

// True for well-formed UTF-8: no overlong form, no surrogate, nothing above U+10FFFF.
bool IsUtf8(std::string_view text);

}  // namespace countermark::keys_internal

#endif  // COUNTERMARK_KEYS_CANONICAL_JSON_H_
