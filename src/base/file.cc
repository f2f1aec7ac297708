#include "src/base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status WriteFully(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "cannot write", path);
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

// A rename is on the disk only when its folder is.
absl::Status SyncFolder(const std::string& path) {
  const std::string folder = FolderOf(path);
  FileDescriptor fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return errno == EACCES ? absl::OkStatus() : ErrnoStatus(errno, "cannot open the folder", folder);
  // EINVAL and EROFS: a file system that has no such thing to offer.
  if (fsync(fd.get()) != 0 && errno != EINVAL && errno != EROFS) return ErrnoStatus(errno, "cannot sync the folder", folder);
  return absl::OkStatus();
}

// A whole, synced file under a temporary name beside its place; removed unless it has been given that place.
class TemporaryFile {
 public:
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  TemporaryFile() = default;
  ~TemporaryFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }

  absl::Status Write(const std::string& beside, std::string_view bytes, mode_t mode) {
    uint8_t random[4];
    if (getrandom(random, sizeof random, 0) != sizeof random) return ErrnoStatus(errno, "no random name for", beside);
    const std::string path = Cat(beside, ".tmp-", HexEncode(random));
    FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (fd.get() < 0) return ErrnoStatus(errno, "cannot create", beside);
    path_ = path;
    CM_RETURN_IF_ERROR(WriteFully(fd.get(), bytes, beside));
    if (fsync(fd.get()) != 0 && errno != EINVAL) return ErrnoStatus(errno, "cannot write", beside);
    if (close(fd.Release()) != 0) return ErrnoStatus(errno, "cannot write", beside);
    return absl::OkStatus();
  }

  absl::Status MoveOver(const std::string& path) {
    if (rename(path_.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, "cannot replace", path);
    path_.clear();
    return absl::OkStatus();
  }

  absl::Status MoveToFreeName(const std::string& path) {
    if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) {
      path_.clear();
      return absl::OkStatus();
    }
    // Network file systems know no such rename; a hard link is as exclusive, and the destructor removes the first name.
    if ((errno == EINVAL || errno == ENOSYS) && link(path_.c_str(), path.c_str()) == 0) return absl::OkStatus();
    return ErrnoStatus(errno, "cannot create", path);
  }

 private:
  std::string path_;
};

absl::StatusOr<std::string> ReadDescriptor(int fd, const std::string& path, size_t max_bytes) {
  std::string bytes;
  struct stat info;
  size_t step = 1 << 16;
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) step = static_cast<size_t>(info.st_size) + 1;
  for (;;) {
    // One byte more than is allowed tells "exactly at the limit" from "beyond it".
    const size_t before = bytes.size();
    const size_t room = std::min(step, max_bytes + 1 - before);
    bytes.resize(before + room);
    CM_ASSIGN_OR_RETURN(const size_t n, ReadFully(fd, {reinterpret_cast<uint8_t*>(bytes.data()) + before, room}, path));
    bytes.resize(before + n);
    if (bytes.size() > max_bytes) {
      return absl::OutOfRangeError(Cat("'", path, "' holds more than ", max_bytes, " bytes"));
    }
    if (n < room) return bytes;
    step = std::max<size_t>(1 << 16, bytes.size());
  }
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = other.Release();
  }
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

absl::Status ErrnoStatus(int error, std::string_view what, std::string_view path) {
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  switch (error) {
    case ENOENT: code = absl::StatusCode::kNotFound; break;
    case EACCES: case EPERM: case EROFS: code = absl::StatusCode::kPermissionDenied; break;
    case EEXIST: code = absl::StatusCode::kAlreadyExists; break;
    case ENOSPC: case EDQUOT: case EFBIG: case EMFILE: case ENFILE: code = absl::StatusCode::kResourceExhausted; break;
    case ENOTDIR: case EISDIR: case ELOOP: case ENAMETOOLONG: code = absl::StatusCode::kFailedPrecondition; break;
    default: break;
  }
  return absl::Status(code, Cat(what, " '", path, "': ", strerror(error)));
}

absl::StatusOr<FileDescriptor> OpenForReading(const std::string& path) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(errno, "cannot open", path);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, "cannot open", path);
  if (S_ISDIR(info.st_mode)) return ErrnoStatus(EISDIR, "cannot open", path);
  return fd;
}

absl::StatusOr<FileDescriptor> OpenPrivateForReading(const std::string& path) {
  CM_ASSIGN_OR_RETURN(FileDescriptor fd, OpenForReading(path));
  struct stat info;   // of the descriptor, not the path: nothing can be swapped in between
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, "cannot open", path);
  if (!S_ISREG(info.st_mode)) return absl::FailedPreconditionError(Cat("'", path, "' is not a regular file"));
  if ((info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        Cat("'", path, "' holds secrets and is open to its group or others; run: chmod 600 '", path, "'"));
  }
  return fd;
}

absl::StatusOr<size_t> ReadFully(int fd, std::span<uint8_t> into, std::string_view name) {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t n = read(fd, into.data() + done, into.size() - done);
    if (n == 0) break;
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "cannot read", name);
    }
    done += static_cast<size_t>(n);
  }
  return done;
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, size_t max_bytes) {
  CM_ASSIGN_OR_RETURN(FileDescriptor fd, OpenForReading(path));
  return ReadDescriptor(fd.get(), path, max_bytes);
}

absl::StatusOr<std::string> ReadPrivateFile(const std::string& path, size_t max_bytes) {
  CM_ASSIGN_OR_RETURN(FileDescriptor fd, OpenPrivateForReading(path));
  return ReadDescriptor(fd.get(), path, max_bytes);
}

absl::Status WriteFileExclusive(const std::string& path, std::string_view bytes, mode_t mode) {
  struct stat info;   // said early, before anything is written; MoveToFreeName is what makes it certain
  if (lstat(path.c_str(), &info) == 0) return ErrnoStatus(EEXIST, "cannot create", path);
  TemporaryFile file;
  CM_RETURN_IF_ERROR(file.Write(path, bytes, mode));
  CM_RETURN_IF_ERROR(file.MoveToFreeName(path));
  return SyncFolder(path);
}

absl::Status ReplaceFileAtomically(const std::string& path, std::string_view bytes, mode_t mode) {
  std::string target = path;
  if (char* resolved = realpath(path.c_str(), nullptr)) {
    target = resolved;
    free(resolved);
  }
  TemporaryFile file;
  CM_RETURN_IF_ERROR(file.Write(target, bytes, mode));
  CM_RETURN_IF_ERROR(file.MoveOver(target));
  return SyncFolder(target);
}

}  // namespace countermark
