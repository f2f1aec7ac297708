// One line a function: its name and a hash of its output bits over about a million inputs. CMakeLists.txt compiles this file once
// without contraction and once with all the fusing a compiler may do; same_bits.cmake then compares the lines.
#include <bit>
#include <cstdint>
#include <cstdio>

#include "countermark/mark/gumbel.h"
#include "countermark/mark/log.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/weight.h"

namespace {

// FNV-1a over 64-bit items: enough to tell whether any of them differs.
struct Hash {
  uint64_t state = 0xCBF29CE484222325;
  void Add(uint64_t item) { state = (state ^ item) * 0x100000001B3; }
  void Add(double item) { Add(std::bit_cast<uint64_t>(item)); }
  void Add(float item) { Add(uint64_t{std::bit_cast<uint32_t>(item)}); }
  void Print(const char* name) const { std::printf("%s %016llx\n", name, static_cast<unsigned long long>(state)); }
};

uint64_t Mix(uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace

int main() {
#if defined(__x86_64__) && defined(__FMA__)
  if (!__builtin_cpu_supports("fma") || !__builtin_cpu_supports("avx2")) {
    std::puts("skipped: this processor has no fused multiply-add");
    return 0;
  }
#endif
  Hash canary, negative_log, fixed_log, weight, scale, arrival, bound;
  for (uint64_t i = 0; i < 1000000; ++i) {
    const uint64_t x = Mix(i), y = Mix(~i);
    const uint32_t word = static_cast<uint32_t>(x);
    const double w = static_cast<double>(1 + (y >> 24 >> (x >> 59)));
    const float temperature = 0.01f + static_cast<float>(y >> 40) * 0x1p-22f;
    const float max = static_cast<float>(static_cast<int64_t>(y & 0xFFFFFF) - 0x800000) * 0x1p-18f;
    const float z = max - static_cast<float>(x >> 40) * 0x1p-19f * (x & 1 ? 1.0f : temperature);

    negative_log.Add(countermark::NegativeLog(word));
    fixed_log.Add(countermark::FixedNegativeLog(word));
    scale.Add(countermark::InverseTemperature(temperature));
    weight.Add(countermark::WeightAsFloat(z < max ? z : max, max, 1.25f + static_cast<float>(i & 1023) * 0x1p-9f));
    arrival.Add(countermark::GumbelArrival(word, w));
    bound.Add(countermark::GumbelArrivalBound(word, w));
    canary.Add(static_cast<double>(x) * 0x1.5555555555555p-70 + static_cast<double>(y) * 0x1p-70);  // a sum that fusing does change
  }
  canary.Print("canary");
  negative_log.Print("NegativeLog");
  fixed_log.Print("FixedNegativeLog");
  scale.Print("InverseTemperature");
  weight.Print("WeightAsFloat");
  arrival.Print("GumbelArrival");
  bound.Print("GumbelArrivalBound");
  return 0;
}
