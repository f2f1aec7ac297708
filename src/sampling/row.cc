#include "countermark/sampling/row.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "countermark/mark/select.h"
#include "countermark/mark/weight.h"
#include "src/sampling/row_kernels.h"

namespace countermark {
namespace {

using row_kernels::Best;
using row_kernels::Split;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kSlack = 16;        // what the wide stores may write past the last entry
constexpr size_t kSortAtOnce = 256;  // so few entries are sorted; more are narrowed first
constexpr size_t kSample = 128;

// The smallest float that is not below `value`: weights are floats, so w ≥ value just when w ≥ this.
float NotBelow(uint64_t value) {
  float f = static_cast<float>(value);
  if (static_cast<double>(f) < static_cast<double>(value)) f = std::nextafter(f, kInfinity);
  return f;
}

// How a prefix of the order (weight descending, id ascending) is measured: in tokens, or in weight.
struct Measure {
  bool by_count;
  uint64_t target;  // the shortest prefix that reaches it is sought
  uint64_t of(size_t count, uint64_t sum) const { return by_count ? count : sum; }
  uint64_t of_one(float w) const { return by_count ? 1 : static_cast<uint64_t>(w); }
};

// Where a prefix ends: every weight above `cut`, and the first `ties` of those equal to it.
struct Boundary {
  float cut;
  uint64_t ties;
};

// Some entries, evenly spread, ascending.
void TakeSample(const float* weights, size_t n, std::vector<float>* sample) {
  const size_t wanted = std::min(n, kSample);
  sample->resize(wanted);
  for (size_t i = 0; i < wanted; ++i) (*sample)[i] = weights[i * n / wanted];
  std::sort(sample->begin(), sample->end());
}

// The boundary within `n` sorted-out entries, by sorting them. `above`: the measure of what lies before them all.
Boundary BoundaryBySorting(float* active, size_t n, uint64_t above, const Measure& measure) {
  std::sort(active, active + n, std::greater<float>());
  for (size_t i = 0; i < n;) {
    size_t j = i;
    while (j < n && active[j] == active[i]) ++j;
    const uint64_t one = measure.of_one(active[i]), group = one * (j - i);
    if (above + group >= measure.target) return {active[i], (measure.target - above + one - 1) / one};
    above += group;
    i = j;
  }
  return {active[n - 1], std::numeric_limits<uint64_t>::max()};
}

// The boundary of the prefix that reaches measure.target; the n entries, whose measure is `total`, are known to reach it.
//
// Narrowing: a sample tells between which two values the boundary probably lies; one pass counts what is above and copies what is between;
// where the sample misled, a second pass copies the side that the boundary is on. Exact whatever the sample says.
Boundary FindBoundary(const float* weights, size_t n, uint64_t total, const Measure& measure, RowScratch* scratch) {
  std::vector<float>& sample = scratch->sample;
  std::vector<float>* out = &scratch->other_weights;
  std::vector<float>* spare = &scratch->spare_weights;
  out->resize(n + kSlack);
  spare->resize(n + kSlack);
  const float* active = weights;
  uint64_t above = 0, inside = total;  // the measures of what lies before everything active, and of the active
  float bottom = 0.0f, top = kInfinity;  // active = [bottom, top)
  const int margin = static_cast<int>(kSample) / 10;
  while (n > kSortAtOnce) {
    TakeSample(active, n, &sample);
    double sampled = 0;
    for (float w : sample) sampled += measure.by_count ? 1.0 : static_cast<double>(w);
    const double wanted = static_cast<double>(measure.target - above) / static_cast<double>(inside) * sampled;
    const int last = static_cast<int>(sample.size()) - 1;
    int at = last;
    for (double sum = 0; at > 0; --at) {
      sum += measure.by_count ? 1.0 : static_cast<double>(sample[at]);
      if (sum >= wanted) break;
    }
    float low = at - margin <= 0 ? bottom : sample[at - margin];
    float high = at + margin >= last ? top : std::nextafter(sample[at + margin], kInfinity);
    Split split = Best().split(active, n, low, high, out->data());
    const uint64_t upper = measure.of(split.above, split.above_sum), between = measure.of(split.middle, split.middle_sum);
    if (measure.target <= above + upper) {
      split = Best().split(active, n, high, kInfinity, out->data());
      inside = upper;
      low = high;
      high = top;
    } else if (measure.target <= above + upper + between) {
      above += upper;
      inside = between;
    } else {
      inside -= upper + between;
      above += upper + between;
      high = low;
      low = bottom;
      split = Best().split(active, n, low, high, out->data());
    }
    const bool stuck = split.middle + split.middle / 8 >= n;
    bottom = low;
    top = high;
    n = split.middle;
    active = out->data();
    std::swap(out, spare);
    if (top == std::nextafter(bottom, kInfinity)) {  // one value left
      const uint64_t one = measure.of_one(bottom);
      return {bottom, (measure.target - above + one - 1) / one};
    }
    if (stuck) break;
  }
  if (active == weights) {
    std::copy_n(weights, n, out->data());
    return BoundaryBySorting(out->data(), n, above, measure);
  }
  return BoundaryBySorting(spare->data(), n, above, measure);  // where `active` lies since the last swap
}

// The prefix of (weights, ids) that reaches measure.target, ids ascending, into (out_weights, out_ids); everything where it is not reached.
size_t TakePrefix(const float* weights, const uint32_t* ids, size_t n, const Measure& measure, uint64_t total, RowScratch* scratch,
                  std::vector<float>* out_weights, std::vector<uint32_t>* out_ids, uint64_t* out_sum) {
  out_weights->resize(n + kSlack);
  out_ids->resize(n + kSlack);
  // A first cut from a sample, so that few entries are copied; lowered until what is above it reaches the target.
  std::vector<float>& sample = scratch->sample;
  TakeSample(weights, n, &sample);
  const int last = static_cast<int>(sample.size()) - 1;
  int at;
  if (measure.by_count) {
    at = last - 4 - static_cast<int>(1.5 * static_cast<double>(measure.target) * static_cast<double>(sample.size()) / static_cast<double>(n));
  } else {
    const double tail = static_cast<double>(total - measure.target), scale = static_cast<double>(n) / static_cast<double>(sample.size());
    double sum = 0;
    for (at = 0; at < last - 4; ++at) {
      sum += scale * static_cast<double>(sample[at]);
      if (sum > 0.5 * tail) break;
    }
  }
  size_t kept = 0;
  uint64_t sum = 0;
  for (;;) {
    const float low = at <= 0 ? 1.0f : std::max(1.0f, sample[at]);
    kept = Best().keep(weights, ids, n, low, out_weights->data(), out_ids->data(), &sum);
    if (measure.of(kept, sum) >= measure.target || low <= 1.0f) break;
    at = at > 16 ? at / 2 : 0;
  }
  *out_sum = sum;
  if (measure.of(kept, sum) <= measure.target) return kept;

  const Boundary end = FindBoundary(out_weights->data(), kept, measure.of(kept, sum), measure, scratch);
  kept = Best().keep(out_weights->data(), out_ids->data(), kept, end.cut, out_weights->data(), out_ids->data(), &sum);
  // Of those equal to the cut, the lowest ids stay.
  uint64_t equal = 0;
  size_t write = 0;
  for (size_t i = 0; i < kept; ++i) {
    const float w = (*out_weights)[i];
    if (w == end.cut && ++equal > end.ties) {
      sum -= static_cast<uint64_t>(w);
      continue;
    }
    (*out_weights)[write] = w;
    (*out_ids)[write++] = (*out_ids)[i];
  }
  *out_sum = sum;
  return write;
}

}  // namespace

const char* SamplingIsa() { return Best().isa; }

CandidateSet Truncate(const Row& row, const SamplingParameters& parameters, RowScratch* scratch) {
  CandidateSet& set = scratch->last;
  set = {};
  bool nan = false, infinite = false;
  const float max = Best().max(row.logits, row.size, &nan, &infinite);
  if (max == -kInfinity) {
    set.fault = RowFault::kEmpty;
    return set;
  }
  std::vector<float>& weights = scratch->weights;
  weights.resize(row.size + kSlack);
  uint64_t total;
  if (infinite) {
    set.fault = RowFault::kInfinite;
    total = 0;
    for (size_t i = 0; i < row.size; ++i) {
      weights[i] = row.logits[i] == kInfinity ? std::ldexp(1.0f, kWeightBits) : 0.0f;
      total += static_cast<uint64_t>(weights[i]);
    }
  } else {
    set.fault = nan ? RowFault::kNan : RowFault::kNone;
    total = Best().weights(row.logits, row.size, max, InverseTemperature(parameters.temperature), weights.data());
  }

  const float* w = weights.data();
  const uint32_t* ids = row.ids;
  size_t n = row.size;
  if (parameters.top_k > 0 && static_cast<size_t>(parameters.top_k) < n) {
    const Measure measure = {true, static_cast<uint64_t>(parameters.top_k)};
    n = TakePrefix(w, ids, n, measure, total, scratch, &scratch->kept_weights, &scratch->kept_ids, &total);
    w = scratch->kept_weights.data();
    ids = scratch->kept_ids.data();
  }
  const uint64_t top_p = Threshold(parameters.top_p);
  if (top_p < uint64_t{1} << 32) {
    // The shortest prefix with cumulative·2³² ≥ top_p·total reaches ⌈top_p·total/2³²⌉, and holds one token at least.
    const Uint128 product = static_cast<Uint128>(total) * top_p;
    const uint64_t target = std::max<uint64_t>(1, static_cast<uint64_t>((product + 0xFFFFFFFFu) >> 32));
    const bool in_kept = ids == scratch->kept_ids.data() && ids != nullptr;
    std::vector<float>* out_weights = in_kept ? &scratch->again_weights : &scratch->kept_weights;
    std::vector<uint32_t>* out_ids = in_kept ? &scratch->again_ids : &scratch->kept_ids;
    n = TakePrefix(w, ids, n, {false, target}, total, scratch, out_weights, out_ids, &total);
    w = out_weights->data();
    ids = out_ids->data();
  }
  // Min-p keeps w·2³² ≥ threshold·2⁴⁰; a weight of zero is no candidate.
  const float least = NotBelow(std::max<uint64_t>(1, Threshold(parameters.min_p) << (kWeightBits - 32)));
  if (w == weights.data() || least > 1.0f) {
    std::vector<float>* out_weights = w == scratch->kept_weights.data() ? &scratch->again_weights : &scratch->kept_weights;
    std::vector<uint32_t>* out_ids = w == scratch->kept_weights.data() ? &scratch->again_ids : &scratch->kept_ids;
    out_weights->resize(n + kSlack);
    out_ids->resize(n + kSlack);
    n = Best().keep(w, ids, n, least, out_weights->data(), out_ids->data(), &total);
    w = out_weights->data();
    ids = out_ids->data();
  }
  set.ids = {ids, n};
  set.weights = {w, n};
  set.total = total;
  return set;
}

bool Greedy(const Row& row, uint32_t* token, RowFault* fault) {
  bool nan = false, infinite = false;
  const float max = Best().max(row.logits, row.size, &nan, &infinite);
  *fault = infinite ? RowFault::kInfinite : nan ? RowFault::kNan : RowFault::kNone;
  if (max == -kInfinity) {
    *fault = RowFault::kEmpty;
    return false;
  }
  for (size_t i = 0; i < row.size; ++i) {
    if (row.logits[i] == max) {
      *token = row.ids ? row.ids[i] : static_cast<uint32_t>(i);
      return true;
    }
  }
  return false;
}

uint32_t DrawPlainly(const CandidateSet& set, uint64_t random) {
  const uint64_t x = DrawTarget(random, set.total);
  uint64_t cumulative = 0;
  size_t i = 0;
  constexpr size_t kBlock = 512;
  for (; i + kBlock <= set.ids.size(); i += kBlock) {
    const uint64_t block = Best().sum(set.weights.data() + i, kBlock);
    if (cumulative + block > x) break;
    cumulative += block;
  }
  for (; i < set.ids.size(); ++i) {
    cumulative += static_cast<uint64_t>(set.weights[i]);
    if (cumulative > x) break;
  }
  return set.ids[i];
}

void TopIndices(const CandidateSet& set, size_t count, RowScratch* scratch, std::vector<uint32_t>* indices) {
  if (count >= set.ids.size()) {
    indices->resize(set.ids.size());
    for (size_t i = 0; i < indices->size(); ++i) (*indices)[i] = static_cast<uint32_t>(i);
    return;
  }
  uint64_t sum;
  const size_t n = TakePrefix(set.weights.data(), nullptr, set.weights.size(), {true, count}, set.total, scratch, &scratch->top_weights, indices, &sum);
  indices->resize(n);
}

}  // namespace countermark
