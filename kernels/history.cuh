// The windows that have stood in a request: an open-addressing table of positions, compared by the tokens that stand there, exactly.
//
// An entry is 0 or 1 + the position before which the window first stood. Nothing is ever taken out singly: a rollback builds the table anew.
#ifndef COUNTERMARK_KERNELS_HISTORY_CUH_
#define COUNTERMARK_KERNELS_HISTORY_CUH_

#include "countermark/mark/window.h"
#include "kernels/device.cuh"
#include "kernels/request_table.h"

namespace countermark {

// The parts of the table that belong to one slot.
struct SlotMemory {
  Slot* slot;
  uint32_t* tokens;
  uint8_t* causes;
  uint32_t* seen;
  int32_t max_length;
  uint32_t seen_mask;
};

__device__ __forceinline__ SlotMemory MemoryOf(const RequestTable& table, int32_t slot) {
  const int64_t at = slot;
  return {table.slots + at, table.tokens + at * table.max_length, table.causes + at * table.max_length,
          table.seen + at * static_cast<int64_t>(table.seen_size), table.max_length, table.seen_size - 1};
}

__device__ inline bool SameWindow(const uint32_t* a, const uint32_t* b, int h) {
  for (int i = 0; i < h; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

// Whether `window` stood before one of the slot's committed positions.
__device__ inline bool WindowStood(const SlotMemory& memory, const uint32_t* window) {
  const int h = memory.slot->record.window;
  for (uint32_t i = static_cast<uint32_t>(HashWindow(window, h, memory.slot->record.window_salt)) & memory.seen_mask;; i = (i + 1) & memory.seen_mask) {
    const uint32_t entry = memory.seen[i];
    if (entry == 0) return false;
    if (SameWindow(memory.tokens + (entry - 1) - h, window, h)) return true;
  }
}

// Notes the window before `position`, h ≤ position < max_length, whose tokens are in place. Threads may do so at once for different positions of a
// slot: an entry's window never changes, only its position falls.
__device__ inline void NoteWindow(const SlotMemory& memory, uint32_t position) {
  const int h = memory.slot->record.window;
  const uint32_t* window = memory.tokens + position - h;
  for (uint32_t i = static_cast<uint32_t>(HashWindow(window, h, memory.slot->record.window_salt)) & memory.seen_mask;; i = (i + 1) & memory.seen_mask) {
    const uint32_t entry = atomicCAS(&memory.seen[i], 0u, position + 1);
    if (entry == 0) return;
    if (SameWindow(memory.tokens + (entry - 1) - h, window, h)) {
      atomicMin(&memory.seen[i], position + 1);
      return;
    }
  }
}

// One token becomes the slot's next. One thread a slot.
__device__ inline void CommitToken(const RequestTable& table, const SlotMemory& memory, uint32_t token, uint8_t cause) {
  Slot* slot = memory.slot;
  const uint64_t position = slot->length;
  if (slot->record.state == kSlotFaulty) cause = kRowFault;
  if (position >= static_cast<uint64_t>(memory.max_length)) {
    cause = kRowFault;
    atomicAdd(&table.metrics->too_long, 1ull);
  } else {
    if (position >= slot->record.window) NoteWindow(memory, static_cast<uint32_t>(position));
    memory.tokens[position] = token;
    memory.causes[position] = cause;
  }
  slot->length = position + 1;
  ++slot->counters[cause];
  atomicAdd(&table.metrics->tokens[cause], 1ull);
}

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_HISTORY_CUH_
