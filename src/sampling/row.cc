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
constexpr size_t kSortAtOnce = 128;  // so few entries are sorted; more are narrowed first
constexpr size_t kSample = 64;

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
  const int margin = static_cast<int>(kSample) / 8;
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

// Cuts (weights, ids), whose measure is `reached`, down to the prefix that reaches measure.target, in place; ids stay ascending. Nothing is cut
// where the target is not reached.
size_t Narrow(float* weights, uint32_t* ids, size_t n, uint64_t* sum, const Measure& measure, RowScratch* scratch) {
  if (measure.of(n, *sum) <= measure.target) return n;
  const Boundary end = FindBoundary(weights, n, measure.of(n, *sum), measure, scratch);
  n = Best().keep(weights, ids, n, end.cut, weights, ids, sum);
  // Of those equal to the cut, the lowest ids stay.
  const float above = std::nextafter(end.cut, kInfinity);
  if (Best().split(weights, n, end.cut, above, scratch->other_weights.data()).middle <= end.ties) return n;
  uint64_t equal = 0;
  size_t write = 0;
  for (size_t i = 0; i < n; ++i) {
    if (weights[i] == end.cut && ++equal > end.ties) {
      *sum -= static_cast<uint64_t>(weights[i]);
      continue;
    }
    weights[write] = weights[i];
    ids[write++] = ids[i];
  }
  return write;
}

// A place in the ascending sample of n entries above which, by the sample, somewhat more than the measure's target lies; ≤ 0: take everything. `tail`:
// the weight that a prefix by weight may leave out.
int GuessPlace(const std::vector<float>& sample, size_t n, const Measure& measure, double tail) {
  const int last = static_cast<int>(sample.size()) - 1;
  const double scale = static_cast<double>(n) / static_cast<double>(sample.size());
  if (measure.by_count) return last - 4 - static_cast<int>(1.5 * static_cast<double>(measure.target) / scale);
  int at = 0;
  for (double sum = 0; at < last - 4; ++at) {
    sum += scale * static_cast<double>(sample[at]);
    if (sum > 0.5 * tail) break;
  }
  return at;
}

// A cut for the first pass over a row, before its total is known: the likeliest token weighs 2⁴⁰, and a sample stands for the others. 1 keeps all.
float GuessCut(const Row& row, float max, float scale, const SamplingParameters& parameters, bool by_count, RowScratch* scratch) {
  constexpr size_t kSmall = 2048;
  if (row.size < kSmall) return 1.0f;
  std::vector<float>& sample = scratch->sample;
  float logits[kSample];
  for (size_t i = 0; i < kSample; ++i) logits[i] = row.logits[i * row.size / kSample];
  sample.resize(kSample);
  const double sum = static_cast<double>(Best().weights(logits, kSample, max, scale, sample.data()));
  std::sort(sample.begin(), sample.end());
  const double total = std::ldexp(1.0, kWeightBits) + sum * static_cast<double>(row.size) / static_cast<double>(kSample);
  const int at = GuessPlace(sample, row.size, {by_count, static_cast<uint64_t>(std::max(parameters.top_k, 0))}, (1.0 - parameters.top_p) * total);
  float cut = at <= 0 ? 1.0f : std::max(1.0f, sample[static_cast<size_t>(at)]);
  if (!by_count && at >= static_cast<int>(kSample) - 6) {
    // A peaked row: what top-p may leave out is more than all the sample saw. Some 1/kSample of the row lies above the sample's heaviest; were they
    // all just below this cut, they would weigh no more than the other half of what may be left out.
    const double others = static_cast<double>(row.size) / static_cast<double>(kSample);
    cut = std::max(cut, static_cast<float>(0.5 * (1.0 - parameters.top_p) * total / others));
  }
  return cut;
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
  set.fault = infinite ? RowFault::kInfinite : nan ? RowFault::kNan : RowFault::kNone;
  scratch->kept_weights.resize(row.size + kSlack);
  scratch->kept_ids.resize(row.size + kSlack);
  float* w = scratch->kept_weights.data();
  uint32_t* ids = scratch->kept_ids.data();
  size_t n = 0;
  uint64_t total = 0, kept = 0;
  const bool by_count = parameters.top_k > 0 && static_cast<size_t>(parameters.top_k) < row.size;
  const Measure top_k = {true, static_cast<uint64_t>(std::max(parameters.top_k, 0))};
  const uint64_t top_p = Threshold(parameters.top_p);
  const bool by_weight = top_p < uint64_t{1} << 32;
  // Min-p keeps w·2³² ≥ threshold·2⁴⁰; a weight of zero is no candidate.
  const float least = NotBelow(std::max<uint64_t>(1, Threshold(parameters.min_p) << (kWeightBits - 32)));

  if (infinite) {
    for (size_t i = 0; i < row.size; ++i) {
      if (row.logits[i] != kInfinity) continue;
      ids[n] = row.ids ? row.ids[i] : static_cast<uint32_t>(i);
      w[n++] = std::ldexp(1.0f, kWeightBits);
    }
    total = kept = static_cast<uint64_t>(n) << kWeightBits;
  } else {
    // One pass weighs the row and writes down what a guess says may be wanted; where the guess was too high, a second one writes down all.
    const float scale = InverseTemperature(parameters.temperature);
    float cut = by_count || by_weight ? GuessCut(row, max, scale, parameters, by_count, scratch) : least;
    total = Best().weigh(row.logits, row.ids, row.size, max, scale, cut, w, ids, &n, &kept);
    const bool reached = by_count ? n >= top_k.target : !by_weight || kept >= TopPTarget(top_p, total);
    if (!reached && cut > 1.0f) total = Best().weigh(row.logits, row.ids, row.size, max, scale, 1.0f, w, ids, &n, &kept);
  }
  if (by_count) {
    n = Narrow(w, ids, n, &kept, top_k, scratch);
    total = kept;  // what comes after looks at the survivors
  }
  if (by_weight) n = Narrow(w, ids, n, &kept, {false, TopPTarget(top_p, total)}, scratch);
  if (least > 1.0f && (by_count || by_weight || infinite)) n = Best().keep(w, ids, n, least, w, ids, &kept);
  set.ids = {ids, n};
  set.weights = {w, n};
  set.total = kept;
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
  // A first cut from a sample, so that few are copied; lowered until what is above it is enough.
  const size_t size = set.weights.size();
  scratch->top_weights.resize(size + kSlack);
  indices->resize(size + kSlack);
  const Measure measure = {true, count};
  TakeSample(set.weights.data(), size, &scratch->sample);
  int at = GuessPlace(scratch->sample, size, measure, 0);
  size_t n = 0;
  uint64_t sum = 0;
  for (;; at /= 2) {
    const float cut = at <= 8 ? 1.0f : scratch->sample[static_cast<size_t>(at)];
    n = Best().keep(set.weights.data(), nullptr, size, cut, scratch->top_weights.data(), indices->data(), &sum);
    if (n >= count || cut <= 1.0f) break;
  }
  n = Narrow(scratch->top_weights.data(), indices->data(), n, &sum, measure, scratch);
  indices->resize(n);
}

}  // namespace countermark
