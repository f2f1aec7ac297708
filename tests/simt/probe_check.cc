// __syncwarp under seeded schedules: ends with 1 if any run is wrong, as it must where one of them is missing (CMakeLists.txt), and with 0 otherwise.
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <vector>

#include "tests/simt/control.h"
#include "tests/simt/probe_kernels.h"

int main() {
  using namespace countermark;
  constexpr uint32_t kThreads = 64, kRounds = 3;
  std::vector<uint32_t> expected(kThreads), next(kThreads);
  std::iota(expected.begin(), expected.end(), 0u);
  for (uint32_t round = 0; round < kRounds; ++round) {
    for (uint32_t i = 0; i < kThreads; ++i) next[i] = expected[i / 32 * 32 + (i + 1) % 32] + i % 32;
    expected.swap(next);
  }
  int runs = 0, wrong = 0;
  simt::ForEachSchedule(simt::kSanitized ? 1 : 10, {1}, [&](const simt::Options&) {
    std::vector<uint32_t> out(kThreads);
    const cudaError_t error = probe::WarpExchange(kThreads, kRounds, false, out.data(), nullptr);
    ++runs;
    wrong += error != cudaSuccess || out != expected;
  });
  std::printf("%d of %d runs are wrong\n", wrong, runs);
  return wrong > 0;
}
