#include "countermark/keys/digest.h"

#include <vector>

#include "keys/hasher.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace countermark {

absl::StatusOr<Digest32> Sha256File(const std::string& path) {
  CM_ASSIGN_OR_RETURN(const FileDescriptor fd, OpenForReading(path));
  keys_internal::Hasher hasher;
  std::vector<uint8_t> piece(1 << 20);
  for (;;) {
    CM_ASSIGN_OR_RETURN(const size_t n, ReadFully(fd.get(), piece, path));
    hasher.Add(piece.data(), n);
    if (n < piece.size()) break;
  }
  Digest32 digest;
  hasher.Finish(digest.data());
  return digest;
}

}  // namespace countermark
