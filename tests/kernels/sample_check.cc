// Some cases of the parity grid under seeded schedules: ends with 1 if any differs from the CPU hook, as it must where a barrier is missing
// (CMakeLists.txt), and with 0 otherwise.
#include <cstdio>

#include "tests/kernels/parity.h"
#include "tests/simt/control.h"

int main() {
  using namespace countermark;
  int wrong = 0, runs = 0;
  for (uint64_t number = 0; number < (simt::kSanitized ? 3 : 60); ++number) {
    simt::Options options;
    options.seed = number + 1;
    options.schedule = simt::kSchedules[number % 3];
    options.resident = 1 + static_cast<int>(number % 3);
    simt::Configure(options);
    ++runs;
    wrong += !testing::CheckCase(number, {4096, 2, 10000}).empty();
  }
  std::printf("%d of %d runs are wrong\n", wrong, runs);
  return wrong > 0;
}
