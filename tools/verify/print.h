// A verification as a person reads it, and as a program does. Takes what VerifyReport found; gives text.
#ifndef COUNTERMARK_TOOLS_VERIFY_PRINT_H_
#define COUNTERMARK_TOOLS_VERIFY_PRINT_H_

#include <cstddef>
#include <string>

#include "countermark/evidence/verify.h"

namespace countermark {

// At most `rows` tests a group, the smallest corrected values first; 0: all. Control characters of a report are shown as '?', so that a report cannot
// steer a terminal.
std::string VerificationText(const Verification& verification, size_t rows, bool color);

// One object with schema_version 1, one line.
std::string VerificationJson(const Verification& verification);

}  // namespace countermark

#endif  // COUNTERMARK_TOOLS_VERIFY_PRINT_H_
