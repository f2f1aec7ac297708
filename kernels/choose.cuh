// Second look at a slice: its weights are summed, raced or written down, whichever the row's parameters and scheme call for.
#ifndef COUNTERMARK_KERNELS_CHOOSE_CUH_
#define COUNTERMARK_KERNELS_CHOOSE_CUH_

#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "kernels/block.cuh"
#include "kernels/locate.cuh"
#include "kernels/scan.cuh"
#include "kernels/step.cuh"

namespace countermark {

// How a row's token is found.
enum ChooseMode : uint32_t {
  kChooseNothing,  // nothing finite, greedy, or the host chooses: the first look was enough
  kChooseSum,      // nothing truncates: a plain draw, or partition's, by the sums of the slices
  kChooseRace,     // nothing truncates: gumbel's race over all tokens
  kChooseList,     // the likely ones are written down; truncation and scheme work on them
};

// What all threads of a block know of the row they work on. In shared memory, filled by thread 0.
struct RowWork {
  uint32_t ticket;
  uint32_t last;                // whether this block is the row's last
  RowParameters parameters;
  Weigher weigh;
  uint32_t mode, cause, action;
  uint32_t fault;               // the row holds NaN, +∞ or nothing finite
  uint32_t empty;
  uint32_t seed[8];
  float cut;                    // kChooseList: weights from here on are written down
  float lowest;                 // weights below are not counted in the total
  unsigned long long spare[2];  // for PlanRow
  RowPlan plan;                 // the sums of the slices, once all are there
};

// Thread 0's: what the first look and the plan say of the row together. `bias`: for a host that keeps its sampler.
__device__ inline void PrepareRow(const RequestTable& table, const SampleBatch& batch, const StepMemory& memory, int row, const Slicing& slicing, bool bias,
                                  RowWork* work) {
  RowPlan* plan = memory.plans + row;
  float max = -Infinity();
  uint32_t nan = 0;
#pragma unroll
  for (int s = 0; s < kMaxSlices; ++s) {  // all loads at once
    if (s >= slicing.slices) continue;
    const SlicePart* part = memory.parts + static_cast<int64_t>(row) * kMaxSlices + s;
    max = fmaxf(max, __ldcg(&part->max));
    nan |= __ldcg(&part->nan);
  }
  const int32_t slot = __ldcg(&plan->slot);
  RowParameters parameters = ParametersOf(table, slot);
  work->parameters = parameters;
  work->weigh = MakeWeigher(max, parameters.scale);
  work->empty = max == -Infinity();
  work->fault = work->empty || work->weigh.infinite || nan != 0;
  const uint32_t asked = __ldcg(&plan->cause);
  uint32_t cause = work->fault ? static_cast<uint32_t>(kRowFault) : asked;
  for (int i = 0; i < 8; ++i) work->seed[i] = __ldcg(&plan->seed[i]);
  const Scheme scheme = static_cast<Scheme>(parameters.scheme);
  const bool truncates = parameters.ByCount(batch.vocabulary) || parameters.ByWeight();
  const bool marked = cause == kRowMarked;

  work->action = kMaskRow;
  uint32_t mode = kChooseList;
  if (bias && slot < 0) {
    work->action = kLeaveRow;
    mode = kChooseNothing;
  } else if (bias && scheme == Scheme::kPartition && (asked == kRowStart || asked == kRowRepeatedWindow || asked == kRowOff)) {
    cause = asked;
    work->action = kLeaveRow;
    mode = kChooseNothing;
  } else if (work->empty) {
    work->action = kLeaveRow;
    mode = kChooseNothing;
  } else if (bias && scheme == Scheme::kPartition && marked) {
    work->action = kTiltRow;
    mode = kChooseNothing;
  } else if (asked == kRowGreedy) {
    mode = kChooseNothing;
  } else if (!truncates && !(marked && scheme == Scheme::kTournament)) {
    mode = marked && scheme == Scheme::kGumbel ? kChooseRace : kChooseSum;
  }
  work->cause = cause;
  work->mode = mode;
  work->lowest = truncates ? 1.0f : parameters.floor;
  work->cut = 1.0f;
}

// The weights of eight tokens with their fractions. The rows that hold +∞ part from the others here, and not at every token.
__device__ __forceinline__ void ScaleOctet(const Weigher& weigh, const float z[kOctet], float scaled[kOctet]) {
  if (weigh.infinite) {
#pragma unroll
    for (int i = 0; i < kOctet; ++i) scaled[i] = weigh(z[i]);
    return;
  }
#pragma unroll
  for (int i = 0; i < kOctet; ++i) scaled[i] = weigh.Scaled(z[i]);
}

// The weights of eight tokens with their fractions, 0 where they are below `lowest` ≥ 1; false when all are 0.
__device__ __forceinline__ bool WeighOctet(const RowLogits& row, const Weigher& weigh, float lowest, int at, float w[kOctet]) {
  float z[kOctet];
  LoadOctet(row, at, z);
  if (weigh.OutOfReach(LargestOf(z))) return false;
  ScaleOctet(weigh, z, w);
#pragma unroll
  for (int i = 0; i < kOctet; ++i) w[i] = w[i] >= lowest ? w[i] : 0.0f;
  return true;
}

struct UnitSums {
  uint64_t drawn;   // tilted, where the row is
  uint64_t plain;
};

// The 64 tokens from `first` on, under partition's tilt if the row is `tilted`.
__device__ inline UnitSums SumUnit(const RowLogits& row, const RowWork& work, bool tilted, int first) {
  UnitSums sums = {};
  uint32_t bytes[16] = {};
  if (tilted) ChaCha8Block(work.seed, static_cast<uint32_t>(first) / kUnit, bytes);
#pragma unroll
  for (int o = 0; o < kUnit / kOctet; ++o) {
    float w[kOctet];
    if (first + o * kOctet >= row.vocabulary || !WeighOctet(row, work.weigh, work.lowest, first + o * kOctet, w)) continue;
#pragma unroll
    for (int i = 0; i < kOctet; ++i) {
      const uint64_t weight = static_cast<uint64_t>(w[i]);
      sums.plain += weight;
      const uint8_t byte = static_cast<uint8_t>(bytes[2 * o + i / 4] >> (8 * (i % 4)));
      if (tilted) sums.drawn += IsGreen(byte, work.parameters.green) ? weight : RedWeight(weight, work.parameters.red_factor);
    }
  }
  if (!tilted) sums.drawn = sums.plain;
  return sums;
}

// kChooseSum: the sums of one slice.
__device__ inline void SumSlice(const RowLogits& row, const RowWork& work, int begin, int end, SlicePart* part, BlockScratch* scratch) {
  const bool tilted = work.cause == kRowMarked && static_cast<Scheme>(work.parameters.scheme) == Scheme::kPartition;
  UnitSums mine = {};
  if (tilted) {
    for (int first = begin + kUnit * static_cast<int>(threadIdx.x); first < end; first += kUnit * kThreads) {
      const UnitSums unit = SumUnit(row, work, true, first);
      mine.drawn += unit.drawn;
      mine.plain += unit.plain;
    }
  } else {
    EachOctet<false>(row, begin, end, [&](int, const float* z) {
      if (work.weigh.OutOfReach(LargestOf(z))) return;
      float w[kOctet];
      ScaleOctet(work.weigh, z, w);
#pragma unroll
      for (int i = 0; i < kOctet; ++i) mine.plain += static_cast<uint64_t>(w[i] >= work.lowest ? w[i] : 0.0f);
    });
    mine.drawn = mine.plain;
  }
  BlockSum2(&mine.drawn, &mine.plain, scratch);
  if (threadIdx.x == 0) {
    part->sum = mine.drawn;
    part->plain = mine.plain;
  }
}

// Whether an arrival cannot be before `limit`, from its word alone. −ln(u) ≥ 1 − u ≥ (2³² − 1 − word)/2³², of which the upper 23 bits are made a float in
// [1, 2) less 1, exactly: not more than the true one. `weight` is the weight or more. The rounding of the product, within 2⁻²⁴, is covered by the
// room of 2⁻¹⁸ that LimitOf leaves.
__device__ __forceinline__ bool TooLate(uint32_t word, float weight, float limit) {
  return __uint_as_float(kOneAsBits | ~word >> 9) - 1.0f > limit * weight;
}
__device__ __forceinline__ float LimitOf(double time) { return static_cast<float>(time * (1.0 + 0x1p-18)); }

// kChooseRace: the first arrival among the tokens begin … end − 1. Sixteen tokens share a block of words; they are passed over where not even the
// luckiest word could win.
__device__ inline void RaceSlice(const RowLogits& row, const RowWork& work, int begin, int end, bool sums, SlicePart* part, RowPlan* plan, BlockScratch* scratch) {
  Arrival best = {static_cast<double>(Infinity()), kIdMask};
  float limit = LimitOf(__longlong_as_double(static_cast<long long>(__ldcg(&plan->best))));
  uint64_t plain = 0, count = 0;
  for (int base = begin; base < end; base += 16 * kThreads) {  // the same for all threads, so that warps stay together
    const int first = base + 16 * static_cast<int>(threadIdx.x);
    float w[16];  // with fractions
    uint32_t words[16];
    bool races = false;
    if (first < end) {
      bool some = false;
#pragma unroll
      for (int o = 0; o < 2; ++o) {
        if (first + o * kOctet < row.vocabulary && WeighOctet(row, work.weigh, work.lowest, first + o * kOctet, w + o * kOctet)) {
          some = true;
        } else {
#pragma unroll
          for (int i = 0; i < kOctet; ++i) w[o * kOctet + i] = 0.0f;
        }
      }
      if (some) {
        float heaviest = 0.0f;
#pragma unroll
        for (int i = 0; i < 16; ++i) {
          heaviest = fmaxf(heaviest, w[i]);
          count += w[i] > 0.0f;
        }
        if (sums) {
#pragma unroll
          for (int i = 0; i < 16; ++i) plain += static_cast<uint64_t>(w[i]);
        }
        races = heaviest > 0.0f && !(0x1p-33f > limit * heaviest);
      }
      if (races) {
        ChaCha8Block(work.seed, static_cast<uint32_t>(first) / 16, words);
        if (limit == Infinity()) {
          // Nobody has arrived yet: the likely first of these is timed at once, and few logarithms are left to take.
          float late = 1.0f, weight = 0.0f;
          uint32_t word = 0;
#pragma unroll
          for (int i = 0; i < 16; ++i) {
            const float time = __uint_as_float(kOneAsBits | ~words[i] >> 9) - 1.0f;
            if (time * weight <= late * w[i] && w[i] > 0.0f) {
              late = time;
              weight = w[i];
              word = words[i];
            }
          }
          limit = LimitOf(GumbelArrival(word, static_cast<double>(truncf(weight))));
        }
      }
    }
    limit = __uint_as_float(__reduce_min_sync(kAllLanes, __float_as_uint(limit)));  // positive floats are ordered as integers
    if (!races) continue;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      if (TooLate(words[i], w[i], limit) || !(w[i] > 0.0f)) continue;
      const Arrival arrival = {GumbelArrival(words[i], static_cast<double>(truncf(w[i]))), static_cast<uint32_t>(first + i)};
      if (Earlier(arrival, best)) best = arrival;
      limit = fminf(limit, LimitOf(best.time));
    }
  }
  best = BlockFirst(best, scratch);
  BlockSum2(&plain, &count, scratch);
  if (threadIdx.x == 0) {
    part->time = static_cast<unsigned long long>(__double_as_longlong(best.time));
    part->winner = best.id;
    part->plain = plain;
    atomicAdd(&plan->candidates, static_cast<uint32_t>(count));
    atomicMin(&plan->best, static_cast<unsigned long long>(__double_as_longlong(best.time)));
  }
}

// kChooseList: writes down the tokens begin … end − 1 of weight ≥ work.cut, and sums all weights.
__device__ inline void ListSlice(const RowLogits& row, const RowWork& work, int begin, int end, int capacity, unsigned long long* list, RowPlan* plan,
                                 BlockScratch* scratch) {
  const bool total_wanted = !work.parameters.ByCount(row.vocabulary);
  // Without a total, tokens clearly below the cut need not be weighed: 2^−0.01 is far more than the rounding of a weight.
  const float reach = total_wanted || work.weigh.infinite ? -Infinity() : (log2f(work.cut) - 40.01f) / work.weigh.scale;
  const float listed_from = fmaxf(work.lowest, work.cut);
  uint64_t total = 0, listed_sum = 0, count = 0;
  EachOctet<false>(row, begin, end, [&](int at, const float* z) {
    const float largest = LargestOf(z);
    if (work.weigh.OutOfReach(largest) || largest - work.weigh.max < reach) return;
    float w[kOctet];
    ScaleOctet(work.weigh, z, w);
    uint32_t found = 0;
#pragma unroll
    for (int i = 0; i < kOctet; ++i) {
      if (total_wanted) {
        total += static_cast<uint64_t>(w[i] >= work.lowest ? w[i] : 0.0f);
        count += w[i] >= work.lowest;
      }
      found += w[i] >= listed_from;
    }
    if (found == 0) return;
    uint32_t place = atomicAdd(&plan->listed, found);
#pragma unroll
    for (int i = 0; i < kOctet; ++i) {
      if (!(w[i] >= listed_from)) continue;
      const float weight = truncf(w[i]);
      listed_sum += static_cast<uint64_t>(weight);
      if (place < static_cast<uint32_t>(capacity)) list[place] = KeyOf(weight, static_cast<uint32_t>(at + i));
      ++place;
    }
  });
  BlockSum2(&total, &listed_sum, scratch);
  count = BlockSum(count, scratch);
  if (threadIdx.x == 0) {
    atomicAdd(&plan->total, static_cast<unsigned long long>(total));
    atomicAdd(&plan->listed_sum, static_cast<unsigned long long>(listed_sum));
    atomicAdd(&plan->candidates, static_cast<uint32_t>(count));
  }
}

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_CHOOSE_CUH_
