// Which part, partition and slice a pair belongs to, and a set of pairs that are looked up one by one.
//
//   const PairHash hash(epoch_key);
//   const uint64_t h = hash.Of(tokens, count);
//   PartitionOf(h);  PartOf(h, 4);  SliceOf(h, 8);
//   PackedSet seen(expected);  if (seen.Insert(Pack(tokens, count), hash.Spread(h))) …   // the first time
//
// The hash is keyed by the epoch: parts of one input that run on different machines agree, and nobody without the key can write a text whose pairs
// all fall into one partition. Multiply-add over 64-bit keys, whose high half is strongly universal (Lemire and Kaser, 1202.4961). No
// statistic hangs on it: equality is decided by the tokens.
#ifndef COUNTERMARK_SRC_AUDIT_PAIR_HASH_H_
#define COUNTERMARK_SRC_AUDIT_PAIR_HASH_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "countermark/detect/pairs.h"
#include "countermark/keys/derive.h"
#include "countermark/mark/scheme.h"

namespace countermark::audit {

inline constexpr uint32_t kPartitions = 256;
inline constexpr int kMostTokens = kMaxWindow + 1;  // of a pair: its window's and its own

class PairHash {
 public:
  explicit PairHash(const Secret32& epoch_key) {
    static_assert(sizeof keys_ == 2 * Secret32::kSize);
    const Secret32 low = DeriveKey(epoch_key, {"audit", "pairs", "0"}), high = DeriveKey(epoch_key, {"audit", "pairs", "1"});
    std::memcpy(keys_, low.Reveal(SecretAccess()), Secret32::kSize);
    std::memcpy(keys_ + 4, high.Reveal(SecretAccess()), Secret32::kSize);
    keys_[7] |= 1;
  }
  // 64 bits, of which the high 32 are good. `tokens`: the window, oldest first, then the token; at most kMostTokens.
  uint64_t Of(const uint32_t* tokens, int count) const {
    uint64_t h = keys_[0];
    for (int i = 0; i < count; ++i) h += keys_[i + 1] * tokens[i];
    return h;
  }
  // Of every pair of a set, as Of gives it.
  void OfColumns(const PairSet& pairs, std::span<uint64_t> out) const {
    std::fill(out.begin(), out.end(), keys_[0]);
    for (int j = 0; j <= pairs.window(); ++j) {
      const std::span<const uint32_t> column = j < pairs.window() ? pairs.window_token(j) : pairs.token();
      for (size_t k = 0; k < out.size(); ++k) out[k] += keys_[j + 1] * column[k];
    }
  }
  // For the place in a table: mixed once more, since linear probing suffers from what is only pairwise independent.
  uint64_t Spread(uint64_t h) const { return (h ^ h >> 32) * keys_[7]; }

 private:
  uint64_t keys_[8];
};

inline uint32_t PartOf(uint64_t h, uint32_t parts) { return static_cast<uint32_t>(((h >> 32) * parts) >> 32); }
// By the bits below those that the part takes, so that each part fills all partitions.
inline uint32_t PartitionOf(uint64_t h) { return static_cast<uint32_t>(h >> 44) % kPartitions; }
inline uint32_t SliceOf(uint64_t h, uint32_t slices) { return static_cast<uint32_t>(((h >> 32 & 0xFFF) * slices) >> 12); }
inline constexpr uint32_t kMostSlices = 4096;

// The tokens of a pair in one number, 24 bits each; never 0.
using PackedPair = unsigned __int128;
inline PackedPair Pack(const uint32_t* tokens, int count) {
  PackedPair packed = 1;
  for (int i = 0; i < count; ++i) packed = packed << 24 | tokens[i];
  return packed;
}

// Exact: the tokens themselves are compared. Room for `expected` pairs at most, made at once; what is never touched costs no memory.
class PackedSet {
 public:
  PackedSet() = default;
  explicit PackedSet(size_t expected) { Reset(expected); }
  // Empty again, for so many. Keeps its memory where it is enough: a fresh table costs a fault a page.
  void Reset(size_t expected) {
    size_t slots = 1024;
    int bits = 10;
    for (; slots * 3 / 4 < expected; slots *= 2) ++bits;
    shift_ = 64 - bits;
    mask_ = slots - 1;
    if (slots_.size() < slots) {
      slots_ = std::vector<PackedPair>(slots);
    } else {
      std::fill_n(slots_.begin(), slots, PackedPair{0});
    }
  }
  // True if it was not there. At most `expected` pairs in all.
  bool Insert(PackedPair pair, uint64_t spread) {
    size_t at = static_cast<size_t>(spread >> shift_);
    for (; slots_[at] != 0; at = (at + 1) & mask_) {
      if (slots_[at] == pair) return false;
    }
    slots_[at] = pair;
    return true;
  }
  // Asks for the memory that Insert will look at.
  void Prefetch(uint64_t spread) const { __builtin_prefetch(&slots_[static_cast<size_t>(spread >> shift_)], 1); }
  static constexpr size_t kBytesEach = 43;  // at worst: just above a power of two

 private:
  std::vector<PackedPair> slots_;  // the first mask_ + 1 in use
  size_t mask_ = 0;
  int shift_ = 64;
};

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_PAIR_HASH_H_
