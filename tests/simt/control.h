// What a test says to the emulator and reads from it: schedules, seeds, reports, failures of the runtime to inject. No CUDA header needed.
//
//   simt::Configure({.seed = 7, .schedule = simt::Schedule::kSticky, .resident = 3});
//   simt::InjectFailure("cudaMalloc", 2, 2 /* cudaErrorMemoryAllocation */);   // the second cudaMalloc from now on fails
#ifndef COUNTERMARK_TESTS_SIMT_CONTROL_H_
#define COUNTERMARK_TESTS_SIMT_CONTROL_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace countermark::simt {

// Whether this is the _asan or the _tsan variant, ten and more times slower: for tests that scale themselves.
#if defined(COUNTERMARK_SIMT_ASAN) || defined(COUNTERMARK_SIMT_TSAN)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// Who runs next where a thread stops.
enum class Schedule {
  kUniform,    // any thread that can run
  kWarpFirst,  // the lanes of one warp until all of them wait, then any warp
  kSticky,     // the warp that could run last, highest lane first: one warp runs far ahead of the others
  kAscending,  // in the order of the threads, round and round; blocks in order
};
inline constexpr Schedule kSchedules[] = {Schedule::kUniform, Schedule::kWarpFirst, Schedule::kSticky, Schedule::kAscending};

struct Options {
  uint64_t seed = 1;
  Schedule schedule = Schedule::kUniform;
  int resident = 1;                      // blocks that are interleaved; the others start as these end, in order, from the last, or shuffled
  int multiprocessors = 4;               // what the runtime says of the device
  size_t dynamic_shared_limit = 99 * 1024;  // bytes that cudaFuncSetAttribute can ask for: the least of sm_80, 90, 100 and 120
  uint64_t patience = uint64_t{1} << 22;    // looks at a flag in a row, over all threads, before the wait is called hopeless
};

// Holds for the launches from now on; the same options and the same launches give the same run. Without it: COUNTERMARK_SIMT_SEED,
// COUNTERMARK_SIMT_SCHEDULE (uniform, warp, sticky, ascending) and COUNTERMARK_SIMT_RESIDENT, which go before what Configure says, so that
// one failed run can be replayed.
void Configure(const Options& options);
Options Configured();
std::string Describe(const Options& options);  // as environment variables

// What the last failed launch did wrong, with file and line; "" before any. ClearReport forgets it.
const std::string& Report();
void ClearReport();
uint64_t Switches();  // changes from thread to thread so far: the cost of a run

// From now on the `nth` call (1 is the next) of this runtime function, "Launch" included, fails with `error` (a cudaError_t). ClearFailures ends all.
void InjectFailure(const char* function, int nth, int error);
void ClearFailures();
size_t LiveAllocations();  // of cudaMalloc, cudaMallocHost, cudaHostAlloc, not yet freed
size_t Calls(const char* function);  // of a runtime function that InjectFailure knows, since the start of the program

// f(options) for `seeds` seeds × all schedules × the numbers of resident blocks, configured each time.
template <typename F>
void ForEachSchedule(int seeds, std::initializer_list<int> residents, F f) {
  for (int seed = 1; seed <= seeds; ++seed) {
    for (const Schedule schedule : kSchedules) {
      for (const int resident : residents) {
        Options options;
        options.seed = static_cast<uint64_t>(seed);
        options.schedule = schedule;
        options.resident = resident;
        Configure(options);
        f(Configured());
      }
    }
  }
}

}  // namespace countermark::simt

#endif  // COUNTERMARK_TESTS_SIMT_CONTROL_H_
