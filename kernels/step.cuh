// The scratch of one decoding step: what blocks hand to one another.
//
// Between steps all of it that is counted up (tickets, arrivals, sums) is zero; a row's last block puts it back.
#ifndef COUNTERMARK_KERNELS_STEP_CUH_
#define COUNTERMARK_KERNELS_STEP_CUH_

#include "kernels/device.cuh"
#include "kernels/request_table.h"
#include "kernels/row.cuh"
#include "kernels/sample.h"

namespace countermark {

inline constexpr int kMaxSlices = 16;         // of a row, each worked on by one block at a time
inline constexpr int kListCapacity = 16384;   // candidates written down for a row; where there are more, the logits are read again
inline constexpr int kMaxTournament = 1024;   // candidates of a tournament on a device

struct StepHeader {
  uint32_t ticket;        // next piece of work
  uint32_t left;          // blocks that have found no more
  uint64_t started_ns;
};

// What a host's sampler is left with (countermark_launch_bias).
enum BiasAction : uint32_t { kLeaveRow = 0, kTiltRow = 1, kMaskRow = 2 };

// A row of the step: what is known of its next token before its logits are, and the sums its slices are added up in.
struct RowPlan {
  uint32_t seed[8];             // of the window, where it is marked
  unsigned long long random[2]; // draws 0 and 1
  uint32_t cause;               // kRowMarked: to be marked if the row allows
  uint32_t action;              // BiasAction
  int32_t slot;                 // −1: none
  uint32_t scanned, chosen;     // arrivals
  uint32_t listed;              // candidates found, whether or not there was room to write them down
  uint32_t candidates;          // tokens of weight, where nothing truncates
  unsigned long long total;     // weight of all tokens
  unsigned long long listed_sum;
  unsigned long long best;      // an upper bound of the first arrival, as double bits; all ones less one bit: none yet
};

// What a slice knows of its logits.
struct SlicePart {
  float max;
  uint32_t nan;
  unsigned long long sum;       // of the weights that are drawn from (tilted by the partition scheme)
  unsigned long long plain;     // of the weights as they are
  unsigned long long time;      // first arrival: double bits
  unsigned long long winner;    // and its id
};

// One thread's largest logit of a slice, and roughly the sum of 2^((z − max)·scale) over its logits: what the cut is guessed from.
struct Bin {
  float max;
  float sum;
};

struct StepMemory {
  StepHeader* header;
  RowPlan* plans;        // rows
  SlicePart* parts;      // rows × kMaxSlices
  Bin* bins;             // rows × kMaxSlices × kThreads
  unsigned long long* lists;  // rows × capacity
  int32_t* tokens;       // rows: what was chosen, also where the host is to choose
  uint8_t* causes;       // rows
  int32_t capacity;      // of a row's list
};

inline constexpr size_t Aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }
inline constexpr int32_t CapacityFor(int32_t columns) { return columns < kListCapacity ? columns : kListCapacity; }

// Lays the parts out one after another; returns the bytes they take.
inline size_t LayOut(void* memory, int32_t rows, int32_t columns, StepMemory* out) {
  char* at = static_cast<char*>(memory);
  size_t used = 0;
  const auto take = [&](size_t bytes) {
    char* here = at + used;
    used += Aligned(bytes);
    return here;
  };
  const size_t n = static_cast<size_t>(rows);
  out->capacity = CapacityFor(columns);
  out->header = reinterpret_cast<StepHeader*>(take(sizeof(StepHeader)));
  out->plans = reinterpret_cast<RowPlan*>(take(n * sizeof(RowPlan)));
  out->parts = reinterpret_cast<SlicePart*>(take(n * kMaxSlices * sizeof(SlicePart)));
  out->bins = reinterpret_cast<Bin*>(take(n * kMaxSlices * kThreads * sizeof(Bin)));
  out->lists = reinterpret_cast<unsigned long long*>(take(n * static_cast<size_t>(out->capacity) * sizeof(unsigned long long)));
  out->tokens = reinterpret_cast<int32_t*>(take(n * sizeof(int32_t)));
  out->causes = reinterpret_cast<uint8_t*>(take(n));
  return used;
}

// How a row is cut into slices: whole units of 64 tokens, about 2,048 tokens at least.
struct Slicing {
  int32_t slices;
  int32_t length;  // tokens of a slice, the last one's may be fewer
};
__host__ __device__ inline Slicing SliceRow(int32_t vocabulary) {
  int32_t slices = (vocabulary + 2047) / 2048;
  if (slices > kMaxSlices) slices = kMaxSlices;
  const int32_t length = ((vocabulary + slices - 1) / slices + kUnit - 1) / kUnit * kUnit;
  return {(vocabulary + length - 1) / length, length};
}

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_STEP_CUH_
