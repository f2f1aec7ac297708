#include "keys/canonical_json.h"

namespace countermark::keys_internal {

std::string ThousandthsToJson(int64_t thousandths) {
  std::string text = std::to_string(thousandths / 1000);
  int rest = static_cast<int>(thousandths % 1000);
  if (rest == 0) return text;
  text.push_back('.');
  for (int place = 100; rest != 0; rest %= place, place /= 10) text.push_back(static_cast<char>('0' + rest / place));
  return text;
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const int extra = lead < 0x80 ? 0 : lead >= 0xC2 && lead < 0xE0 ? 1 : lead >= 0xE0 && lead < 0xF0 ? 2 : lead >= 0xF0 && lead < 0xF5 ? 3 : -1;
    if (extra < 0 || text.size() - i <= static_cast<size_t>(extra)) return false;
    for (int k = 1; k <= extra; ++k) {
      const auto c = static_cast<unsigned char>(text[i + k]);
      // The second byte carries the narrower limits: overlong forms, surrogates, and the end of Unicode.
      const unsigned low = k > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
      const unsigned high = k > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
      if (c < low || c > high) return false;
    }
    i += static_cast<size_t>(extra) + 1;
  }
  return true;
}

}  // namespace countermark::keys_internal
