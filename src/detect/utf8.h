// Is it UTF-8? Takes bytes, gives where they stop being text.
//
//   Utf8FaultAt("gr\xC3\xBCn") == npos;  Utf8FaultAt("gr\xFCn") == 2;  Utf8FaultAt(std::string_view("a\0b", 3)) == 1
#ifndef COUNTERMARK_SRC_DETECT_UTF8_H_
#define COUNTERMARK_SRC_DETECT_UTF8_H_

#include <cstddef>
#include <string_view>

namespace countermark {

// The first byte of the first part that is not well-formed UTF-8 (Unicode 15, table 3-7), or of a NUL, which no text holds; npos for neither.
size_t Utf8FaultAt(std::string_view text);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_UTF8_H_
