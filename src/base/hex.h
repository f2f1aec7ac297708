// Lower-case hexadecimal of bytes, and back.
//
//   HexEncode(digest)                       // "00ff…", two digits a byte
//   uint8_t key[32];
//   if (!HexDecodeInto(text, key)) …        // false unless text is exactly 64 hex digits; key is then all zero
//
// The *Into forms write only where they are told, so that they serve for secrets too, and take the same time whatever the bytes are.
#ifndef COUNTERMARK_SRC_BASE_HEX_H_
#define COUNTERMARK_SRC_BASE_HEX_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace countermark {

// Two lower-case digits a byte. Not for secrets: the string is not wiped.
std::string HexEncode(std::span<const uint8_t> bytes);

// Writes 2·bytes.size() digits to out, which holds at least as many.
void HexEncodeInto(std::span<const uint8_t> bytes, std::span<char> out);

// Reads exactly 2·out.size() digits, of either case. False, with out set to zeros, for any other length or character.
bool HexDecodeInto(std::string_view digits, std::span<uint8_t> out);

// True if text is exactly 2·bytes lower-case digits.
bool IsLowerHex(std::string_view text, size_t bytes);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_BASE_HEX_H_
