// A decoding step as one launch: blocks take pieces of work by ticket, first looks at slices running ahead of second looks, so that a row is read
// from memory once and found in the L2 cache the second time.
//
// Order of tickets: rows' first looks (one piece that finds the window and its seed, then the slices) come `lag` rows before their second looks. A block
// that waits for a row's first looks waits for tickets smaller than its own, which blocks that are running hold: it cannot wait for ever.
#include "kernels/sample.h"

#include "kernels/block.cuh"
#include "kernels/choose.cuh"
#include "kernels/finish.cuh"
#include "kernels/locate.cuh"
#include "kernels/scan.cuh"
#include "kernels/settle.cuh"
#include "kernels/step.cuh"

namespace countermark {
namespace {

inline constexpr int kBlocksAMultiprocessor = 2;  // 128 registers a thread: nothing is spilled

inline constexpr int64_t kBytesAhead = 16 << 20;  // of logits between first and second looks: a third of an H100's L2 cache

// The order of the work.
struct Schedule {
  Slicing slicing;
  int32_t rows;
  int32_t group;    // slices a ticket
  int32_t tickets_a_look;
  int32_t lag;      // rows by which first looks run ahead
  uint32_t tickets;
};

struct Piece {
  int32_t row;
  int32_t look;     // 0: find the window; 1, 2: first or second look
  int32_t part;     // of the look
};

__device__ inline Piece PieceOf(const Schedule& schedule, uint32_t ticket) {
  const uint32_t first = static_cast<uint32_t>(schedule.tickets_a_look) + 1, second = static_cast<uint32_t>(schedule.tickets_a_look);
  const auto first_look = [&](uint32_t row, uint32_t k) {
    return k == 0 ? Piece{static_cast<int32_t>(row), 0, 0} : Piece{static_cast<int32_t>(row), 1, static_cast<int32_t>(k - 1)};
  };
  const uint32_t lag = static_cast<uint32_t>(schedule.lag), head = lag * first;
  if (ticket < head) return first_look(ticket / first, ticket % first);
  ticket -= head;
  const uint32_t rest = static_cast<uint32_t>(schedule.rows) - lag;
  if (ticket < rest * (first + second)) {
    const uint32_t row = ticket / (first + second), k = ticket % (first + second);
    if (k < first) return first_look(lag + row, k);
    return {static_cast<int32_t>(row), 2, static_cast<int32_t>(k - first)};
  }
  ticket -= rest * (first + second);
  return {static_cast<int32_t>(rest + ticket / second), 2, static_cast<int32_t>(ticket % second)};
}

// Says that this block's part of a look is written; returns whether it was the last of `parts`. Thread 0 alone.
__device__ __forceinline__ bool Arrive(uint32_t* arrivals, int32_t parts) {
  __threadfence();
  const bool last = atomicAdd(arrivals, 1u) + 1 == static_cast<uint32_t>(parts);
  if (last) __threadfence();
  return last;
}

// The chosen token's log-probability; −∞ where nothing is finite, or the host is to choose.
__device__ inline float LogProbability(const RowLogits& row, const RowWork& work, const Chosen& chosen) {
  if (work.empty || work.action != kMaskRow) return -Infinity();
  if (chosen.total == 0) return 0.0f;
  return static_cast<float>(log(static_cast<double>(work.weigh(LoadLogit(row, static_cast<int>(chosen.token)))) / static_cast<double>(chosen.total)));
}

__device__ __forceinline__ void FinishRow(const RequestTable& table, const StepMemory& memory, const SampleBatch& batch, const Schedule& schedule, int row_index,
                                 bool bias, RowWork* work, BlockScratch* scratch, TournamentScratch* field) {
  const RowLogits row = RowAt(batch, row_index);
  RowPlan* shared_plan = memory.plans + row_index;
  RowPlan& plan = work->plan;
  if (threadIdx.x == 0) {
    plan.random[0] = __ldcg(&shared_plan->random[0]);
    plan.random[1] = __ldcg(&shared_plan->random[1]);
    plan.listed = __ldcg(&shared_plan->listed);
    plan.candidates = __ldcg(&shared_plan->candidates);
    plan.total = __ldcg(&shared_plan->total);
    plan.listed_sum = __ldcg(&shared_plan->listed_sum);
    plan.slot = __ldcg(&shared_plan->slot);
  }
  __syncthreads();  // [summed]
  const SlicePart* parts = memory.parts + static_cast<int64_t>(row_index) * kMaxSlices;

  Chosen chosen = {kIdMask, work->cause, 0};
  switch (work->mode) {
    case kChooseSum: chosen = FinishSum(row, plan, *work, parts, schedule.slicing, scratch); break;
    case kChooseRace: chosen = FinishRace(plan, parts, schedule.slicing); break;
    case kChooseList:
      chosen = FinishList(row, plan, *work, memory.lists + static_cast<int64_t>(row_index) * memory.capacity, memory.capacity, scratch, field);
      break;
    default: break;
  }
  if (work->action == kMaskRow && chosen.token >= static_cast<uint32_t>(batch.vocabulary)) {
    // A greedy row. Any other never comes here; if it does, it is still served, and counted.
    if (work->cause != kRowGreedy) chosen.cause = kRowFault;
    chosen.token = LikeliestOf(row, work->weigh.max, parts, schedule.slicing.slices, schedule.slicing.length, scratch);
    chosen.total = 0;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    const bool none = work->empty != 0 || work->action != kMaskRow;
    const int32_t token = none ? kNoToken : static_cast<int32_t>(chosen.token);
    memory.tokens[row_index] = token;
    memory.causes[row_index] = static_cast<uint8_t>(chosen.cause);
    batch.out_tokens[row_index] = token;
    if (batch.out_causes != nullptr) batch.out_causes[row_index] = static_cast<uint8_t>(chosen.cause);
    if (batch.out_logprobs != nullptr) batch.out_logprobs[row_index] = LogProbability(row, *work, chosen);
    if (work->fault != 0) atomicAdd(&table.metrics->bad_rows, 1ull);
    *shared_plan = RowPlan{};
    if (bias) {  // ApplyBias needs these, and they are wiped after it
      shared_plan->action = work->action;
      shared_plan->slot = plan.slot;
      for (int i = 0; i < 8; ++i) shared_plan->seed[i] = work->seed[i];
    }
    for (int i = 0; i < 8; ++i) work->seed[i] = 0;
    plan.random[0] = plan.random[1] = 0;
  }
}

__global__ void __launch_bounds__(kThreads, kBlocksAMultiprocessor) SampleRows(const __grid_constant__ RequestTable table, const __grid_constant__ StepMemory memory,
                                                             const __grid_constant__ SampleBatch batch, const __grid_constant__ Schedule schedule, bool bias) {
  SHARED_ARRAY(BlockScratch, scratch, 1);
  SHARED_ARRAY(TournamentScratch, field, 1);
  SHARED_ARRAY(RowWork, work, 1);
  const int32_t slices = schedule.slicing.slices;
  for (;;) {
    __syncthreads();  // [ticket] the last piece of work is done with its shared memory
    if (threadIdx.x == 0) work->ticket = atomicAdd(&memory.header->ticket, 1u);
    __syncthreads();
    const uint32_t ticket = work->ticket;
    if (ticket >= schedule.tickets) break;
    if (ticket == 0 && threadIdx.x == 0) memory.header->started_ns = GlobalTimer();
    const Piece piece = PieceOf(schedule, ticket);
    RowPlan* plan = memory.plans + piece.row;
    SlicePart* parts = memory.parts + static_cast<int64_t>(piece.row) * kMaxSlices;
    Bin* bins = memory.bins + static_cast<int64_t>(piece.row) * kMaxSlices * kThreads;
    const RowLogits row = RowAt(batch, piece.row);
    const int first_slice = piece.part * schedule.group;
    const int end_slice = Smaller(first_slice + schedule.group, slices);

    if (piece.look == 0) {
      PlanRow(table, batch, piece.row, plan, work->spare);
      __syncthreads();  // [planned]
      if (threadIdx.x == 0) Arrive(&plan->scanned, schedule.tickets_a_look + 1);
      continue;
    }
    if (piece.look == 1) {
      const RowParameters p = ParametersOf(table, SlotOf(table, batch, piece.row).slot);
      const bool by_count = p.ByCount(batch.vocabulary), by_weight = p.ByWeight();
      const bool guesses = by_count || by_weight || static_cast<Scheme>(p.scheme) == Scheme::kTournament;
      for (int s = first_slice; s < end_slice; ++s) {
        const int begin = s * schedule.slicing.length, end = Smaller(begin + schedule.slicing.length, batch.vocabulary);
        ScanSlice(row, begin, end, p.scale, by_weight && !by_count, guesses ? bins + s * kThreads : nullptr, parts + s, scratch);
      }
      if (threadIdx.x == 0) Arrive(&plan->scanned, schedule.tickets_a_look + 1);
      continue;
    }

    if (threadIdx.x == 0) {
      while (LoadAcquire(&plan->scanned) != static_cast<uint32_t>(schedule.tickets_a_look) + 1) __nanosleep(64);
      PrepareRow(table, batch, memory, piece.row, schedule.slicing, bias, work);
    }
    __syncthreads();  // [prepared]
    if (work->mode == kChooseList && !work->weigh.infinite) {
      const RowParameters& p = work->parameters;
      const int64_t count = p.ByCount(batch.vocabulary) ? p.top_k : p.ByWeight() ? 0 : p.candidates;
      const float cut = GuessCut(bins, slices * kThreads, work->weigh, count, p.top_p, scratch);
      if (threadIdx.x == 0) work->cut = cut;
      __syncthreads();
    }
    for (int s = first_slice; s < end_slice; ++s) {
      const int begin = s * schedule.slicing.length, end = Smaller(begin + schedule.slicing.length, batch.vocabulary);
      switch (work->mode) {
        case kChooseSum: SumSlice(row, *work, begin, end, parts + s, scratch); break;
        case kChooseRace: RaceSlice(row, *work, begin, end, batch.out_logprobs != nullptr, parts + s, plan, scratch); break;
        case kChooseList:
          ListSlice(row, *work, begin, end, memory.capacity, memory.lists + static_cast<int64_t>(piece.row) * memory.capacity, plan, scratch);
          break;
        default: break;
      }
    }
    // What the slices' functions wrote lies before their own last barriers.
    if (threadIdx.x == 0) work->last = Arrive(&plan->chosen, schedule.tickets_a_look);
    __syncthreads();
    if (work->last != 0) FinishRow(table, memory, batch, schedule, piece.row, bias, work, scratch, field);
  }

  // The last block to find no more work settles the step.
  if (threadIdx.x == 0) work->last = Arrive(&memory.header->left, static_cast<int32_t>(gridDim.x));
  __syncthreads();
  if (work->last == 0) return;
  const uint64_t step = __ldcg(&table.metrics->steps) + 1;
  for (int r = static_cast<int>(threadIdx.x); r < batch.rows; r += kThreads) ClaimSlot(table, batch, r, step);
  __syncthreads();  // [claimed]
  for (int r = static_cast<int>(threadIdx.x); r < batch.rows; r += kThreads) SettleRow(table, batch, memory, r, bias, step);
  __syncthreads();
  if (threadIdx.x == 0) {
    const unsigned long long took = GlobalTimer() - memory.header->started_ns;
    table.metrics->steps = step;
    table.metrics->last_step_ns = took;
    table.metrics->all_steps_ns += took;
    memory.header->ticket = 0;
    memory.header->left = 0;
  }
}

__device__ inline void StoreLogit(const SampleBatch& batch, int row, int column, float z) {
  const int64_t at = static_cast<int64_t>(row) * batch.stride + column;
  switch (batch.type) {
    case kFloat32: static_cast<float*>(batch.logits)[at] = z; break;
    case kFloat16: static_cast<__half*>(batch.logits)[at] = __float2half_rn(z > 65504.0f && z < Infinity() ? 65504.0f : z); break;  // a gain makes nothing infinite
    default: static_cast<__nv_bfloat16*>(batch.logits)[at] = __float2bfloat16_rn(z); break;
  }
}

// What SampleRows decided for hosts that keep their sampler. Grid: rows × stretches of 16 tokens a thread.
__global__ void __launch_bounds__(kThreads) ApplyBias(const __grid_constant__ RequestTable table, const __grid_constant__ StepMemory memory,
                                                       const __grid_constant__ SampleBatch batch) {
  const int row = static_cast<int>(blockIdx.x);
  const RowPlan& plan = memory.plans[row];
  const int first = static_cast<int>(blockIdx.y * kThreads + threadIdx.x) * 16;
  if (first >= batch.columns) return;
  const RowParameters p = ParametersOf(table, plan.slot);
  uint32_t bytes[16];
  if (plan.action == kTiltRow) ChaCha8Block(plan.seed, static_cast<uint32_t>(first) / kUnit, bytes);
  const RowLogits logits = RowAt(batch, row);
  const int32_t token = memory.tokens[row];
  const int quarter = first % kUnit / 16;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const int column = first + i;
    if (column >= batch.columns) break;
    if (column >= batch.vocabulary) {
      StoreLogit(batch, row, column, -Infinity());
    } else if (plan.action == kMaskRow) {
      StoreLogit(batch, row, column, column == token ? 0.0f : -Infinity());
    } else if (plan.action == kTiltRow) {
      uint32_t word = 0;
#pragma unroll
      for (int k = 0; k < 16; ++k) {
        if (k == quarter * 4 + i / 4) word = bytes[k];
      }
      if (IsGreen(static_cast<uint8_t>(word >> (8 * (i % 4))), p.green)) StoreLogit(batch, row, column, LoadLogit(logits, column) + p.bias);
    }
  }
}

// Seeds are wiped once they have been used.
__global__ void __launch_bounds__(kThreads) WipePlans(StepMemory memory, int32_t rows) {
  for (int r = static_cast<int>(blockIdx.x * kThreads + threadIdx.x); r < rows; r += static_cast<int>(gridDim.x) * kThreads) memory.plans[r] = RowPlan{};
}

bool Valid(const RequestTable& table, const Workspace& space, const SampleBatch& batch) {
  if (table.slots == nullptr || table.tokens == nullptr || table.causes == nullptr || table.seen == nullptr || table.metrics == nullptr ||
      table.spare_key == nullptr || table.count < 1 || table.max_length < 1 || space.memory == nullptr || space.multiprocessors < 1) {
    return false;
  }
  if (table.seen_size < 2u * static_cast<uint32_t>(table.max_length) || (table.seen_size & (table.seen_size - 1)) != 0) return false;
  return batch.slots != nullptr && batch.logits != nullptr && batch.out_tokens != nullptr && batch.rows >= 0 && batch.rows <= space.rows && batch.vocabulary >= 1 &&
         batch.vocabulary <= batch.columns && batch.vocabulary <= space.columns && batch.stride >= batch.columns &&
         batch.vocabulary < static_cast<int32_t>(kTokenLimit) && batch.type >= kFloat32 && batch.type <= kBfloat16 &&
         (batch.depths == nullptr || batch.drafts != nullptr);
}

// First looks run so many rows ahead that blocks seldom wait, and few enough that their logits are still in the L2 cache.
Schedule Plan(const SampleBatch& batch, int blocks) {
  Schedule s = {};
  s.slicing = SliceRow(batch.vocabulary);
  s.rows = batch.rows;
  s.group = static_cast<int64_t>(batch.rows) * s.slicing.slices <= 4 * blocks ? 1 : 4;
  s.tickets_a_look = (s.slicing.slices + s.group - 1) / s.group;
  const int64_t row_bytes = static_cast<int64_t>(batch.vocabulary) * (batch.type == kFloat32 ? 4 : 2);
  int64_t lag = (blocks + s.tickets_a_look) / (s.tickets_a_look + 1);
  if (lag * row_bytes > kBytesAhead) lag = kBytesAhead / row_bytes;
  if (lag < 1) lag = 1;
  s.lag = lag < batch.rows ? static_cast<int32_t>(lag) : batch.rows;
  s.tickets = static_cast<uint32_t>(batch.rows) * static_cast<uint32_t>(2 * s.tickets_a_look + 1);
  return s;
}

cudaError_t LaunchStep(const RequestTable& table, const Workspace& space, const SampleBatch& batch, bool bias, cudaStream_t stream) {
  if (!Valid(table, space, batch) || (bias && batch.commit != 0)) return cudaErrorInvalidValue;
  if (batch.rows == 0) return cudaSuccess;
  StepMemory memory;
  LayOut(space.memory, space.rows, space.columns, &memory);
  const int most = kBlocksAMultiprocessor * space.multiprocessors;
  const Schedule schedule = Plan(batch, most);
  const uint32_t blocks = schedule.tickets < static_cast<uint32_t>(most) ? schedule.tickets : static_cast<uint32_t>(most);
  cudaError_t error = Launch(SampleRows, dim3(blocks), dim3(kThreads), 0, stream, table, memory, batch, schedule, bias);
  if (error != cudaSuccess || !bias) return error;
  const unsigned columns = static_cast<unsigned>((batch.columns + 16 * kThreads - 1) / (16 * kThreads));
  error = Launch(ApplyBias, dim3(static_cast<unsigned>(batch.rows), columns), dim3(kThreads), 0, stream, table, memory, batch);
  const cudaError_t wiped = Launch(WipePlans, dim3(1), dim3(kThreads), 0, stream, memory, batch.rows);
  return error != cudaSuccess ? error : wiped;
}

}  // namespace

size_t countermark_workspace_bytes(int32_t rows, int32_t columns) {
  StepMemory memory;
  return rows < 1 || columns < 1 ? 0 : LayOut(nullptr, rows, columns, &memory);
}

cudaError_t countermark_launch_sample(const RequestTable& table, const Workspace& space, const SampleBatch& batch, cudaStream_t stream) {
  return LaunchStep(table, space, batch, false, stream);
}

cudaError_t countermark_launch_bias(const RequestTable& table, const Workspace& space, const SampleBatch& batch, cudaStream_t stream) {
  return LaunchStep(table, space, batch, true, stream);
}

}  // namespace countermark
