#include "tools/gpu_check/sanitizer.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

namespace countermark::gpu_check {
namespace {

std::string FindSanitizer(const std::string& program) {
  std::vector<std::string> folders;
  if (const char* path = std::getenv("PATH")) {
    std::istringstream all(path);
    for (std::string folder; std::getline(all, folder, ':');) folders.push_back(folder);
  }
  folders.insert(folders.end(), {"/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer", std::filesystem::path(program).parent_path().string()});
  for (const std::string& folder : folders) {
    const std::string at = folder + "/compute-sanitizer";
    if (access(at.c_str(), X_OK) == 0 && !std::filesystem::is_directory(at)) return at;
  }
  return "";
}

// The status of a command, and the last of what it says.
int Run(const std::vector<std::string>& command, std::string* last) {
  int out[2];
  if (pipe(out) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    dup2(out[1], 1);
    dup2(out[1], 2);
    close(out[0]);
    close(out[1]);
    std::vector<char*> arguments;
    for (const std::string& a : command) arguments.push_back(const_cast<char*>(a.c_str()));
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(out[1]);
  if (child < 0) {
    close(out[0]);
    return -1;
  }
  char buffer[4096];
  for (ssize_t n; (n = read(out[0], buffer, sizeof buffer)) > 0;) {
    last->append(buffer, static_cast<size_t>(n));
    if (last->size() > 8000) last->erase(0, last->size() - 4000);
  }
  close(out[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

void RunSanitizer(const std::string& program, bool quick, Report* report) {
  const std::string sanitizer = FindSanitizer(program);
  if (sanitizer.empty()) {
    report->LeftOut("compute-sanitizer", "not present (looked in PATH, /usr/local/cuda/bin and this folder); memcheck, racecheck, synccheck and initcheck did not run");
    return;
  }
  for (const char* tool : {"memcheck", "racecheck", "synccheck", "initcheck"}) {
    const std::string cases = quick ? "12" : "60";
    const std::vector<std::string> command = {sanitizer, "--tool", tool, "--error-exitcode", "99", program, "--only", "parity,checks", "--small", "--cases", cases,
                                              "--threads", "1", "--most-logits", "40000"};
    std::string last;
    const int status = Run(command, &last);
    report->Check(std::string("compute-sanitizer ") + tool, status == 0 ? "" : "status " + std::to_string(status) + "; it ends:\n" + last, cases + " cases and the checks");
  }
}

}  // namespace countermark::gpu_check
