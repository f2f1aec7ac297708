// Append-only files of numbered, checksummed frames: what a run has done so far, whatever moment ends it.
//
//   CM_ASSIGN_OR_RETURN(FrameLog log, FrameLog::Open("run/pairs", digest, FrameLog::kWrite));
//   if (!log.Has(12)) CM_RETURN_IF_ERROR(log.Append(12, payload));     // from any thread
//   CM_ASSIGN_OR_RETURN(std::string payload, log.Read(12));            // checksum held against the bytes
//
// PATH-000.log, PATH-001.log, …, a new one after 1 GiB. A file: 64 bytes (magic "CMAUDIT1", format version, kind, SHA-256 of the run's options,
// checksum), then frames: 28 bytes (magic, number, length of the payload, CRC-32C of the payload, CRC-32C of these) and the payload.
// An end without a whole frame is what a kill or a full disk leaves: Open cuts it off, says so in notes(), and the work is done again. Damage
// anywhere else is DataLoss with the file and the byte.
#ifndef COUNTERMARK_SRC_AUDIT_FRAME_LOG_H_
#define COUNTERMARK_SRC_AUDIT_FRAME_LOG_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/keys/derive.h"
#include "src/base/file.h"

namespace countermark::audit {

inline constexpr uint32_t kRunFormat = 1;

class FrameLog {
 public:
  enum Mode { kRead, kWrite };

  // `options`: the digest every file of this run carries; FailedPrecondition where a file has another, or another format version.
  static absl::StatusOr<FrameLog> Open(const std::string& path, const Digest32& options, Mode mode);

  bool Has(uint64_t number) const;
  size_t size() const { return frames_.size(); }
  // What Open cut off, a sentence each.
  const std::vector<std::string>& notes() const { return notes_; }
  uint64_t bytes() const;

  // Thread-safe. After an error (ResourceExhausted: the disk is full) the file ends where it ended before.
  absl::Status Append(uint64_t number, std::string_view payload);
  // On the disk, as far as the system knows.
  absl::Status Sync();

  // The payload, its checksum verified.
  absl::StatusOr<std::string> Read(uint64_t number) const;
  // Bytes of a payload, unverified: the caller has a checksum of its own for them.
  absl::Status ReadPart(uint64_t number, uint64_t offset, uint64_t bytes, std::string* out) const;
  uint64_t PayloadBytes(uint64_t number) const;
  // "FILE: byte B", where the frame begins, for errors.
  std::string Place(uint64_t number) const;

 private:
  struct Frame {
    uint32_t file;
    uint32_t crc;
    uint64_t offset;  // of the payload
    uint64_t bytes;
  };
  struct File {
    std::string path;
    FileDescriptor descriptor;
    uint64_t size = 0;
  };
  // A frame with the file it is in; other threads may be appending.
  struct Found {
    Frame frame;
    int descriptor;
    std::string path;
  };
  bool Find(uint64_t number, Found* found) const;
  FrameLog() : mutex_(std::make_unique<std::mutex>()) {}
  absl::Status Scan(uint32_t file, bool last, Mode mode);
  absl::Status StartFile();
  absl::Status Write(File& file, std::string_view bytes);

  std::string path_;
  Digest32 options_{};
  std::vector<File> files_;
  uint32_t next_number_ = 0;
  std::unordered_map<uint64_t, Frame> frames_;
  std::vector<std::string> notes_;
  std::unique_ptr<std::mutex> mutex_;
};

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_FRAME_LOG_H_
