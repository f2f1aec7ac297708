// The SHA-256 of a whole file, such as the tokenizer that an epoch record binds.
//
//   CM_ASSIGN_OR_RETURN(Digest32 digest, Sha256File("tokenizer.model"));
#ifndef COUNTERMARK_KEYS_DIGEST_H_
#define COUNTERMARK_KEYS_DIGEST_H_

#include <string>

#include "absl/status/statusor.h"
#include "countermark/keys/derive.h"

namespace countermark {

// Reads the file in pieces, so that a model of many gigabytes needs no memory. Errors name the path: NotFound, PermissionDenied,
// FailedPrecondition (a folder), Unavailable (a read that failed).
absl::StatusOr<Digest32> Sha256File(const std::string& path);

}  // namespace countermark

#endif  // COUNTERMARK_KEYS_DIGEST_H_
