// How far a long run has come, on standard error: a bar with rate and time left at a terminal, else a line now and then, or nothing.
//
//   cli::Progress progress(program, "records", total);   // total 0: not known
//   for (…) progress.Add(1);
//   progress.Finish();
#ifndef COUNTERMARK_TOOLS_CLI_PROGRESS_H_
#define COUNTERMARK_TOOLS_CLI_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "tools/cli/cli.h"

namespace countermark::cli {

// Not for several threads at once.
class Progress {
 public:
  Progress(const Program& program, std::string unit, uint64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Add(uint64_t count);
  void SetTotal(uint64_t total) { total_ = total; }
  // Removes the bar. Errors said while a bar stands are readable all the same if Clear is called first.
  void Clear();
  void Finish();

  // "1234/5000 records, 24.7 %, 310/s, 0:12 left"
  static std::string Describe(const std::string& unit, uint64_t done, uint64_t total, double seconds);

 private:
  void Show(double seconds);
  using Clock = std::chrono::steady_clock;
  const std::string name_;
  const std::string unit_;
  uint64_t total_;
  uint64_t done_ = 0;
  bool on_;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_;
  Clock::time_point next_;
};

}  // namespace countermark::cli

#endif  // COUNTERMARK_TOOLS_CLI_PROGRESS_H_
