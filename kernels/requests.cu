// What moves requests on outside a step: begin, commit, roll back, rebuild, end. One block a slot.
#include "kernels/block.cuh"
#include "kernels/history.cuh"
#include "kernels/sample.h"
#include "kernels/settle.cuh"

namespace countermark {
namespace {

// Zeroes everything that belongs to the slot. All threads of the block.
__device__ inline void WipeSlot(const SlotMemory& memory) {
  uint32_t* words = reinterpret_cast<uint32_t*>(memory.slot);
  for (uint32_t i = threadIdx.x; i < sizeof(Slot) / 4; i += kThreads) words[i] = 0;
  for (int i = static_cast<int>(threadIdx.x); i < memory.max_length; i += kThreads) {
    memory.tokens[i] = 0;
    memory.causes[i] = 0;
  }
  for (uint32_t i = threadIdx.x; i <= memory.seen_mask; i += kThreads) memory.seen[i] = 0;
}

__global__ void __launch_bounds__(kThreads) BeginSlot(RequestTable table, int32_t slot, const SlotRecord* record) {
  const SlotMemory memory = MemoryOf(table, slot);
  WipeSlot(memory);
  __syncthreads();  // [wiped]
  const uint32_t* from = reinterpret_cast<const uint32_t*>(record);
  uint32_t* to = reinterpret_cast<uint32_t*>(&memory.slot->record);
  for (uint32_t i = threadIdx.x; i < sizeof(SlotRecord) / 4; i += kThreads) to[i] = from[i];
}

__global__ void __launch_bounds__(kThreads) EndSlot(RequestTable table, int32_t slot) { WipeSlot(MemoryOf(table, slot)); }

// The cause under which `token`, `ahead` tokens after what the last step was asked for, is counted.
__device__ inline uint8_t CauseOf(const Pending& pending, uint64_t ahead, uint32_t token, bool* matching) {
  *matching = *matching && ahead < pending.count && (pending.any_token != 0 || pending.tokens[ahead] == token);
  return *matching ? pending.causes[ahead] : static_cast<uint8_t>(kRowForced);
}

__device__ inline void CommitTokens(const RequestTable& table, const SlotMemory& memory, const int32_t* tokens, int32_t n) {
  Slot* slot = memory.slot;
  // A position other than the one the step was asked for: what it said does not apply.
  bool matching = slot->pending.position == slot->length;
  for (int32_t i = 0; i < n; ++i) {
    const uint32_t token = static_cast<uint32_t>(tokens[i]);
    CommitToken(table, memory, token, CauseOf(slot->pending, static_cast<uint64_t>(i), token, &matching));
  }
  slot->pending.count = 0;
}

__global__ void CommitSlot(RequestTable table, int32_t slot, const int32_t* tokens, int32_t n, bool first) {
  const SlotMemory memory = MemoryOf(table, slot);
  if (memory.slot->record.state == kSlotEmpty) {
    if (first) atomicAdd(&table.metrics->bad_slots, 1ull);
    return;
  }
  CommitTokens(table, memory, tokens, n);
}

// One block: a thread a row. Of several rows that name a slot the first is committed, the others are counted; a row without a token (−1, as a step gives
// where nothing is finite) is passed over.
__global__ void __launch_bounds__(kThreads) CommitRows(RequestTable table, const int32_t* slots, const int32_t* tokens, int32_t rows) {
  const uint64_t step = table.metrics->steps + 1;
  const auto begun = [&](int32_t slot) { return slot >= 0 && slot < table.count && table.slots[slot].record.state != kSlotEmpty; };
  for (int r = static_cast<int>(threadIdx.x); r < rows; r += kThreads) {
    if (!begun(slots[r])) continue;
    atomicMax(reinterpret_cast<unsigned long long*>(&table.slots[slots[r]].claimed), static_cast<unsigned long long>(ClaimOf(step, r)));
  }
  __syncthreads();  // [claimed]
  for (int r = static_cast<int>(threadIdx.x); r < rows; r += kThreads) {
    if (!begun(slots[r]) || table.slots[slots[r]].claimed != ClaimOf(step, r)) {
      atomicAdd(&table.metrics->bad_slots, 1ull);
    } else if (tokens[r] >= 0) {
      CommitTokens(table, MemoryOf(table, slots[r]), tokens + r, 1);
    }
  }
  __syncthreads();
  // The claims are given back, so that the next commit of the same step finds none.
  for (int r = static_cast<int>(threadIdx.x); r < rows; r += kThreads) {
    if (slots[r] >= 0 && slots[r] < table.count) atomicExch(reinterpret_cast<unsigned long long*>(&table.slots[slots[r]].claimed), 0ull);
  }
}

// Makes the slot hold exactly `n` tokens: those of `tokens`, or, where that is null, its own first n. Causes are kept up to the first token that
// differs. The table of windows is built anew: an insertion from many threads is the same whatever their order.
__global__ void __launch_bounds__(kThreads) ResetTokens(RequestTable table, int32_t slot_index, const int32_t* tokens, uint64_t n, bool drop) {
  SHARED_ARRAY(uint32_t, common, 1);
  SHARED_ARRAY(unsigned int, kept_causes, kTableCauses);
  const SlotMemory memory = MemoryOf(table, slot_index);
  Slot* slot = memory.slot;
  if (slot->record.state == kSlotEmpty) {
    if (threadIdx.x == 0) atomicAdd(&table.metrics->bad_slots, 1ull);
    return;
  }
  const uint64_t old_length = slot->length;
  if (drop) n = n < old_length ? old_length - n : 0;
  const uint64_t limit = static_cast<uint64_t>(memory.max_length);
  const uint32_t old_held = static_cast<uint32_t>(old_length < limit ? old_length : limit);
  const uint32_t held = static_cast<uint32_t>(n < limit ? n : limit);
  if (threadIdx.x == 0) *common = held < old_held ? held : old_held;
  if (threadIdx.x < kTableCauses) kept_causes[threadIdx.x] = 0;
  __syncthreads();  // [set up]
  if (tokens != nullptr) {
    for (uint32_t i = threadIdx.x; i < held && i < old_held; i += kThreads) {
      if (memory.tokens[i] != static_cast<uint32_t>(tokens[i])) {
        atomicMin(common, i);
        break;
      }
    }
  }
  __syncthreads();  // [common prefix known]
  const uint32_t same = *common;
  for (uint32_t i = threadIdx.x; i < (held > old_held ? held : old_held); i += kThreads) {
    if (i >= held) {
      memory.tokens[i] = 0;
      memory.causes[i] = 0;
    } else {
      if (i >= same) {
        memory.tokens[i] = static_cast<uint32_t>(tokens[i]);  // without tokens, same == held
        memory.causes[i] = slot->record.state == kSlotFaulty ? kRowFault : kRowForced;
      }
      atomicAdd(&kept_causes[memory.causes[i] % kTableCauses], 1u);
    }
  }
  for (uint32_t i = threadIdx.x; i <= memory.seen_mask; i += kThreads) memory.seen[i] = 0;
  __syncthreads();  // [tokens in place]
  for (uint32_t i = slot->record.window + threadIdx.x; i < held; i += kThreads) NoteWindow(memory, i);
  if (threadIdx.x < kTableCauses) {
    unsigned long long now = kept_causes[threadIdx.x];
    if (threadIdx.x == kRowFault) now += n - held;  // beyond max_length
    atomicAdd(&table.metrics->tokens[threadIdx.x], now - slot->counters[threadIdx.x]);  // modulo 2⁶⁴: may take away
    slot->counters[threadIdx.x] = now;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    slot->length = n;
    slot->pending.count = 0;
  }
}

bool Valid(const RequestTable& table, int32_t slot) {
  return table.slots != nullptr && table.tokens != nullptr && table.causes != nullptr && table.seen != nullptr && table.metrics != nullptr && slot >= 0 &&
         slot < table.count;
}

}  // namespace

cudaError_t countermark_launch_begin(const RequestTable& table, int32_t slot, const SlotRecord* record, cudaStream_t stream) {
  if (!Valid(table, slot) || record == nullptr) return cudaErrorInvalidValue;
  return Launch(BeginSlot, dim3(1), dim3(kThreads), 0, stream, table, slot, record);
}

cudaError_t countermark_launch_commit(const RequestTable& table, int32_t slot, const int32_t* tokens, int32_t n, cudaStream_t stream, bool first) {
  if (!Valid(table, slot) || n < 0 || (n > 0 && tokens == nullptr)) return cudaErrorInvalidValue;
  if (n == 0) return cudaSuccess;
  return Launch(CommitSlot, dim3(1), dim3(1), 0, stream, table, slot, tokens, n, first);
}

cudaError_t countermark_launch_commit_rows(const RequestTable& table, const int32_t* slots, const int32_t* tokens, int32_t rows, cudaStream_t stream) {
  if (!Valid(table, 0) || rows < 0 || (rows > 0 && (slots == nullptr || tokens == nullptr))) return cudaErrorInvalidValue;
  if (rows == 0) return cudaSuccess;
  return Launch(CommitRows, dim3(1), dim3(kThreads), 0, stream, table, slots, tokens, rows);
}

cudaError_t countermark_launch_rollback(const RequestTable& table, int32_t slot, int32_t n, cudaStream_t stream) {
  if (!Valid(table, slot) || n < 0) return cudaErrorInvalidValue;
  if (n == 0) return cudaSuccess;
  return Launch(ResetTokens, dim3(1), dim3(kThreads), 0, stream, table, slot, static_cast<const int32_t*>(nullptr), static_cast<uint64_t>(n), true);
}

cudaError_t countermark_launch_rebuild(const RequestTable& table, int32_t slot, const int32_t* tokens, int32_t n, cudaStream_t stream) {
  if (!Valid(table, slot) || n < 0 || (n > 0 && tokens == nullptr)) return cudaErrorInvalidValue;
  return Launch(ResetTokens, dim3(1), dim3(kThreads), 0, stream, table, slot, tokens, static_cast<uint64_t>(n), false);
}

cudaError_t countermark_launch_end(const RequestTable& table, int32_t slot, cudaStream_t stream) {
  if (!Valid(table, slot)) return cudaErrorInvalidValue;
  return Launch(EndSlot, dim3(1), dim3(kThreads), 0, stream, table, slot);
}

}  // namespace countermark
