#include "src/detect/foreign/torch_random.h"

#include <algorithm>
#include <numeric>

#include "src/detect/foreign/isa.h"

namespace countermark {
namespace {

FOREIGN_INLINE uint32_t Twist(uint32_t upper, uint32_t lower) {
  const uint32_t y = (upper & 0x80000000u) | (lower & 0x7FFFFFFFu);
  return (y >> 1) ^ ((0u - (lower & 1)) & 0x9908B0DFu);
}

// One step of the generator over its whole state, and the words it gives.
FOREIGN_INLINE void StepBody(uint32_t* __restrict s, uint32_t* __restrict out) {
  constexpr int n = 624, m = 397;
  for (int i = 0; i < n - m; ++i) s[i] = s[i + m] ^ Twist(s[i], s[i + 1]);
  for (int i = n - m; i < n - 1; ++i) s[i] = s[i + m - n] ^ Twist(s[i], s[i + 1]);
  s[n - 1] = s[m - 1] ^ Twist(s[n - 1], s[0]);
  for (int i = 0; i < n; ++i) {
    uint32_t y = s[i];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    out[i] = y ^ (y >> 18);
  }
}
FOREIGN_WIDE(void, Step, (uint32_t* s, uint32_t* out), StepBody(s, out));

}  // namespace

void TorchRandom::Seed(uint32_t seed) {
  state_[0] = seed;
  for (uint32_t i = 1; i < kBlock; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
}

void TorchRandom::Next(uint32_t* block) {
  static const auto step = StepChoice();
  step(state_, block);
}

std::vector<uint32_t> TorchWords(uint32_t seed, size_t n) {
  std::vector<uint32_t> words((n + TorchRandom::kBlock - 1) / TorchRandom::kBlock * TorchRandom::kBlock);
  TorchRandom random(seed);
  for (size_t i = 0; i < words.size(); i += TorchRandom::kBlock) random.Next(words.data() + i);
  words.resize(n);
  return words;
}

std::vector<uint32_t> TorchPermutation(uint32_t seed, uint32_t n) {
  const std::vector<uint32_t> words = TorchWords(seed, n > 0 ? n - 1 : 0);
  std::vector<uint32_t> r(n);
  std::iota(r.begin(), r.end(), 0u);
  for (uint32_t i = 0; i + 1 < n; ++i) std::swap(r[i], r[i + words[i] % (n - i)]);
  return r;
}

}  // namespace countermark
