// What a reader has beside a report: files by their SHA-256, and revealed keys. Takes paths; gives what VerifyReport compares with.
#ifndef COUNTERMARK_TOOLS_VERIFY_MATERIAL_H_
#define COUNTERMARK_TOOLS_VERIFY_MATERIAL_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/evidence/verify.h"

namespace countermark {

// The SHA-256 of the file's bytes, read in pieces. Errors name the path.
absl::StatusOr<VerifyMaterial::File> HashFile(const std::string& path);

// One JSON object a line: {"name":"base","key":"64 hex digits","salt":"64 hex digits"}; the salt may be left out where the report carries it. Errors
// name the path and the line, and never repeat the text.
absl::StatusOr<std::vector<RevealedKey>> ReadRevealedKeys(const std::string& path);

}  // namespace countermark

#endif  // COUNTERMARK_TOOLS_VERIFY_MATERIAL_H_
