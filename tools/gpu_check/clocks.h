// What the device runs at: its own counters by a kernel, and, where the driver's management library is, clocks, power and reasons for throttling.
#ifndef COUNTERMARK_TOOLS_GPU_CHECK_CLOCKS_H_
#define COUNTERMARK_TOOLS_GPU_CHECK_CLOCKS_H_

#include <string>

#include "nlohmann/json.hpp"

namespace countermark::gpu_check {

struct ClockReading {
  double measured_mhz = 0;             // cycles a microsecond, counted by a kernel that all multiprocessors ran
  int sm_mhz = 0, memory_mhz = 0, most_sm_mhz = 0, watts = 0, celsius = 0;   // 0: not known
  unsigned long long throttling = 0;   // NVML's reasons, a bit each
  std::string driver;

  nlohmann::ordered_json Json() const;
  std::string Text() const;
};

// Keeps the device busy for about `seconds` first, so that it is read at work.
ClockReading ReadClocks(double seconds);

// The reasons that make a timing doubtful, by name; "" if there is none. Idle and clocks that a user has fixed are not among them.
std::string ThrottlingOf(unsigned long long reasons);

}  // namespace countermark::gpu_check

#endif  // COUNTERMARK_TOOLS_GPU_CHECK_CLOCKS_H_
