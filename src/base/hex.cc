#include "src/base/hex.h"

#include <algorithm>
#include <cstddef>

namespace countermark {
namespace {

// No table and no branch on the value: a table's cache lines would tell a secret's nibbles.
char Digit(unsigned nibble) {
  return static_cast<char>('0' + nibble + ((9 - static_cast<int>(nibble)) >> 31 & ('a' - '0' - 10)));
}

// 0…15, or −1 for what is no digit. Each term is nonzero only inside its own range of characters.
int Value(unsigned char c) {
  const int x = c;
  int value = -1;
  value += (('0' - 1 - x) & (x - ('9' + 1))) >> 31 & (x - '0' + 1);
  value += (('a' - 1 - x) & (x - ('f' + 1))) >> 31 & (x - 'a' + 11);
  value += (('A' - 1 - x) & (x - ('F' + 1))) >> 31 & (x - 'A' + 11);
  return value;
}

}  // namespace

void HexEncodeInto(std::span<const uint8_t> bytes, std::span<char> out) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    out[2 * i] = Digit(bytes[i] >> 4);
    out[2 * i + 1] = Digit(bytes[i] & 15);
  }
}

std::string HexEncode(std::span<const uint8_t> bytes) {
  std::string out(2 * bytes.size(), '\0');
  HexEncodeInto(bytes, out);
  return out;
}

bool HexDecodeInto(std::string_view digits, std::span<uint8_t> out) {
  int bad = digits.size() != 2 * out.size();
  if (!bad) {
    for (size_t i = 0; i < out.size(); ++i) {
      const int high = Value(static_cast<unsigned char>(digits[2 * i]));
      const int low = Value(static_cast<unsigned char>(digits[2 * i + 1]));
      bad |= (high | low) < 0;
      out[i] = static_cast<uint8_t>((high & 15) << 4 | (low & 15));
    }
  }
  if (bad) std::fill(out.begin(), out.end(), uint8_t{0});
  return !bad;
}

bool IsLowerHex(std::string_view text, size_t bytes) {
  return text.size() == 2 * bytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace countermark
