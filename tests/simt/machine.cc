// Who runs when: blocks, barriers, schedules. Warp operations are in warp.cc, the reports in report.cc.
#include "tests/simt/machine.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "tests/simt/launch.h"
#include "tests/simt/atomics.h"
#include "tests/simt/sanitizers.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace countermark::simt {

Machine& Machine::Get() {
  static Machine* const machine = new Machine;  // never destroyed: fibers stay where they are
  return *machine;
}

// ---- Choosing who is next ------------------------------------------------------------------------------------------------------
void Machine::MakeReady(Warp& warp, uint32_t lanes) {
  if (lanes == 0) return;
  if (warp.ready == 0) {
    warp.place = static_cast<int>(ready_warps_.size());
    ready_warps_.push_back(&warp);  // within its capacity: Run has reserved it
  }
  warp.ready |= lanes;
}

void Machine::WakeSleepers() {
  for (Warp* warp : all_warps_) {
    MakeReady(*warp, warp->asleep);
    warp->asleep = 0;
  }
  sleeping_ = 0;
}

Thread* Machine::Pick() {
  if (sleeping_ > 0 && (ready_warps_.empty() || (Random() & 7) == 0)) WakeSleepers();
  if (ready_warps_.empty()) return nullptr;
  Warp* warp = nullptr;
  int lane = 0;
  const auto any_warp = [this] { return ready_warps_[Random() % ready_warps_.size()]; };
  const auto any_lane = [this](uint32_t ready) {
    const int turn = static_cast<int>(Random() & 31);
    return (std::countr_zero(std::rotr(ready, turn)) + turn) & 31;
  };
  const bool stay = !leave_warp_ && last_warp_ != nullptr && last_warp_->ready != 0;
  switch (options_.schedule) {
    case Schedule::kUniform:
      warp = any_warp();
      lane = any_lane(warp->ready);
      break;
    case Schedule::kWarpFirst:
      warp = stay ? last_warp_ : any_warp();
      lane = any_lane(warp->ready);
      break;
    case Schedule::kSticky:
      warp = stay ? last_warp_ : leave_warp_ || (Random() & 15) == 0 ? any_warp() : ready_warps_.back();
      lane = 31 - std::countl_zero(warp->ready);
      break;
    case Schedule::kAscending: {
      size_t order = last_warp_ == nullptr ? 0 : static_cast<size_t>(last_warp_->order);
      const uint32_t after = last_warp_ == nullptr || last_lane_ == 31 ? 0 : last_warp_->ready & (~uint32_t{0} << (last_lane_ + 1));
      if (after != 0) {
        warp = last_warp_;
        lane = std::countr_zero(after);
        break;
      }
      do order = order + 1 < all_warps_.size() ? order + 1 : 0;
      while (all_warps_[order]->ready == 0);
      warp = all_warps_[order];
      lane = std::countr_zero(warp->ready);
      break;
    }
  }
  leave_warp_ = false;
  warp->ready &= ~(uint32_t{1} << lane);
  if (warp->ready == 0) {
    Warp* const last = ready_warps_.back();
    ready_warps_[static_cast<size_t>(warp->place)] = last;
    last->place = warp->place;
    ready_warps_.pop_back();
    warp->place = -1;
  }
  return warp->threads[lane];
}

void Machine::Go(Thread& thread) {
  threadIdx = thread.index;
  blockIdx = thread.warp->block->index;
  last_warp_ = thread.warp;
  last_lane_ = thread.lane;
  ++switches_;
  Fiber::SwitchTo(thread);
}

void Machine::Suspend() {
  Thread* const next = Pick();
  if (next == current()) return;
  if (next == nullptr) Fail(Fault::kStuck, "", 0);
  Go(*next);
}

void Machine::Fail(Fault fault, const char* file, int line, const char* file2, int line2) {
  fault_ = fault;
  fault_thread_ = current();
  fault_files_[0] = file;
  fault_files_[1] = file2;
  fault_lines_[0] = line;
  fault_lines_[1] = line2;
  Fiber::SwitchTo(host_);
  std::abort();  // the host drops this stack
}

// ---- What a thread waits for -----------------------------------------------------------------------------------------------------
int Machine::Barrier(BarrierKind kind, int predicate, const char* file, int line) {
  static constexpr const char* kNames[] = {"__syncthreads", "__syncthreads_or", "__syncthreads_and", "__syncthreads_count"};
  Thread* const self = current();
  Block& block = *self->warp->block;
  self->what = kNames[static_cast<int>(kind)];
  self->file = file;
  self->line = line;
  if (block.arrived == 0) {
    block.kind = kind;
    block.file = file;
    block.line = line;
    block.any = 0;
    block.all = 1;
    block.count = 0;
  } else if (block.kind != kind || block.line != line || (block.file != file && std::strcmp(block.file, file) != 0)) {
    Fail(Fault::kBarriersDiffer, block.file, block.line, file, line);
  }
  block.any |= predicate != 0;
  block.all &= predicate != 0;
  block.count += predicate != 0;
  const int turn = block.turn;
  Release(&block.meetings[turn]);
  self->warp->at_barrier |= uint32_t{1} << self->lane;
  if (++block.arrived == block.live) ReleaseBarrier(block);
  Suspend();
  Acquire(&block.meetings[turn]);
  return block.results[turn];
}

void Machine::ReleaseBarrier(Block& block) {
  block.results[block.turn] = block.kind == BarrierKind::kOr ? block.any : block.kind == BarrierKind::kAnd ? block.all : block.count;
  block.turn ^= 1;
  block.arrived = 0;
  for (Warp& warp : block.warps) {
    MakeReady(warp, warp.at_barrier);
    warp.at_barrier = 0;
  }
  Progress();
}

void Machine::Sleep(const char* file, int line) {
  Thread* const self = current();
  self->what = "__nanosleep";
  self->file = file;
  self->line = line;
  self->warp->asleep |= uint32_t{1} << self->lane;
  ++sleeping_;
  Look();
  Suspend();
}

bool Machine::AtomicPoint() {
  Thread* const self = current();
  if (options_.schedule == Schedule::kAscending ? (++atomics_ & 255) == 0 : (Random() & yield_mask_) == 0) {
    self->what = "an atomic";
    self->file = "";
    MakeReady(*self->warp, uint32_t{1} << self->lane);
    leave_warp_ = true;
    Suspend();
  }
  return self->fenced;
}

void Machine::AtomicDone(bool changed) {
  if (changed) {
    Progress();
  } else {
    Look();
  }
}

void Machine::Look() {
  if (++idle_ > options_.patience) Fail(Fault::kHopeless, "", 0);
}

void* Machine::SharedArray(const void* key, size_t bytes, size_t alignment, const char* name, const char* file, int line) {
  void* array = current()->warp->block->arena.Array(key, bytes, alignment, name, file, line);
  if (array == nullptr) Fail(Fault::kSharedTooLarge, file, line);
  return array;
}

// ---- Blocks and grids --------------------------------------------------------------------------------------------------------------
void Machine::ThreadEntry() {
  Machine& machine = Get();
  for (;;) {
    Thread* const self = machine.current();
    Acquire(&self->warp->block->started);
    (*machine.body_)();
    Release(&machine.ended_);
    machine.EndThread();
  }
}

void Machine::EndThread() {
  Thread* const self = current();
  Warp& warp = *self->warp;
  Block& block = *warp.block;
  warp.live &= ~(uint32_t{1} << self->lane);
  Progress();
  if (--block.live == 0) {
    Fiber::SwitchTo(host_);
    return;  // as a thread of another block
  }
  // CUDA counts those that have not exited.
  if (block.arrived == block.live) ReleaseBarrier(block);
  for (uint32_t left = warp.waiting; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    if (warp.waiting >> lane & 1) TryMeeting(warp, warp.deposits[lane].kind, warp.deposits[lane].mask);
  }
  Thread* const next = Pick();
  if (next == nullptr) Fail(Fault::kStuck, "", 0);
  Go(*next);
}

void Machine::BeginBlock(Block& block, uint64_t number) {
  block.index = {static_cast<unsigned>(number % grid_.x), static_cast<unsigned>(number / grid_.x % grid_.y),
                 static_cast<unsigned>(number / grid_.x / grid_.y)};
  const unsigned threads = block_dim_.x * block_dim_.y * block_dim_.z;
  block.live = static_cast<int>(threads);
  block.arrived = 0;
  block.turn = 0;
  block.running = true;
  block.arena.Begin(smem_bytes_, launch_seed_);
  for (unsigned i = 0; i < threads; ++i) {
    Thread& thread = *block.threads[i];
    thread.warp = &block.warps[i / 32];
    thread.lane = static_cast<int>(i % 32);
    thread.index = {i % block_dim_.x, i / block_dim_.x % block_dim_.y, i / block_dim_.x / block_dim_.y};
    thread.fenced = false;
    thread.what = "its first line";
    thread.file = "";
    thread.warp->threads[i % 32] = &thread;
  }
  Release(&block.started);
  for (size_t w = 0; w < block.warps.size(); ++w) {
    Warp& warp = block.warps[w];
    const unsigned lanes = std::min(32u, threads - 32 * static_cast<unsigned>(w));
    warp.live = lanes == 32 ? ~uint32_t{0} : (uint32_t{1} << lanes) - 1;
    warp.asleep = warp.at_barrier = warp.waiting = 0;
    MakeReady(warp, warp.live);
  }
}

uint64_t Machine::BlockNumber(uint64_t i) { return block_order_ == 0 ? i : block_order_ == 1 ? block_total_ - 1 - i : shuffled_[i]; }

cudaError_t Machine::Run(dim3 grid, dim3 block, size_t smem_bytes, const std::function<void()>& body, const Options& options, uint64_t seed) {
  options_ = options;
  grid_ = gridDim = grid;
  block_dim_ = blockDim = block;
  smem_bytes_ = smem_bytes;
  body_ = &body;
  block_total_ = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
  launch_seed_ = random_ = seed * 0x9e3779b97f4a7c15u | 1;
  for (int i = 0; i < 8; ++i) Random();
  static constexpr uint32_t kYields[] = {3, 15, 63, 0};
  yield_mask_ = kYields[static_cast<int>(options.schedule)];
  idle_ = 0;
  sleeping_ = 0;
  last_warp_ = nullptr;
  leave_warp_ = false;
  fault_ = Fault::kNone;

  // Blocks start in order, from the last, or (half the time, where the grid is not huge) shuffled.
  block_order_ = options.schedule == Schedule::kAscending ? 0 : static_cast<int>(Random() % 4);
  if (block_order_ >= 2) {
    if (block_total_ > 1 << 20) {
      block_order_ = 1;
    } else {
      shuffled_.resize(block_total_);
      std::iota(shuffled_.begin(), shuffled_.end(), 0u);
      for (size_t i = shuffled_.size(); i > 1; --i) std::swap(shuffled_[i - 1], shuffled_[Random() % i]);
    }
  }

  // Everything that fibers use is allocated here.
  resident_ = static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(std::max(options.resident, 1)), block_total_));
  const size_t threads = static_cast<size_t>(block.x) * block.y * block.z;
  const size_t warps = (threads + 31) / 32;
  while (blocks_.size() < static_cast<size_t>(resident_)) blocks_.push_back(std::make_unique<Block>());
  all_warps_.clear();
  ready_warps_.clear();
  ready_warps_.reserve(warps * static_cast<size_t>(resident_));
  for (int b = 0; b < resident_; ++b) {
    Block& resident = *blocks_[static_cast<size_t>(b)];
    resident.running = false;
    if (resident.warps.size() != warps) resident.warps = std::vector<Warp>(warps);
    for (Warp& warp : resident.warps) {
      warp.block = &resident;
      warp.ready = 0;
      warp.live = 0;
      warp.asleep = 0;
      warp.order = static_cast<int>(all_warps_.size());
      all_warps_.push_back(&warp);
    }
    while (resident.threads.size() < threads) {
      resident.threads.push_back(std::make_unique<Thread>());
      resident.threads.back()->Make(&Machine::ThreadEntry);
    }
  }

  host_.AdoptCaller();
  Release(&began_);
  uint64_t started = 0;
  int running = 0;
  for (int b = 0; b < resident_; ++b, ++running) BeginBlock(*blocks_[static_cast<size_t>(b)], BlockNumber(started++));
  while (running > 0) {
    Thread* const next = Pick();
    if (next == nullptr) {
      fault_ = Fault::kStuck;
      fault_thread_ = nullptr;
      break;
    }
    Go(*next);
    if (fault_ != Fault::kNone) break;
    for (int b = 0; b < resident_; ++b) {
      Block& ended = *blocks_[static_cast<size_t>(b)];
      if (!ended.running || ended.live > 0) continue;
      ended.running = false;
      --running;
      if (const Arena::Slot* slot = ended.arena.Damage()) {
        fault_ = Fault::kOverrun;
        fault_thread_ = ended.threads[0].get();
        fault_files_[0] = slot->file;
        fault_files_[1] = slot->name;
        fault_lines_[0] = slot->line;
        break;
      }
      if (started < block_total_) {
        BeginBlock(ended, BlockNumber(started++));
        ++running;
      }
    }
    if (fault_ != Fault::kNone) break;
  }
  if (fault_ != Fault::kNone) {
    Describe();
    for (const Warp* warp : all_warps_) {  // those that are in the middle of the kernel stay there for ever
      for (uint32_t left = warp->live; left != 0; left &= left - 1) {
        Thread* const thread = warp->threads[std::countr_zero(left)];
        thread->ReleaseFor(&ended_);
        thread->Make(&Machine::ThreadEntry);
      }
    }
  }
  Acquire(&ended_);
  return fault_ == Fault::kNone ? cudaSuccess : cudaErrorLaunchFailure;
}

// ---- The functions that kernels call ---------------------------------------------------------------------------------------------
int Barrier(BarrierKind kind, int predicate, const char* file, int line) { return Machine::Get().Barrier(kind, predicate, file, line); }
uint64_t WarpOperation(WarpKind kind, uint32_t mask, uint64_t value, int source, int width, const char* file, int line) {
  return Machine::Get().WarpOperation(kind, mask, value, source, width, file, line);
}
void Sleep(const char* file, int line) { Machine::Get().Sleep(file, line); }
void Fence() { Machine::Get().current()->fenced = true; }
uint32_t OwnLane() { return uint32_t{1} << Machine::Get().current()->lane; }
void Trap(const char* file, int line) { Machine::Get().Fail(Machine::Fault::kTrap, file, line); }
bool AtomicPoint() { return Machine::Get().AtomicPoint(); }
void AtomicDone(bool changed) { Machine::Get().AtomicDone(changed); }
void* SharedArray(const void* key, size_t bytes, size_t alignment, const char* name, const char* file, int line) {
  return Machine::Get().SharedArray(key, bytes, alignment, name, file, line);
}
void* DynamicShared() { return Machine::Get().current()->warp->block->arena.Dynamic(); }

}  // namespace countermark::simt
