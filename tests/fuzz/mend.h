// Checksums of a run directory's files made to fit again: they are no protection against one who writes them, so hostile bytes are tried with theirs right, too.
#ifndef COUNTERMARK_TESTS_FUZZ_MEND_H_
#define COUNTERMARK_TESTS_FUZZ_MEND_H_

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "countermark/keys/derive.h"
#include "src/audit/crc32c.h"
#include "src/audit/segment.h"

namespace countermark::audit {

inline void PutCrc(std::string* bytes, size_t at, std::string_view of) {
  const uint32_t crc = Crc32c(of);
  if (at + 4 <= bytes->size()) std::memcpy(bytes->data() + at, &crc, 4);
}

// Of a segment, as far as its lengths make sense.
inline void MendSegment(std::string* bytes) {
  if (bytes->size() < kSegmentDocumentsAt) return;
  uint64_t documents;
  std::memcpy(&documents, bytes->data() + 32, 8);
  documents = std::min<uint64_t>(documents, bytes->size() - kSegmentDocumentsAt);
  std::memcpy(bytes->data() + 32, &documents, 8);
  PutCrc(bytes, 40, std::string_view(*bytes).substr(kSegmentDocumentsAt, documents));
  uint64_t at = kSegmentDocumentsAt + documents;
  for (uint32_t p = 0; p < kPartitions; ++p) {
    uint32_t size;
    std::memcpy(&size, bytes->data() + kSegmentHeadBytes + 12 * p, 4);
    if (size > bytes->size() - at || p + 1 == kPartitions) size = static_cast<uint32_t>(bytes->size() - at);
    std::memcpy(bytes->data() + kSegmentHeadBytes + 12 * p, &size, 4);
    PutCrc(bytes, kSegmentHeadBytes + 12 * p + 8, std::string_view(*bytes).substr(at, size));
    at += size;
  }
  PutCrc(bytes, kSegmentDocumentsAt - 4, std::string_view(*bytes).substr(0, kSegmentDocumentsAt - 4));
}

// Of a log: its head, which gets `options`, and its frames. Frames of at least a segment's head are mended as segments where `segments` says so.
inline void MendLog(std::string* bytes, const Digest32& options, bool segments) {
  if (bytes->size() < 64) return;
  std::memcpy(bytes->data() + 16, options.data(), options.size());
  PutCrc(bytes, 60, std::string_view(*bytes).substr(0, 60));
  for (size_t at = 64; at + 28 <= bytes->size();) {
    uint64_t size;
    std::memcpy(&size, bytes->data() + at + 12, 8);
    size = std::min<uint64_t>(size, bytes->size() - at - 28);
    if (segments) {
      std::string payload = bytes->substr(at + 28, size);
      MendSegment(&payload);
      bytes->replace(at + 28, size, payload);
    }
    PutCrc(bytes, at + 20, std::string_view(*bytes).substr(at + 28, size));
    PutCrc(bytes, at + 24, std::string_view(*bytes).substr(at, 24));
    at += 28 + size;
  }
}

}  // namespace countermark::audit

#endif  // COUNTERMARK_TESTS_FUZZ_MEND_H_
