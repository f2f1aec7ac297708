// Whole files: read with a limit, written new, or replaced, so that a reader, a crash or a full disk never meets half of one.
//
//   CM_ASSIGN_OR_RETURN(std::string text, ReadWholeFile("record.json", 1 << 20));
//   CM_RETURN_IF_ERROR(WriteFileExclusive("report.json", text, 0644));   // AlreadyExists if the path is taken
//   CM_RETURN_IF_ERROR(ReplaceFileAtomically("store.cmks", bytes));      // old or new, never mixed
//
// Every error names the path and what the system said.
#ifndef COUNTERMARK_SRC_BASE_FILE_H_
#define COUNTERMARK_SRC_BASE_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace countermark {

// An open descriptor, closed when it goes.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.Release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();

  int get() const { return fd_; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

// The errno of a failed call on a path as a status: NotFound, PermissionDenied, AlreadyExists, ResourceExhausted (full disk, file
// size limit), FailedPrecondition (a directory where a file is meant and the like), else Unavailable. "WHAT 'PATH': No space left…".
absl::Status ErrnoStatus(int error, std::string_view what, std::string_view path);

// Opens a file for reading. A directory is a FailedPrecondition.
absl::StatusOr<FileDescriptor> OpenForReading(const std::string& path);
// The same for a file of secrets: FailedPrecondition if its group or others may read or write it, or if it is not a regular file.
absl::StatusOr<FileDescriptor> OpenPrivateForReading(const std::string& path);

// Reads until the end or until `into` is full, whichever comes first; gives the number of bytes. `name` is for the error text.
absl::StatusOr<size_t> ReadFully(int fd, std::span<uint8_t> into, std::string_view name);

// The file's bytes. OutOfRange if it holds more than max_bytes. Works for pipes and devices too.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, size_t max_bytes);
// The same through OpenPrivateForReading.
absl::StatusOr<std::string> ReadPrivateFile(const std::string& path, size_t max_bytes);

// Makes a new file of these bytes, on the disk when the call returns. AlreadyExists if anything stands at the path; on any error no
// file is left there. It is written under a temporary name beside (PATH.tmp-XXXXXXXX, O_EXCL) and given its name when it is whole.
absl::Status WriteFileExclusive(const std::string& path, std::string_view bytes, mode_t mode = 0600);

// Puts these bytes in the place of the file, or makes it: written beside, fsynced, renamed, the folder fsynced. On any error what
// stood there is still there, whole. A symbolic link is followed, not replaced.
absl::Status ReplaceFileAtomically(const std::string& path, std::string_view bytes, mode_t mode = 0600);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_BASE_FILE_H_
