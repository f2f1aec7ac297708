// What gpu_check is asked for.
#ifndef COUNTERMARK_TOOLS_GPU_CHECK_OPTIONS_H_
#define COUNTERMARK_TOOLS_GPU_CHECK_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace countermark::gpu_check {

struct Options {
  bool quick = false;
  std::string json, commit = "unknown", command;
  std::vector<std::string> parts;   // empty: all
  uint64_t first_case = 0;
  uint64_t cases = 0;               // 0: as many as the mode says
  int threads = 0;                  // 0: as many as there are processors
  int64_t most_logits = 0;          // of a case; 0: no limit
  bool small = false;               // checks at a vocabulary that the emulator and compute-sanitizer can bear
  bool Wants(const char* part) const;
};

inline constexpr const char* kParts[] = {"parity", "checks", "suites", "sanitizer", "timing"};

// Exits with the usage, 0 for --help and 2 for what it does not know.
Options ParseOptions(int argc, char** argv);

}  // namespace countermark::gpu_check

#endif  // COUNTERMARK_TOOLS_GPU_CHECK_OPTIONS_H_
