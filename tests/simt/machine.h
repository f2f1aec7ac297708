// The machine that runs one grid at a time: resident blocks, their warps and threads, and who goes next. Internal to the emulator.
#ifndef COUNTERMARK_TESTS_SIMT_MACHINE_H_
#define COUNTERMARK_TESTS_SIMT_MACHINE_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/simt/arena.h"
#include "tests/simt/control.h"
#include "tests/simt/fiber.h"
#include "tests/simt/intrinsics.h"

namespace countermark::simt {

struct Block;
struct Warp;

struct Thread : Fiber {
  Warp* warp = nullptr;
  int lane = 0;
  uint3 index = {};
  bool fenced = false;
  const char* what = "";     // where it stopped last
  const char* file = "";
  int line = 0;
};

// What a lane has brought to a warp operation, and what it takes away.
struct Deposit {
  WarpKind kind;
  uint32_t mask;
  uint64_t value;
  int source, width;
  uint64_t result;
};

// Each set of lanes: one bit a lane. A live lane is in exactly one of ready, asleep, at_barrier, waiting, or runs.
struct Warp {
  Block* block = nullptr;
  uint32_t live = 0, ready = 0, asleep = 0, at_barrier = 0, waiting = 0;
  int place = -1;            // in Machine::ready_warps_, or −1
  int order = 0;             // among all warps
  Thread* threads[32] = {};
  Deposit deposits[32] = {};
  // For the race check: lanes with one mask meet at one of these, by turns, so that a fast lane's next meeting does not hide a race of a slow one.
  static constexpr int kMeetings = 64;
  uint64_t meetings[kMeetings][2] = {};
  uint8_t turns[kMeetings] = {};
};

struct Block {
  uint3 index = {};
  int live = 0, arrived = 0;
  BarrierKind kind = BarrierKind::kPlain;
  const char* file = "";
  int line = 0;
  int any = 0, all = 1, count = 0;  // of the predicates brought to the barrier
  int turn = 0;
  int results[2] = {};
  uint64_t meetings[2] = {};
  uint64_t started = 0;
  bool running = false;
  Arena arena;
  std::vector<Warp> warps;
  std::vector<std::unique_ptr<Thread>> threads;
};

uint64_t NextLaunchSeed();  // of the configured seed and how many launches it has had

class Machine {
 public:
  static Machine& Get();

  // Runs body() in every thread; cudaErrorLaunchFailure and report() when the kernel did something wrong.
  cudaError_t Run(dim3 grid, dim3 block, size_t smem_bytes, const std::function<void()>& body, const Options& options, uint64_t seed);
  const std::string& report() const { return report_; }
  void ClearReport() { report_.clear(); }
  uint64_t switches() const { return switches_; }

  // Called by the running thread.
  Thread* current() { return static_cast<Thread*>(&Fiber::Current()); }
  int Barrier(BarrierKind kind, int predicate, const char* file, int line);
  uint64_t WarpOperation(WarpKind kind, uint32_t mask, uint64_t value, int source, int width, const char* file, int line);
  void Sleep(const char* file, int line);
  bool AtomicPoint();
  void AtomicDone(bool changed);
  void* SharedArray(const void* key, size_t bytes, size_t alignment, const char* name, const char* file, int line);

  enum class Fault { kNone, kBarriersDiffer, kMaskWithoutCaller, kSharedTooLarge, kTrap, kHopeless, kStuck, kOverrun };
  [[noreturn]] void Fail(Fault fault, const char* file, int line, const char* file2 = "", int line2 = 0);

 private:
  static void ThreadEntry();
  void BeginBlock(Block& block, uint64_t number);
  uint64_t BlockNumber(uint64_t i);
  Thread* Pick();
  void MakeReady(Warp& warp, uint32_t lanes);
  void WakeSleepers();
  void Suspend();            // the current thread has said what it waits for: another one runs
  void Go(Thread& thread);   // switches to it
  void ReleaseBarrier(Block& block);
  void TryMeeting(Warp& warp, WarpKind kind, uint32_t mask);
  void Progress() { idle_ = 0; }
  void Look();               // counts a look at something that has not changed
  void EndThread();
  void Describe();           // fills report_ from the fault
  uint32_t Random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return static_cast<uint32_t>(random_ >> 32);
  }

  Fiber host_;
  std::vector<std::unique_ptr<Block>> blocks_;  // one a resident block, kept from launch to launch
  int resident_ = 0;
  const std::function<void()>* body_ = nullptr;
  Options options_;
  dim3 grid_, block_dim_;
  size_t smem_bytes_ = 0;
  uint64_t block_total_ = 0;
  uint64_t launch_seed_ = 0;
  int block_order_ = 0;
  std::vector<uint32_t> shuffled_;

  std::vector<Warp*> ready_warps_;
  std::vector<Warp*> all_warps_;
  Warp* last_warp_ = nullptr;
  int last_lane_ = 0;
  int sleeping_ = 0;
  bool leave_warp_ = false;
  uint32_t yield_mask_ = 0;
  uint32_t atomics_ = 0;
  uint64_t idle_ = 0;
  uint64_t random_ = 1;
  uint64_t switches_ = 0;
  uint64_t began_ = 0, ended_ = 0;  // for the race check: the launch's start and end

  Fault fault_ = Fault::kNone;
  Thread* fault_thread_ = nullptr;
  const char* fault_files_[2] = {};
  int fault_lines_[2] = {};
  std::string report_;
};

}  // namespace countermark::simt

#endif  // COUNTERMARK_TESTS_SIMT_MACHINE_H_
