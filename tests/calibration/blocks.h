// Numbered blocks of work over threads, a state a thread.
#ifndef COUNTERMARK_TESTS_CALIBRATION_BLOCKS_H_
#define COUNTERMARK_TESTS_CALIBRATION_BLOCKS_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace countermark::calibration {

// Calls work(block, state) once for each block; which state a block meets depends on chance, so states are merged by what commutes.
template <typename State, typename Work>
std::vector<State> InBlocks(uint64_t blocks, int threads, const Work& work) {
  std::vector<State> states(static_cast<size_t>(threads));
  std::atomic<uint64_t> next{0};
  std::vector<std::thread> workers;
  for (State& state : states) {
    workers.emplace_back([&] {
      for (uint64_t block; (block = next.fetch_add(1)) < blocks;) work(block, state);
    });
  }
  for (std::thread& worker : workers) worker.join();
  return states;
}

}  // namespace countermark::calibration

#endif  // COUNTERMARK_TESTS_CALIBRATION_BLOCKS_H_
