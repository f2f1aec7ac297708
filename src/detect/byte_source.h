// The bytes of a file or of standard input, decompressed if they are gzip or Zstandard. Takes a path; gives a stream.
#ifndef COUNTERMARK_SRC_DETECT_BYTE_SOURCE_H_
#define COUNTERMARK_SRC_DETECT_BYTE_SOURCE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace countermark {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Up to out.size() bytes; 0 at the end. DataLoss where a compressed stream breaks off or is damaged. Not called again after an error.
  virtual absl::StatusOr<size_t> Read(std::span<char> out) = 0;
  virtual uint64_t bytes_on_disk() const = 0;  // read so far
  virtual std::string Sha256Hex() const = 0;   // of the bytes on disk read so far; empty unless asked for
};

// "-" is standard input.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path, bool hash);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_BYTE_SOURCE_H_
