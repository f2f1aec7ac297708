// Warp operations: each lane brings what it has; the last live lane of the mask works out everybody's result.
#include <algorithm>
#include <bit>

#include "tests/simt/machine.h"
#include "tests/simt/sanitizers.h"

namespace countermark::simt {
namespace {

constexpr const char* kNames[] = {
    "__syncwarp", "__shfl_sync", "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync", "__ballot_sync", "__any_sync", "__all_sync",
    "__match_any_sync", "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync", "__reduce_min_sync", "__reduce_max_sync",
    "__reduce_and_sync", "__reduce_or_sync", "__reduce_xor_sync",
};

size_t MeetingOf(uint32_t mask) { return static_cast<size_t>(mask * 0x9e3779b9u >> 26); }

// The lane that `lane` reads; itself where CUDA leaves its value as it is.
int SourceLane(WarpKind kind, int lane, int source, int width) {
  const int first = lane & ~(width - 1);
  const auto delta = static_cast<uint32_t>(source);
  switch (kind) {
    case WarpKind::kShuffle: return first + (source & (width - 1));
    case WarpKind::kShuffleUp: return delta > static_cast<uint32_t>(lane - first) ? lane : lane - source;
    case WarpKind::kShuffleDown: return delta >= static_cast<uint32_t>(first + width - lane) ? lane : lane + source;
    default: {
      const int other = lane ^ (source & 31);
      return other >= first + width ? lane : other;
    }
  }
}

uint32_t Reduce(WarpKind kind, uint32_t a, uint32_t b) {
  const auto signed_a = static_cast<int32_t>(a), signed_b = static_cast<int32_t>(b);
  switch (kind) {
    case WarpKind::kAdd: return a + b;
    case WarpKind::kMin: return std::min(a, b);
    case WarpKind::kMax: return std::max(a, b);
    case WarpKind::kMinSigned: return static_cast<uint32_t>(std::min(signed_a, signed_b));
    case WarpKind::kMaxSigned: return static_cast<uint32_t>(std::max(signed_a, signed_b));
    case WarpKind::kAnd: return a & b;
    case WarpKind::kOr: return a | b;
    default: return a ^ b;
  }
}

}  // namespace

uint64_t Machine::WarpOperation(WarpKind kind, uint32_t mask, uint64_t value, int source, int width, const char* file, int line) {
  Thread* const self = current();
  Warp& warp = *self->warp;
  const uint32_t bit = uint32_t{1} << self->lane;
  self->what = kNames[static_cast<int>(kind)];
  self->file = file;
  self->line = line;
  if ((mask & bit) == 0) Fail(Fault::kMaskWithoutCaller, file, line);
  Deposit& deposit = warp.deposits[self->lane];
  deposit = {kind, mask, value, source, width, 0};
  uint64_t* meeting = nullptr;
  if (kind == WarpKind::kSync) {  // the others order nothing in memory
    const size_t m = MeetingOf(mask);
    meeting = &warp.meetings[m][warp.turns[m]];
    Release(meeting);
  }
  warp.waiting |= bit;
  TryMeeting(warp, kind, mask);
  Suspend();
  if (meeting != nullptr) Acquire(meeting);
  return deposit.result;
}

void Machine::TryMeeting(Warp& warp, WarpKind kind, uint32_t mask) {
  const uint32_t group = mask & warp.live;
  if ((warp.waiting & group) != group) return;
  uint32_t ballot = 0;
  uint32_t sum = 0;
  bool first = true;
  for (uint32_t left = group; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    const Deposit& deposit = warp.deposits[lane];
    if (deposit.kind != kind || deposit.mask != mask) return;
    if (deposit.value != 0) ballot |= uint32_t{1} << lane;
    sum = first ? static_cast<uint32_t>(deposit.value) : Reduce(kind, sum, static_cast<uint32_t>(deposit.value));
    first = false;
  }
  if (kind != WarpKind::kSync) {
    for (uint32_t left = group; left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      Deposit& deposit = warp.deposits[lane];
      switch (kind) {
        case WarpKind::kShuffle:
        case WarpKind::kShuffleUp:
        case WarpKind::kShuffleDown:
        case WarpKind::kShuffleXor: {
          const int from = SourceLane(kind, lane, deposit.source, deposit.width);
          if (group >> from & 1) {
            deposit.result = warp.deposits[from].value;
          } else {  // CUDA promises nothing of a lane that does not take part
            deposit.result = static_cast<uint64_t>(Random()) << 32;
            deposit.result |= Random();
          }
          break;
        }
        case WarpKind::kBallot: deposit.result = ballot; break;
        case WarpKind::kAny: deposit.result = ballot != 0; break;
        case WarpKind::kAll: deposit.result = ballot == group; break;
        case WarpKind::kMatchAny:
          deposit.result = 0;
          for (uint32_t others = group; others != 0; others &= others - 1) {
            const int other = std::countr_zero(others);
            if (warp.deposits[other].value == deposit.value) deposit.result |= uint32_t{1} << other;
          }
          break;
        default: deposit.result = sum; break;
      }
    }
  } else {
    warp.turns[MeetingOf(mask)] ^= 1;
  }
  warp.waiting &= ~group;
  MakeReady(warp, group);
  Progress();
}

}  // namespace countermark::simt
