// torch's generator on the CPU: mt19937 seeded by the low 32 bits of manual_seed's argument, its 32-bit words 624 at a time.
//
//   TorchRandom random(seed);
//   uint32_t block[TorchRandom::kBlock];
//   random.Next(block);
//
// torch.randperm(n) by it: r[i] = i, then for i = 0 … n − 2 swap r[i] with r[i + word mod (n − i)]. torch.randint(0, 2): word mod 2.
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_TORCH_RANDOM_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_TORCH_RANDOM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace countermark {

class TorchRandom {
 public:
  static constexpr size_t kBlock = 624;
  explicit TorchRandom(uint32_t seed) { Seed(seed); }
  void Seed(uint32_t seed);
  void Next(uint32_t* block);

 private:
  alignas(64) uint32_t state_[kBlock];
};

// The first n words.
std::vector<uint32_t> TorchWords(uint32_t seed, size_t n);
// torch.randperm(n).
std::vector<uint32_t> TorchPermutation(uint32_t seed, uint32_t n);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_TORCH_RANDOM_H_
