// What a row's next token is before its logits are looked at: whose request, which window, which key, or why there is no mark.
#ifndef COUNTERMARK_KERNELS_LOCATE_CUH_
#define COUNTERMARK_KERNELS_LOCATE_CUH_

#include "countermark/mark/channel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/scheme.h"
#include "countermark/mark/select.h"
#include "kernels/history.cuh"
#include "kernels/row.cuh"
#include "kernels/step.cuh"

namespace countermark {

// The slot of a row and how many drafts go before it; slot −1 where the batch names none that has begun, or the depths do not follow.
struct RowSlot {
  int32_t slot;
  int32_t depth;
};

__device__ inline RowSlot SlotOf(const RequestTable& table, const SampleBatch& batch, int row) {
  const int32_t slot = batch.slots[row];
  const int32_t depth = batch.depths != nullptr ? batch.depths[row] : 0;
  if (slot < 0 || slot >= table.count || table.slots[slot].record.state == kSlotEmpty) return {-1, 0};
  if (depth < 0 || depth > kMaxDepth || depth > row) return {-1, 0};
  for (int i = 1; i <= depth; ++i) {
    if (batch.slots[row - i] != slot || batch.depths[row - i] != depth - i) return {-1, 0};
  }
  return {slot, depth};
}

// How a row is truncated and marked; plain draws at temperature 1 where there is no slot.
struct RowParameters {
  float scale;
  float floor;       // weights below are no candidates (min-p)
  uint64_t top_p;
  int32_t top_k;
  int32_t candidates;
  uint32_t red_factor;
  float bias;        // δ·T
  uint8_t scheme, green, layers;

  __device__ __forceinline__ bool ByCount(int32_t vocabulary) const { return top_k > 0 && top_k < vocabulary; }
  __device__ __forceinline__ bool ByWeight() const { return top_p < uint64_t{1} << 32; }
};

__device__ inline RowParameters ParametersOf(const RequestTable& table, int32_t slot) {
  if (slot < 0) return {InverseTemperature(1.0f), 1.0f, uint64_t{1} << 32, 0, 1, 0, 0.0f, 0, 0, 0};
  const SlotRecord& r = table.slots[slot].record;
  return {r.scale, NotBelow(r.least), r.top_p, r.top_k, r.candidates, r.red_factor, GreenGain(r.delta, r.temperature), r.scheme, r.green, r.layers};
}

// Token i of the row's sequence: what is committed, then the drafts before the row.
__device__ __forceinline__ uint32_t TokenBefore(const SlotMemory& memory, const SampleBatch& batch, int row, int depth, uint64_t i) {
  const uint64_t length = memory.slot->length;
  if (i < length) return memory.tokens[i];
  return static_cast<uint32_t>(batch.drafts[row - depth + static_cast<int>(i - length)]);
}

// The cause of a row by its request alone; where that is kRowMarked, the seed of its window.
__device__ inline uint32_t Locate(const RequestTable& table, const SampleBatch& batch, int row, const RowSlot& at, uint32_t seed[8]) {
  if (at.slot < 0) return kRowFault;
  const SlotMemory memory = MemoryOf(table, at.slot);
  const SlotRecord& record = memory.slot->record;
  if (record.state == kSlotFaulty) return kRowFault;
  const uint64_t position = memory.slot->length + static_cast<uint64_t>(at.depth);
  if (position >= static_cast<uint64_t>(memory.max_length)) return kRowFault;
  if (record.state == kSlotGreedy) return kRowGreedy;
  if (record.state == kSlotOff) return kRowOff;
  const int h = record.window;
  if (position < static_cast<uint64_t>(h)) return kRowStart;

  uint32_t window[kMaxWindow];
  bool good = true;
  for (int i = 0; i < h; ++i) {
    window[i] = TokenBefore(memory, batch, row, at.depth, position - static_cast<uint64_t>(h - i));
    good = good && window[i] < kTokenLimit;
  }
  if (!good) return kRowFault;  // what is no token: such a window has no encoding
  if (WindowStood(memory, window)) return kRowRepeatedWindow;
  // Windows that stood before the drafts' own positions.
  for (int d = 0; d < at.depth; ++d) {
    const uint64_t before = memory.slot->length + static_cast<uint64_t>(d);
    if (before < static_cast<uint64_t>(h)) continue;
    bool same = true;
    for (int i = 0; i < h && same; ++i) same = TokenBefore(memory, batch, row, at.depth, before - static_cast<uint64_t>(h - i)) == window[i];
    if (same) return kRowRepeatedWindow;
  }
  const Scheme scheme = static_cast<Scheme>(record.scheme);
  const int channel = RouteWindow(record.route_key, scheme, window, h, record.channel_weights, record.channels);
  MarkSeed(record.channel_keys[channel], scheme, window, h, seed);  // the same work whether or not the channel has a key
  return (record.plain_channels >> channel & 1) != 0 ? kRowOff : kRowMarked;
}

// A locating block's whole work: the plan of `row`. `shared`: two words of shared memory.
__device__ inline void PlanRow(const RequestTable& table, const SampleBatch& batch, int row, RowPlan* plan, unsigned long long* shared) {
  const RowSlot at = SlotOf(table, batch, row);
  if (threadIdx.x == 0) {
    // A row without a request has no position: it takes a number that none before it had.
    shared[0] = at.slot < 0 ? atomicAdd(&table.metrics->bad_slots, 1ull) : table.slots[at.slot].length + static_cast<unsigned long long>(at.depth);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t seed[8] = {};
    plan->cause = Locate(table, batch, row, at, seed);
    for (int i = 0; i < 8; ++i) plan->seed[i] = seed[i];
    plan->slot = at.slot;
    plan->best = static_cast<unsigned long long>(__double_as_longlong(static_cast<double>(Infinity())));
  } else if (threadIdx.x / 32 == 1 && threadIdx.x % 32 < 2) {  // beside it, another warp: both draws at once
    const uint32_t* key = at.slot < 0 ? table.spare_key : table.slots[at.slot].record.sampling_key;
    plan->random[threadIdx.x % 32] = DrawBits(key, shared[0], threadIdx.x % 32);
  }
}

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_LOCATE_CUH_
