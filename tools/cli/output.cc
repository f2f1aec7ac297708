#include "tools/cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>

#include "src/base/status_macros.h"

namespace countermark::cli {
namespace {

constexpr size_t kBuffer = 1 << 16;

// Files that are not whole yet. A signal handler may call unlink and raise, and read these bytes, and little else.
constexpr int kSlots = 16;
constexpr size_t kSlotPath = 4096;
char unfinished[kSlots][kSlotPath];
std::atomic<bool> in_use[kSlots];

void RemoveUnfinished(int signal_number) {
  for (int i = 0; i < kSlots; ++i) {
    if (in_use[i].load(std::memory_order_acquire)) unlink(unfinished[i]);
  }
  raise(signal_number);  // the handler is reset (SA_RESETHAND), so this ends the program as the signal would have
}

void WatchSignals() {
  static std::once_flag once;
  std::call_once(once, [] {
    for (int number : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction current = {};
      sigaction(number, nullptr, &current);
      if (current.sa_handler != SIG_DFL) continue;  // ignored (nohup) or taken by the program
      struct sigaction action = {};
      action.sa_handler = RemoveUnfinished;
      action.sa_flags = SA_RESETHAND;
      sigemptyset(&action.sa_mask);
      sigaction(number, &action, nullptr);
    }
  });
}

// −1 if all are taken or the path is too long: the file is then only removed in the ordinary way.
int TakeSlot(const std::string& path) {
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  if (path.size() + 1 > kSlotPath) return -1;
  for (int i = 0; i < kSlots; ++i) {
    if (in_use[i].load()) continue;
    std::memcpy(unfinished[i], path.c_str(), path.size() + 1);
    in_use[i].store(true, std::memory_order_release);
    return i;
  }
  return -1;
}

absl::Status Fault(int error, const std::string& path, const char* doing) {
  std::string where = path.empty() ? "standard output" : path;
  std::string message = where + ": cannot " + doing + ": " + std::strerror(error);
  switch (error) {
    case EPIPE:
      return path.empty() ? absl::CancelledError("standard output was closed") : absl::UnavailableError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(message);
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

}  // namespace

Output::Output(std::string path, int descriptor, int slot) : path_(std::move(path)), descriptor_(descriptor), slot_(slot) {}

absl::StatusOr<Output> Output::Create(const std::string& path, int mode) {
  if (path == "-") return Standard();
  WatchSignals();
  int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (descriptor < 0) {
    if (errno == EEXIST) return absl::AlreadyExistsError(path + ": exists already, and is not overwritten");
    return Fault(errno, path, "create");
  }
  return Output(path, descriptor, TakeSlot(path));
}

Output Output::Standard() { return Output("", STDOUT_FILENO, -1); }

Output::Output(Output&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(other.descriptor_), slot_(other.slot_), buffer_(std::move(other.buffer_)) {
  other.descriptor_ = -1;
  other.slot_ = -1;
}

Output::~Output() {
  if (descriptor_ >= 0 && !path_.empty()) {
    close(descriptor_);
    unlink(path_.c_str());
  }
  if (slot_ >= 0) in_use[slot_].store(false);
}

absl::Status Output::Write(std::string_view bytes) {
  buffer_.append(bytes);
  return buffer_.size() >= kBuffer ? Flush() : absl::OkStatus();
}

absl::Status Output::Flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    ssize_t n = write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      int error = errno;
      buffer_.clear();
      return Fault(error, path_, "write");
    }
    done += static_cast<size_t>(n);
  }
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status Output::Commit() {
  CM_RETURN_IF_ERROR(Flush());
  if (path_.empty()) return absl::OkStatus();
  if (fsync(descriptor_) != 0 && errno != EINVAL) return Fault(errno, path_, "sync");
  int descriptor = descriptor_;
  descriptor_ = -1;
  if (slot_ >= 0) in_use[slot_].store(false);
  slot_ = -1;
  if (close(descriptor) != 0) {
    int error = errno;
    unlink(path_.c_str());
    return Fault(error, path_, "close");
  }
  return absl::OkStatus();
}

}  // namespace countermark::cli
