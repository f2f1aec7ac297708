// After all rows of a step are chosen: which of a slot's tokens hold, what the slot is told, and, if asked, their commitment.
#ifndef COUNTERMARK_KERNELS_SETTLE_CUH_
#define COUNTERMARK_KERNELS_SETTLE_CUH_

#include "kernels/history.cuh"
#include "kernels/locate.cuh"
#include "kernels/step.cuh"

namespace countermark {

// Of several rows that name a slot the first has the largest claim of a step; rows are fewer than 2²⁴.
__device__ __forceinline__ uint64_t ClaimOf(uint64_t step, int row) { return step << 24 | (0xFFFFFFu - static_cast<uint32_t>(row)); }

// Before any row is settled, all threads: each row of depth 0 claims its slot.
__device__ inline void ClaimSlot(const RequestTable& table, const SampleBatch& batch, int row, uint64_t step) {
  const RowSlot at = SlotOf(table, batch, row);
  if (at.slot < 0 || at.depth != 0) return;
  atomicMax(reinterpret_cast<unsigned long long*>(&table.slots[at.slot].claimed), static_cast<unsigned long long>(ClaimOf(step, row)));
}

// One thread: row `row`, whose further rows, if it is of depth 0, are gone through here.
__device__ inline void SettleRow(const RequestTable& table, const SampleBatch& batch, const StepMemory& memory, int row, bool bias, uint64_t step) {
  int32_t accepted = 0;
  const RowSlot at = SlotOf(table, batch, row);
  if (at.slot >= 0 && at.depth == 0) {
    const SlotMemory slot_memory = MemoryOf(table, at.slot);
    Slot* slot = slot_memory.slot;
    if (slot->claimed != ClaimOf(step, row)) {
      atomicAdd(&table.metrics->bad_slots, 1ull);  // the slot stands twice in the batch: its first row alone counts
    } else {
      Pending* pending = &slot->pending;
      const uint64_t length = slot->length;
      bool any_token = false;
      for (int j = 0; row + j < batch.rows && j <= kMaxDepth; ++j) {
        if (j > 0 && (batch.slots[row + j] != at.slot || batch.depths == nullptr || batch.depths[row + j] != j)) break;
        const int32_t token = memory.tokens[row + j];
        pending->tokens[j] = static_cast<uint32_t>(token);
        pending->causes[j] = memory.causes[row + j];
        if (token == kNoToken) {  // nothing finite, or the host is to choose
          any_token = bias && j == 0;
          break;
        }
        accepted = j + 1;
        if (batch.drafts == nullptr || batch.drafts[row + j] != token) break;
      }
      pending->position = length;
      pending->count = static_cast<uint8_t>(any_token ? 1 : accepted);
      pending->any_token = any_token;
      if (batch.commit != 0) {
        for (int j = 0; j < accepted; ++j) CommitToken(table, slot_memory, pending->tokens[j], pending->causes[j]);
        pending->count = 0;
      }
    }
  }
  if (batch.out_accepted != nullptr) batch.out_accepted[row] = accepted;
}

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_SETTLE_CUH_
