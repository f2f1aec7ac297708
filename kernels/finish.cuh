// A row's last block: the token, from what its slices have summed, raced or written down.
#ifndef COUNTERMARK_KERNELS_FINISH_CUH_
#define COUNTERMARK_KERNELS_FINISH_CUH_

#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/select.h"
#include "countermark/mark/tournament.h"
#include "kernels/block.cuh"
#include "kernels/choose.cuh"
#include "kernels/step.cuh"

namespace countermark {

// What is chosen, and its weight among all that could have been.
struct Chosen {
  uint32_t token;
  uint32_t cause;
  uint64_t total;  // of the unmarked weights; 0: the token was certain
};

// Memory of a tournament: a block's share of shared memory.
struct TournamentScratch {
  unsigned long long weights[kMaxTournament];
  uint32_t words[kMaxTournament];
  uint32_t ids[kMaxTournament];
  unsigned long long sums[2][2][4];
  uint32_t count;
};

// The candidates of a row as keys: those written down, or, where that list is too short, all tokens of weight from the logits again.
struct Candidates {
  unsigned long long* list;  // null: read the row
  int32_t listed;
  const RowLogits* row;
  const RowWork* work;

  // Calls fn(key) for this thread's share of the candidates with key ≥ least.
  template <typename Fn>
  __device__ __forceinline__ void Each(uint64_t least, const Fn& fn) const {
    if (list != nullptr) {
      for (int i = static_cast<int>(threadIdx.x); i < listed; i += kThreads) {
        const uint64_t key = __ldcg(&list[i]);
        if (key >= least) fn(key);
      }
      return;
    }
    for (int at = kOctet * static_cast<int>(threadIdx.x); at < row->vocabulary; at += kOctet * kThreads) {
      float w[kOctet];
      if (!WeighOctet(*row, work->weigh, work->lowest, at, w)) continue;
      for (int i = 0; i < kOctet; ++i) {
        if (!(w[i] > 0.0f)) continue;
        const uint64_t key = KeyOf(truncf(w[i]), static_cast<uint32_t>(at + i));
        if (key >= least) fn(key);
      }
    }
  }
};

__device__ __forceinline__ uint64_t IntegerWeight(uint64_t key) { return static_cast<uint64_t>(WeightOf(key)); }

// The first id, ascending, at which the sum of measure(key) over the candidates with least ≤ key < end exceeds x, itself below that sum.
template <typename Measure>
__device__ inline uint32_t DrawById(const Candidates& candidates, uint64_t least, uint64_t end, uint64_t x, const Measure& measure, BlockScratch* scratch) {
  uint64_t before;
  const uint64_t found = PrefixEnd(
      [&](const auto& take) {
        candidates.Each(least, [&](uint64_t key) {
          if (key >= end) return;
          const uint64_t m = measure(key);
          if (m > 0) take(key & kIdMask, m);  // the complement of the id: from the largest down is ids ascending
        });
      },
      24, x + 1, true, scratch, &before);
  return kIdMask - static_cast<uint32_t>(found);
}

inline constexpr uint64_t kNoEnd = ~uint64_t{0};

// kChooseList after truncation: a tournament among the most probable.
__device__ inline Chosen PlayTournament(const Candidates& candidates, bool truncated, uint64_t least, uint64_t total, uint64_t count, const RowPlan& draws,
                                        const RowWork& work, BlockScratch* scratch, TournamentScratch* field) {
  uint64_t before;
  uint64_t top = least, inside = total;
  const uint64_t places = static_cast<uint64_t>(work.parameters.candidates);
  if (count > places) {
    top = PrefixEnd([&](const auto& take) { candidates.Each(least, [&](uint64_t key) { take(key, uint64_t{1}); }); }, 56, places, false, scratch, &before);
    if (top < least) top = least;
    // The end may lie below the last of the list, and tokens that were not written down above it.
    if (candidates.list != nullptr && top < LeastKeyOf(work.cut)) top = LeastKeyOf(work.cut);
    uint64_t mine = 0;
    candidates.Each(top, [&](uint64_t key) { mine += IntegerWeight(key); });
    inside = BlockSum(mine, scratch);
    if (DrawTarget(draws.random[0], total) >= inside) {  // with the probability of those beyond, one of them plainly
      const uint64_t x = DrawTarget(draws.random[1], total - inside);
      // They may not have been written down: only the most probable must be.
      const Candidates all = {nullptr, 0, candidates.row, candidates.work};
      const Candidates& beyond = work.cut > 1.0f && !truncated ? all : candidates;
      return {DrawById(beyond, least, top, x, IntegerWeight, scratch), kRowTail, total};
    }
  }
  if (threadIdx.x == 0) field->count = 0;
  __syncthreads();
  candidates.Each(top, [&](uint64_t key) {
    const uint32_t place = atomicAdd(&field->count, 1u);
    field->ids[place] = IdOf(key);
    field->weights[place] = IntegerWeight(key);
    field->words[place] = WordOf(work.seed, IdOf(key));
  });
  __syncthreads();  // [field set]
  const int n = static_cast<int>(field->count), layers = work.parameters.layers;
  // Four warps play, one for each scheduler; the others only wait, which costs nothing.
  constexpr int kPlayers = 128;
  const bool plays = threadIdx.x < kPlayers;
  uint64_t sum = inside, ones = 0;
  const int shift = TournamentShift(sum);
  sum <<= shift;
  if (plays) {
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kPlayers) {
      field->weights[i] <<= shift;
      if ((field->words[i] & 1) != 0) ones += field->weights[i];
    }
  }
  ones = BlockSum(ones, scratch);
  for (int layer = 0; layer < layers; ++layer) {
    uint64_t next = 0, next_ones = 0;
    if (plays) {
      const uint64_t ratio = TournamentRatioByDoubles(sum, ones);
#pragma unroll 4
      for (int i = static_cast<int>(threadIdx.x); i < n; i += kPlayers) {
        const uint32_t word = field->words[i] >> layer;
        const uint64_t w = TournamentWeight(field->weights[i], word & 1, ratio);
        field->weights[i] = w;
        next += w;
        next_ones += layer + 1 < layers && (word & 2) != 0 ? w : 0;
      }
#pragma unroll
      for (int step = 16; step > 0; step /= 2) {
        next += __shfl_xor_sync(kAllLanes, next, step);
        next_ones += __shfl_xor_sync(kAllLanes, next_ones, step);
      }
      if (threadIdx.x % 32 == 0) {  // two places in turn, so that one barrier a layer is enough
        field->sums[layer % 2][0][threadIdx.x / 32] = next;
        field->sums[layer % 2][1][threadIdx.x / 32] = next_ones;
      }
    }
    __syncthreads();  // [layer summed]
    sum = ones = 0;
#pragma unroll
    for (int warp = 0; warp < kPlayers / 32; ++warp) {
      sum += field->sums[layer % 2][0][warp];
      ones += field->sums[layer % 2][1][warp];
    }
  }
  const uint64_t x = DrawTarget(draws.random[1], sum);
  const uint64_t found = PrefixEnd(
      [&](const auto& take) {
        for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) {
          if (field->weights[i] > 0) take(kIdMask - field->ids[i], static_cast<uint64_t>(field->weights[i]));
        }
      },
      24, x + 1, true, scratch, &before);
  return {kIdMask - static_cast<uint32_t>(found), kRowMarked, total};
}

__device__ inline Chosen FinishList(const RowLogits& row, const RowPlan& plan, const RowWork& work, unsigned long long* list, int capacity,
                                    BlockScratch* scratch, TournamentScratch* field) {
  const RowParameters& p = work.parameters;
  const bool by_count = p.ByCount(row.vocabulary), by_weight = p.ByWeight();
  // Is what was written down enough? A cut of 1 leaves nothing out.
  bool enough = work.cut <= 1.0f;
  if (by_count) {
    enough = enough || plan.listed >= static_cast<uint32_t>(p.top_k);
  } else if (by_weight) {
    enough = enough || plan.listed_sum >= TopPTarget(p.top_p, plan.total);
  } else {
    enough = enough || plan.listed >= static_cast<uint32_t>(p.candidates);
  }
  const bool listed = enough && plan.listed <= static_cast<uint32_t>(capacity);
  const Candidates candidates = {listed ? list : nullptr, static_cast<int32_t>(plan.listed), &row, &work};

  // Each truncation raises the least key that stays.
  uint64_t least = 0, before, total = plan.total, count = plan.candidates;
  const auto sum_up = [&] {
    uint64_t sum = 0, n = 0;
    candidates.Each(least, [&](uint64_t key) {
      sum += IntegerWeight(key);
      ++n;
    });
    BlockSum2(&sum, &n, scratch);
    total = sum;
    count = n;
  };
  if (by_count) {
    least = PrefixEnd([&](const auto& take) { candidates.Each(0, [&](uint64_t key) { take(key, uint64_t{1}); }); }, 56, static_cast<uint64_t>(p.top_k), false,
                      scratch, &before);
    sum_up();
  }
  if (by_weight) {
    const uint64_t end = PrefixEnd([&](const auto& take) { candidates.Each(least, [&](uint64_t key) { take(key, IntegerWeight(key)); }); }, 56,
                                   TopPTarget(p.top_p, total), false, scratch, &before);
    if (end > least) least = end;
  }
  if (by_count || by_weight) {
    if (p.floor > 1.0f && LeastKeyOf(p.floor) > least) least = LeastKeyOf(p.floor);
    sum_up();
  }

  const Scheme scheme = static_cast<Scheme>(p.scheme);
  if (work.cause != kRowMarked || count == 1) {
    const uint64_t x = DrawTarget(plan.random[0], total);
    const uint32_t cause = work.cause == kRowMarked ? static_cast<uint32_t>(kRowForced) : work.cause;
    return {DrawById(candidates, least, kNoEnd, x, IntegerWeight, scratch), cause, total};
  }
  if (scheme == Scheme::kTournament) return PlayTournament(candidates, by_count || by_weight, least, total, count, plan, work, scratch, field);
  if (scheme == Scheme::kGumbel) {
    Arrival best = {static_cast<double>(Infinity()), kIdMask};
    float limit = Infinity();
    candidates.Each(least, [&](uint64_t key) {
      const float weight = WeightOf(key);
      if (0x1p-33f > limit * weight) return;
      const uint32_t word = WordOf(work.seed, IdOf(key));
      if (TooLate(word, weight, limit)) return;
      const Arrival arrival = {GumbelArrival(word, static_cast<double>(weight)), IdOf(key)};
      if (Earlier(arrival, best)) best = arrival;
      limit = LimitOf(best.time);
    });
    return {BlockFirst(best, scratch).id, kRowMarked, total};
  }
  // Partition: the colours are looked up once where there is a list to note them in.
  constexpr uint64_t kGreen = uint64_t{1} << 63;
  const auto tilt = [&](uint64_t key, bool green) { return green ? IntegerWeight(key) : RedWeight(IntegerWeight(key), p.red_factor); };
  const auto is_green = [&](uint64_t key) { return IsGreen(ByteOf(work.seed, IdOf(key)), p.green); };
  uint64_t tilted = 0;
  if (listed) {
    for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(plan.listed); i += kThreads) {
      const uint64_t key = __ldcg(&list[i]);
      if (key < least) continue;
      const bool green = is_green(key);
      if (green) list[i] = key | kGreen;
      tilted += tilt(key, green);
    }
  } else {
    candidates.Each(least, [&](uint64_t key) { tilted += tilt(key, is_green(key)); });
  }
  tilted = BlockSum(tilted, scratch);
  const uint64_t x = DrawTarget(plan.random[0], tilted == 0 ? total : tilted);
  const auto measure = [&](uint64_t key) {
    const uint64_t plain = key & ~kGreen;
    if (tilted == 0) return IntegerWeight(plain);  // every candidate is red and light: the tilt is the same for all
    return tilt(plain, listed ? (key & kGreen) != 0 : is_green(plain));
  };
  return {DrawById(candidates, least, kNoEnd, x, measure, scratch), kRowMarked, total};
}

// The token of `unit` (64 tokens from `first` on) at which the running sum exceeds x, itself below the unit's sum. Two tokens a lane of the first warp.
__device__ inline uint32_t DrawInUnit(const RowLogits& row, const RowWork& work, bool tilted, bool plain, int first, uint64_t x, BlockScratch* scratch) {
  if (threadIdx.x < 32) {
    const int at = first + 2 * static_cast<int>(threadIdx.x);
    uint32_t bytes[16];
    if (tilted) ChaCha8Block(work.seed, static_cast<uint32_t>(first) / kUnit, bytes);
    uint64_t w[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float weight = at + i < row.vocabulary ? work.weigh(LoadLogit(row, at + i)) : 0.0f;
      if (!(weight >= work.lowest)) weight = 0.0f;
      w[i] = static_cast<uint64_t>(weight);
      if (tilted && !plain) {
        const int place = 2 * static_cast<int>(threadIdx.x) + i;
        uint32_t word = 0;
#pragma unroll
        for (int k = 0; k < 16; ++k) {
          if (k == place / 4) word = bytes[k];
        }
        if (!IsGreen(static_cast<uint8_t>(word >> (8 * (place % 4))), work.parameters.green)) w[i] = RedWeight(w[i], work.parameters.red_factor);
      }
    }
    uint64_t sum = w[0] + w[1];
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const uint64_t below = __shfl_up_sync(kAllLanes, sum, static_cast<unsigned>(step));
      if (static_cast<int>(threadIdx.x) >= step) sum += below;
    }
    const uint64_t before = sum - w[0] - w[1];
    if (before <= x && x < sum) scratch->result[0] = static_cast<unsigned long long>(x < before + w[0] ? at : at + 1);
  }
  __syncthreads();
  const uint32_t token = static_cast<uint32_t>(scratch->result[0]);
  __syncthreads();
  return token;
}

__device__ inline Chosen FinishSum(const RowLogits& row, const RowPlan& plan, const RowWork& work, const SlicePart* parts, const Slicing& slicing,
                                   BlockScratch* scratch) {
  const bool tilted = work.cause == kRowMarked && static_cast<Scheme>(work.parameters.scheme) == Scheme::kPartition;
  uint64_t drawn = 0, total = 0;
  for (int s = 0; s < slicing.slices; ++s) {
    drawn += __ldcg(&parts[s].sum);
    total += __ldcg(&parts[s].plain);
  }
  const bool plain = !tilted || drawn == 0;  // every candidate red and light: the tilt is the same for all
  uint64_t x = DrawTarget(plan.random[0], plain ? total : drawn);
  int slice = 0;
  for (;; ++slice) {
    const uint64_t sum = plain ? __ldcg(&parts[slice].plain) : __ldcg(&parts[slice].sum);
    if (x < sum || slice + 1 == slicing.slices) break;
    x -= sum;
  }
  const int begin = slice * slicing.length;
  const int end = Smaller(begin + slicing.length, row.vocabulary);
  uint32_t token = 0;
  for (int base = begin; base < end; base += kUnit * kThreads) {
    const int first = base + kUnit * static_cast<int>(threadIdx.x);
    UnitSums unit = {};
    if (first < end) unit = SumUnit(row, work, tilted, first);
    const uint64_t mine = plain ? unit.plain : unit.drawn;
    const uint64_t before = BlockSumBefore(mine, scratch);
    if (threadIdx.x == 0) scratch->result[0] = ~0ull;
    __syncthreads();
    if (before <= x && x < before + mine) {
      scratch->result[0] = static_cast<unsigned long long>(first);
      scratch->result[1] = x - before;
    }
    if (threadIdx.x == kThreads - 1) scratch->result[2] = before + mine;
    __syncthreads();  // [unit found]
    const unsigned long long unit_first = scratch->result[0], left = scratch->result[1], sum = scratch->result[2];
    __syncthreads();
    if (unit_first != ~0ull) {
      token = DrawInUnit(row, work, tilted, plain, static_cast<int>(unit_first), left, scratch);
      break;
    }
    x -= sum;
  }
  uint32_t cause = work.cause;
  if (cause == kRowMarked && total == uint64_t{1} << kWeightBits) cause = kRowForced;  // the likeliest token weighs that: there is no other
  return {token, cause, total};
}

__device__ inline Chosen FinishRace(const RowPlan& plan, const SlicePart* parts, const Slicing& slicing) {
  Arrival best = {static_cast<double>(Infinity()), kIdMask};
  uint64_t total = 0;
  for (int s = 0; s < slicing.slices; ++s) {
    const Arrival arrival = {__longlong_as_double(static_cast<long long>(__ldcg(&parts[s].time))), static_cast<uint32_t>(__ldcg(&parts[s].winner))};
    if (Earlier(arrival, best)) best = arrival;
    total += __ldcg(&parts[s].plain);
  }
  return {best.id, static_cast<uint32_t>(plan.candidates == 1 ? kRowForced : kRowMarked), total};
}

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_FINISH_CUH_
