#include "src/detect/foreign/shift_tail.h"

#include <algorithm>
#include <cmath>

#include "src/detect/foreign/isa.h"

namespace countermark {
namespace {

constexpr size_t kBlock = 8192;       // shifts at a time: their counts stay in the first-level cache
constexpr double kLeftOut = 1e-18;    // tilted mass
constexpr double kSteepest = 64;      // e^−64 is nothing beside any weight of 1/2²⁴

// counts[i] += table[i], bytes.
FOREIGN_INLINE void AddBytesBody(const uint8_t* __restrict table, size_t n, uint8_t* __restrict counts) {
  for (size_t i = 0; i < n; ++i) counts[i] = static_cast<uint8_t>(counts[i] + table[i]);
}
FOREIGN_WIDE(void, AddBytes, (const uint8_t* table, size_t n, uint8_t* counts), AddBytesBody(table, n, counts));

// One value of C, above the least, and its share of the shifts.
struct Value {
  uint64_t excess;
  double weight;
};

struct Tilt {
  double t = 0;
  double ln_m = 0;
};

// ln M(t) and its derivative, the tilted mean.
void Moments(const std::vector<Value>& values, double t, double* ln_m, double* mean) {
  const auto most = static_cast<double>(values.back().excess);
  double sum = 0, first = 0;
  for (const Value& value : values) {
    const auto c = static_cast<double>(value.excess);
    const double w = value.weight * std::exp(t * (c - most));
    sum += w;
    first += w * c;
  }
  *ln_m = t * most + std::log(sum);
  *mean = first / sum;
}

Tilt TiltTo(const std::vector<Value>& values, double mean_wanted) {
  Tilt tilt;
  double mean = 0;
  Moments(values, 0, &tilt.ln_m, &mean);
  if (mean >= mean_wanted) return tilt;
  double low = 0, high = kSteepest;
  for (int i = 0; i < 60; ++i) {
    tilt.t = (low + high) / 2;
    Moments(values, tilt.t, &tilt.ln_m, &mean);
    (mean < mean_wanted ? low : high) = tilt.t;
  }
  return tilt;
}

// E[e^(−t·(J − s)); J ≥ s] for J the sum of `layers` tilted values, or 1 where that takes more than `work` products.
double Expectation(const std::vector<Value>& values, const Tilt& tilt, uint32_t layers, uint64_t s, double work) {
  std::vector<Value> tilted = values;
  for (Value& value : tilted) value.weight *= std::exp(tilt.t * static_cast<double>(value.excess) - tilt.ln_m);
  double out = kLeftOut;
  size_t begin = 0, end = tilted.size();
  while (begin + 1 < end) {
    double& weight = tilted[tilted[begin].weight < tilted[end - 1].weight ? begin : end - 1].weight;
    if (weight > out) break;
    out -= weight;
    (&weight == &tilted[begin].weight ? ++begin : --end);
  }
  const std::span<const Value> kept(tilted.data() + begin, end - begin);
  const uint64_t least = kept.front().excess, range = kept.back().excess - least;
  if (static_cast<double>(layers) * layers / 2 * static_cast<double>(range + 1) * static_cast<double>(kept.size()) > work) return 1;
  std::vector<double> sum = {1}, next;
  for (uint32_t l = 0; l < layers; ++l) {
    next.assign(sum.size() + range, 0);
    for (const Value& value : kept) {
      double* const to = next.data() + (value.excess - least);
      for (size_t i = 0; i < sum.size(); ++i) to[i] += sum[i] * value.weight;
    }
    sum.swap(next);
  }
  double expectation = 0;
  const uint64_t offset = least * layers;
  for (size_t i = s > offset ? s - offset : 0; i < sum.size(); ++i) expectation += sum[i] * std::exp(-tilt.t * static_cast<double>(offset + i - s));
  return std::min(1.0, (expectation + layers * kLeftOut) * (1 + 1e-10));
}

}  // namespace

std::vector<uint64_t> ShiftCounts(std::span<const uint8_t> table, std::span<const uint32_t> places) {
  const size_t size = table.size();
  std::vector<uint8_t> twice(table.begin(), table.end());
  twice.insert(twice.end(), table.begin(), table.end());
  const auto ones = static_cast<uint32_t>(std::count(table.begin(), table.end(), 1));
  // More than half the places: count what the others show, and take it from all.
  std::vector<uint32_t> others;
  const bool complement = places.size() > size / 2;
  if (complement) {
    std::vector<bool> there(size);
    for (const uint32_t place : places) there[place] = true;
    for (uint32_t place = 0; place < size; ++place) {
      if (!there[place]) others.push_back(place);
    }
  }
  const std::span<const uint32_t> counted = complement ? std::span<const uint32_t>(others) : places;
  static const auto add_bytes = AddBytesChoice();
  std::vector<uint64_t> histogram(places.size() + 1);
  std::vector<uint8_t> bytes(kBlock);
  std::vector<uint32_t> counts(kBlock);
  for (size_t begin = 0; begin < size; begin += kBlock) {
    const size_t n = std::min(kBlock, size - begin);
    std::fill(counts.begin(), counts.end(), 0u);
    for (size_t first = 0; first < counted.size(); first += 255) {
      std::fill(bytes.begin(), bytes.end(), uint8_t{0});
      for (const uint32_t place : counted.subspan(first, std::min<size_t>(255, counted.size() - first))) add_bytes(twice.data() + (place + begin) % size, n, bytes.data());
      for (size_t i = 0; i < n; ++i) counts[i] += bytes[i];
    }
    for (size_t i = 0; i < n; ++i) ++histogram[complement ? ones - counts[i] : counts[i]];
  }
  return histogram;
}

double Log10ShiftTail(std::span<const uint8_t> table, std::span<const uint32_t> places, uint32_t layers, uint64_t ones, double work) {
  if (places.empty()) return 0;
  const std::vector<uint64_t> histogram = ShiftCounts(table, places);
  const auto size = static_cast<double>(table.size());
  std::vector<Value> values;
  uint64_t least = 0;
  for (uint64_t c = 0; c < histogram.size(); ++c) {
    if (histogram[c] == 0) continue;
    if (values.empty()) least = c;
    values.push_back({c - least, static_cast<double>(histogram[c]) / size});
  }
  if (ones <= least * layers) return 0;
  const uint64_t s = ones - least * layers;
  double ln_distinct = 0;
  for (uint32_t l = 1; l < layers; ++l) ln_distinct += std::log1p(-static_cast<double>(l) / size);
  const Tilt tilt = TiltTo(values, static_cast<double>(s) / layers);
  const double ln = layers * tilt.ln_m - tilt.t * static_cast<double>(s) + std::log(Expectation(values, tilt, layers, s, work)) - ln_distinct;
  return std::clamp(ln / std::log(10.0), -static_cast<double>(layers) * std::log10(size), 0.0);
}

}  // namespace countermark
