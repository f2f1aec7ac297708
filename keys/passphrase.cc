#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <string>

#include <openssl/crypto.h>

#include "countermark/keys/key_store.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

constexpr size_t kMaxPassphrase = 4096;

// Signals that would end the program, or hand it to its host's handler, with the terminal still silent.
constexpr std::array<int, 4> kSignals = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};

// What the handler reads; set before it is installed.
struct {
  int fd;
  termios before;
  std::array<struct sigaction, kSignals.size()> previous;
  volatile sig_atomic_t caught;
  int wake;   // the end of a pipe that the handler writes to: whoever waits for a key is woken, in whatever thread and between whichever calls the signal came
} prompting;

// Puts the terminal back, forgets what was typed there and not yet read, and lets the signal do what it would have done. Nothing here that is
// not safe in a handler.
void PutBackAndRaise(int signal) {
  const int saved = errno;
  tcflush(prompting.fd, TCIFLUSH);
  tcsetattr(prompting.fd, TCSANOW, &prompting.before);
  prompting.caught = signal;
  if (write(prompting.wake, "", 1) < 0) {
    // Full: somebody is being woken already.
  }
  for (size_t i = 0; i < kSignals.size(); ++i) {
    if (kSignals[i] == signal) sigaction(signal, &prompting.previous[i], nullptr);
  }
  raise(signal);  // delivered when this handler returns
  errno = saved;
}

// The terminal with echo off, put back when this goes, or when a signal ends the process. Signals by key are off too: the key arrives as a byte
// instead. One at a time in a process.
class QuietTerminal {
 public:
  explicit QuietTerminal(int fd) : fd_(fd), had_(pipe2(wake_.data(), O_CLOEXEC | O_NONBLOCK) == 0 && tcgetattr(fd, &before_) == 0) {
    if (!had_) return;
    prompting.fd = fd;
    prompting.wake = wake_[1];
    prompting.before = before_;
    prompting.caught = 0;
    struct sigaction action = {};
    action.sa_handler = PutBackAndRaise;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], nullptr, &prompting.previous[i]);
      if (prompting.previous[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
    }
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    ok_ = tcsetattr(fd_, TCSAFLUSH, &quiet) == 0;
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;
  ~QuietTerminal() {
    if (had_) {
      tcsetattr(fd_, TCSAFLUSH, &before_);
      for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &prompting.previous[i], nullptr);
    }
    for (int end : wake_) {
      if (end >= 0) close(end);
    }
  }
  bool ok() const { return ok_; }
  // Until there is a key to be read, or a signal has come.
  void Wait() const {
    std::array<pollfd, 2> either = {pollfd{fd_, POLLIN, 0}, pollfd{wake_[0], POLLIN, 0}};
    poll(either.data(), either.size(), -1);
  }
  bool interrupted() const { return prompting.caught != 0; }

 private:
  termios before_{};   // these two first: the initialiser of had_ fills them
  std::array<int, 2> wake_ = {-1, -1};
  int fd_;
  bool had_;           // the terminal's state was read, and handlers are installed
  bool ok_ = false;
};

SecretBytes Prefix(const SecretBytes& secret, size_t size) {
  return SecretBytes(std::string_view(reinterpret_cast<const char*>(secret.Reveal(SecretAccess()).data()), size));
}

absl::StatusOr<SecretBytes> ReadLineQuietly(int fd, std::string_view prompt) {
  QuietTerminal quiet(fd);
  if (!quiet.ok()) return ErrnoStatus(errno, "cannot switch echo off on", "/dev/tty");
  const auto say = [fd](std::string_view text) {
    // A prompt that does not arrive is no reason to fail; the answer may still come.
    if (write(fd, text.data(), text.size()) < 0) return;
  };
  say(prompt);
  SecretBytes line(kMaxPassphrase + 1);
  const std::span<uint8_t> bytes = line.Mutable(SecretAccess());
  size_t size = 0;
  for (;;) {
    uint8_t c = 0;
    quiet.Wait();
    const ssize_t n = quiet.interrupted() ? 0 : read(fd, &c, 1);
    if (quiet.interrupted()) return absl::CancelledError("interrupted at the passphrase");  // whatever is typed now is shown
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot read from", "/dev/tty");
    if (n == 0 || c == '\n' || c == '\r' || c == 0x04) break;
    if (c == 0x03) {
      say("\n");
      return absl::CancelledError("interrupted at the passphrase");
    }
    if (c == 0x7F || c == 0x08) {   // takes back one character of UTF-8, not one byte
      while (size > 0 && (bytes[size - 1] & 0xC0) == 0x80) --size;
      if (size > 0) --size;
    } else if (c == 0x15) {
      size = 0;
    } else if (size < bytes.size()) {
      bytes[size++] = c;
    }
    OPENSSL_cleanse(&c, 1);
  }
  say("\n");
  return Prefix(line, size);
}

absl::Status CheckLength(size_t size, std::string_view from) {
  if (size == 0) return absl::InvalidArgumentError(Cat("the passphrase from ", from, " is empty"));
  if (size > kMaxPassphrase) return absl::InvalidArgumentError(Cat("the passphrase from ", from, " has more than ", kMaxPassphrase, " bytes"));
  return absl::OkStatus();
}

absl::StatusOr<SecretBytes> ReadAll(int fd, std::string_view from) {
  SecretBytes bytes(kMaxPassphrase + 2);
  CM_ASSIGN_OR_RETURN(size_t size, ReadFully(fd, bytes.Mutable(SecretAccess()), from));
  if (size > 0 && bytes.Reveal(SecretAccess())[size - 1] == '\n') --size;
  CM_RETURN_IF_ERROR(CheckLength(size, from));
  return Prefix(bytes, size);
}

absl::StatusOr<SecretBytes> ReadFile(const std::string& path) {
  CM_ASSIGN_OR_RETURN(const FileDescriptor fd, OpenForReading(path));
  struct stat info;
  if (fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 077) != 0) {   // a pipe (process substitution) is its maker's
    return absl::FailedPreconditionError(
        Cat("the passphrase file '", path, "' is open to its group or others; run: chmod 600 '", path, "'"));
  }
  return ReadAll(fd.get(), Cat("'", path, "'"));
}

absl::StatusOr<SecretBytes> AskTerminal(std::string_view prompt, bool confirm) {
  static std::mutex one_at_a_time;  // one terminal, one set of signal handlers
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  // Not blocking: a signal between the wait for a key and its reading may have thrown the key away.
  const FileDescriptor terminal(open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (terminal.get() < 0) {
    return absl::FailedPreconditionError("there is no terminal to ask for the passphrase; give it by file or by descriptor");
  }
  CM_ASSIGN_OR_RETURN(SecretBytes first, ReadLineQuietly(terminal.get(), prompt));
  CM_RETURN_IF_ERROR(CheckLength(first.size(), "the terminal"));
  if (!confirm) return first;
  CM_ASSIGN_OR_RETURN(const SecretBytes second, ReadLineQuietly(terminal.get(), Cat("again, ", prompt)));
  if (first.size() != second.size() ||
      CRYPTO_memcmp(first.Reveal(SecretAccess()).data(), second.Reveal(SecretAccess()).data(), first.size()) != 0) {
    return absl::InvalidArgumentError("the two passphrases differ");
  }
  return first;
}

}  // namespace

absl::StatusOr<SecretBytes> ReadPassphrase(const PassphraseSource& source, std::string_view prompt, bool confirm) {
  if (!source.file.empty() && source.descriptor >= 0) {
    return absl::InvalidArgumentError("a passphrase file and a passphrase descriptor are given; give one of them");
  }
  if (!source.file.empty()) return ReadFile(source.file);
  if (source.descriptor >= 0) return ReadAll(source.descriptor, Cat("descriptor ", source.descriptor));
  return AskTerminal(prompt, confirm);
}

}  // namespace countermark
