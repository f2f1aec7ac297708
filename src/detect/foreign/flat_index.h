// A set of 64-bit words that gives each a number in the order of its first appearance; emptied in constant time. Its hash is keyed afresh in every
// process.
//
//   FlatIndex index;
//   index.Begin(1000);                          // for at most so many words
//   const auto [number, fresh] = index.Add(word);
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_FLAT_INDEX_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_FLAT_INDEX_H_

#include <bit>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace countermark {

// Odd, and another in every process.
inline uint64_t ForeignHashKey() {
  static const uint64_t key = [] {
    std::random_device device;
    return (static_cast<uint64_t>(device()) << 32 | device()) | 1;
  }();
  return key;
}

inline uint64_t ForeignMix(uint64_t word) {
  const unsigned __int128 product = static_cast<unsigned __int128>(word ^ ForeignHashKey()) * 0x9E3779B97F4A7C15ull;
  return (static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64)) * (ForeignHashKey() | 1);
}

class FlatIndex {
 public:
  void Begin(size_t most) {
    const size_t wanted = std::bit_ceil(std::max<size_t>(16, 2 * most));
    if (wanted > slots_.size() || ++epoch_ == 0) {
      slots_.assign(std::max(wanted, slots_.size()), {});
      epoch_ = 1;
    }
    shift_ = 64 - std::countr_zero(wanted);
    mask_ = wanted - 1;
    size_ = 0;
  }
  std::pair<uint32_t, bool> Add(uint64_t word) {
    for (size_t at = ForeignMix(word) >> shift_;; at = (at + 1) & mask_) {
      Slot& slot = slots_[at];
      if (slot.epoch != epoch_) {
        slot = {word, size_, epoch_};
        return {size_++, true};
      }
      if (slot.word == word) return {slot.number, false};
    }
  }
  uint32_t size() const { return size_; }

 private:
  struct Slot {
    uint64_t word = 0;
    uint32_t number = 0, epoch = 0;
  };
  std::vector<Slot> slots_;
  size_t mask_ = 0;
  int shift_ = 0;
  uint32_t epoch_ = 0, size_ = 0;
};

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_FLAT_INDEX_H_
