// The row loops written plainly: what the wide ones are held to, and what runs where there are none.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/weight.h"
#include "src/sampling/row_kernels.h"

namespace countermark::row_kernels {
namespace {

float Max(const float* z, size_t n, bool* nan, bool* infinite) {
  float max = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < n; ++i) {
    if (z[i] != z[i]) *nan = true;
    if (z[i] > max) max = z[i];
  }
  *infinite = max == std::numeric_limits<float>::infinity();
  return max;
}

uint64_t Weights(const float* z, size_t n, float max, float scale, float* weights) {
  uint64_t sum = 0;
  for (size_t i = 0; i < n; ++i) {
    weights[i] = WeightAsFloat(z[i], max, scale);
    sum += static_cast<uint64_t>(weights[i]);
  }
  return sum;
}

uint64_t Weigh(const float* z, const uint32_t* ids, size_t n, float max, float scale, float cut, float* kept_weights, uint32_t* kept_ids, size_t* kept,
               uint64_t* kept_sum) {
  uint64_t total = 0, sum = 0;
  size_t count = 0;
  for (size_t i = 0; i < n; ++i) {
    const float w = WeightAsFloat(z[i], max, scale);
    total += static_cast<uint64_t>(w);
    if (w >= cut) {
      kept_ids[count] = ids ? ids[i] : static_cast<uint32_t>(i);
      kept_weights[count++] = w;
      sum += static_cast<uint64_t>(w);
    }
  }
  *kept = count;
  *kept_sum = sum;
  return total;
}

size_t Keep(const float* weights, const uint32_t* ids, size_t n, float cut, float* kept_weights, uint32_t* kept_ids, uint64_t* sum) {
  size_t kept = 0;
  uint64_t total = 0;
  for (size_t i = 0; i < n; ++i) {
    const float w = weights[i];
    if (w >= cut) {
      kept_ids[kept] = ids ? ids[i] : static_cast<uint32_t>(i);
      kept_weights[kept++] = w;
      total += static_cast<uint64_t>(w);
    }
  }
  *sum = total;
  return kept;
}

Split SplitRow(const float* weights, size_t n, float low, float high, float* middle) {
  Split out;
  for (size_t i = 0; i < n; ++i) {
    const float w = weights[i];
    if (w >= high) {
      ++out.above;
      out.above_sum += static_cast<uint64_t>(w);
    } else if (w >= low) {
      middle[out.middle++] = w;
      out.middle_sum += static_cast<uint64_t>(w);
    }
  }
  return out;
}

uint64_t SumRow(const float* weights, size_t n) {
  uint64_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += static_cast<uint64_t>(weights[i]);
  return sum;
}

size_t Race(const uint32_t* words, const float* weights, size_t n) {
  size_t best = 0;
  double arrival = GumbelArrival(words[0], weights[0]);
  for (size_t i = 1; i < n; ++i) {
    if (GumbelArrivalBound(words[i], weights[i]) > arrival) continue;
    const double a = GumbelArrival(words[i], weights[i]);
    if (a < arrival) {
      arrival = a;
      best = i;
    }
  }
  return best;
}

void AddGreen(const uint8_t* bytes, size_t n, uint32_t green, float delta, float* logits) {
  for (size_t i = 0; i < n; ++i) {
    if (IsGreen(bytes[i], green)) logits[i] += delta;
  }
}

uint64_t Tilt(const uint8_t* bytes, const float* weights, size_t n, uint32_t green, uint64_t red_factor, uint64_t* tilted) {
  uint64_t sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const uint64_t w = static_cast<uint64_t>(weights[i]);
    tilted[i] = IsGreen(bytes[i], green) ? w : RedWeight(w, red_factor);
    sum += tilted[i];
  }
  return sum;
}

const Kernels& Choose() {
  const char* cap = std::getenv("COUNTERMARK_ISA");
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512 && (!cap || std::strcmp(cap, "avx512") == 0)) return kAvx512;
  if (avx2 && (!cap || std::strcmp(cap, "scalar") != 0)) return kAvx2;
#endif
  (void)cap;
  return kScalar;
}

}  // namespace

double Arrival(uint32_t word, float weight) { return GumbelArrival(word, weight); }
float RaceLimit(double arrival) { return static_cast<float>(arrival * (1.0 + 0x1p-18)); }

const Kernels kScalar = {"scalar", Max, Weights, Weigh, Keep, SplitRow, SumRow, Race, AddGreen, Tilt};

const Kernels& Best() {
  static const Kernels& best = Choose();
  return best;
}

}  // namespace countermark::row_kernels
