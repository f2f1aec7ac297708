// Where a passphrase may come from: a private file, a descriptor, a terminal that does not echo it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "countermark/keys/key_store.h"
#include "tests/keys/test_files.h"

namespace countermark {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Text(const SecretBytes& secret) {
  const std::span<const uint8_t> bytes = secret.Reveal(SecretAccess());
  return std::string(bytes.begin(), bytes.end());
}

TEST(Passphrase, FromAFileWithoutItsFinalNewline) {
  const TestFolder folder;
  const auto read = [&](std::string_view content) {
    Spill(folder / "p", content);
    return ReadPassphrase({folder / "p", -1}, "p: ");
  };
  EXPECT_EQ(Text(*read("secret\n")), "secret");
  EXPECT_EQ(Text(*read("secret")), "secret");
  EXPECT_EQ(Text(*read("two lines\n\n")), "two lines\n");
  EXPECT_EQ(Text(*read(std::string(4096, 'x') + "\n")).size(), 4096u);
  EXPECT_TRUE(absl::IsInvalidArgument(read("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(read("\n").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(read(std::string(4097, 'x')).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(read(std::string(9000, 'x')).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadPassphrase({folder / "none", -1}, "p: ").status()));
  Spill(folder / "open", "secret", 0644);
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadPassphrase({folder / "open", -1}, "p: ").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ReadPassphrase({folder / "p", 3}, "p: ").status()));
}

TEST(Passphrase, FromADescriptor) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "by pipe\n", 8), 8);
  close(ends[1]);
  EXPECT_EQ(Text(*ReadPassphrase({"", ends[0]}, "p: ")), "by pipe");
  close(ends[0]);
  EXPECT_FALSE(ReadPassphrase({"", ends[0]}, "p: ").ok());   // closed
}

volatile sig_atomic_t heard = 0;

// Runs ReadPassphrase in a child with a terminal of its own, types `keys` when it has asked `prompts` times, and gives what the terminal showed. Keys
// that begin with "kill " are a signal's number, sent once the terminal is silent. With `handler` the child has a handler for signals that lives on.
// The child's exit status: 0 and the passphrase was `expected`; 1 it was another; 10 + the status code; 100 more if its handler heard a signal; or,
// where a signal ended it, minus the signal's number.
int AtTerminal(std::vector<std::string> keys, const std::string& expected, bool confirm, std::string* shown, bool handler = false) {
  int terminal = -1;
  termios before{}, after{};
  int spare[2];   // only to learn what a fresh terminal is set to
  EXPECT_EQ(openpty(&spare[0], &spare[1], nullptr, nullptr, nullptr), 0);
  EXPECT_EQ(tcgetattr(spare[1], &before), 0);
  close(spare[0]);
  close(spare[1]);
  const pid_t child = forkpty(&terminal, nullptr, &before, nullptr);
  if (child == 0) {
    const rlimit no_core = {};   // of SIGQUIT
    setrlimit(RLIMIT_CORE, &no_core);
    for (int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) signal(number, SIG_DFL);   // a shell's background jobs ignore some of them
    if (handler) {
      struct sigaction action = {};
      action.sa_handler = [](int) { heard = 1; };
      sigaction(SIGTERM, &action, nullptr);
    }
    const absl::StatusOr<SecretBytes> got = ReadPassphrase({}, "passphrase: ", confirm);
    if (!got.ok()) dprintf(STDOUT_FILENO, "%s", got.status().ToString().c_str());
    struct sigaction now = {};
    sigaction(SIGTERM, nullptr, &now);   // as it was before
    if (handler != (now.sa_handler != SIG_DFL)) _exit(99);
    _exit((heard ? 100 : 0) + (got.ok() ? (Text(*got) == expected ? 0 : 1) : 10 + static_cast<int>(got.status().code())));
  }
  size_t typed = 0, from = 0;
  char buffer[256];
  for (;;) {
    const ssize_t n = read(terminal, buffer, sizeof buffer);
    if (n <= 0) break;   // EIO: the child is gone
    shown->append(buffer, static_cast<size_t>(n));
    if (typed < keys.size() && shown->find("passphrase: ", from) != std::string::npos) {
      from = shown->size();
      if (keys[typed].starts_with("kill ")) {
        EXPECT_EQ(write(terminal, "hun", 3), 3);   // half a passphrase, which no shell must be given
        EXPECT_EQ(tcgetattr(terminal, &after), 0);
        EXPECT_EQ(after.c_lflag & ECHO, 0u);
        kill(child, std::stoi(keys[typed].substr(5)));
      } else if (write(terminal, keys[typed].data(), keys[typed].size()) < 0) {
        break;
      }
      ++typed;
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  // Put back as it was, echo and all, whatever way the child went.
  EXPECT_EQ(tcgetattr(terminal, &after), 0);
  EXPECT_EQ(before.c_lflag, after.c_lflag);
  EXPECT_EQ(before.c_iflag, after.c_iflag);
  EXPECT_NE(after.c_lflag & ECHO, 0u);
  close(terminal);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(Passphrase, FromTheTerminalWithoutEcho) {
  std::string shown;
  EXPECT_EQ(AtTerminal({"hunter2\n"}, "hunter2", false, &shown), 0);
  EXPECT_THAT(shown, HasSubstr("passphrase: "));
  EXPECT_THAT(shown, Not(HasSubstr("hunter")));
  shown.clear();
  EXPECT_EQ(AtTerminal({"wrong\x15hunterr\x7f" "2\xC3\xA9\x7f\n"}, "hunter2", false, &shown), 0);   // kill line, backspaces
  EXPECT_THAT(shown, Not(HasSubstr("hunter")));
}

TEST(Passphrase, AskedTwiceWhereItIsNew) {
  std::string shown;
  EXPECT_EQ(AtTerminal({"hunter2\n", "hunter2\n"}, "hunter2", true, &shown), 0);
  EXPECT_THAT(shown, HasSubstr("again, passphrase: "));
  shown.clear();
  EXPECT_EQ(AtTerminal({"hunter2\n", "hunter3\n"}, "hunter2", true, &shown), 10 + static_cast<int>(absl::StatusCode::kInvalidArgument));
  shown.clear();
  EXPECT_EQ(AtTerminal({"\n"}, "", true, &shown), 10 + static_cast<int>(absl::StatusCode::kInvalidArgument));
  shown.clear();
  EXPECT_EQ(AtTerminal({"hun\x03"}, "", false, &shown), 10 + static_cast<int>(absl::StatusCode::kCancelled));
}

// AtTerminal checks that the terminal is as it was.
TEST(Passphrase, ASignalLeavesTheTerminalAsItWas) {
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    std::string shown;
    EXPECT_EQ(AtTerminal({"kill " + std::to_string(signal)}, "", false, &shown), -signal);
    EXPECT_THAT(shown, Not(HasSubstr("hun")));
    shown.clear();
    EXPECT_EQ(AtTerminal({"hunter2\n", "kill " + std::to_string(signal)}, "", true, &shown), -signal);
  }
  // A program whose own handler lets it live: that is called, and the prompt is over.
  std::string shown;
  EXPECT_EQ(AtTerminal({"kill " + std::to_string(SIGTERM)}, "", false, &shown, true), 110 + static_cast<int>(absl::StatusCode::kCancelled));
  EXPECT_THAT(shown, Not(HasSubstr("hun")));
  shown.clear();
  EXPECT_EQ(AtTerminal({"hunter2\n"}, "hunter2", false, &shown, true), 0);
}

TEST(Passphrase, WithoutATerminalItSaysSo) {
  const pid_t child = fork();
  if (child == 0) {
    setsid();   // no controlling terminal from here on
    _exit(absl::IsFailedPrecondition(ReadPassphrase({}, "p: ").status()) ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace countermark
