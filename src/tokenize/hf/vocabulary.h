// The tokens of a model: text to id and back.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_VOCABULARY_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_VOCABULARY_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace countermark::hf {

// Of short strings, eight bytes at a time.
inline uint64_t HashBytes(std::string_view bytes) {
  const auto mix = [](uint64_t a, uint64_t b) {
    const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  const char* at = bytes.data();
  size_t left = bytes.size();
  uint64_t hash = 0x9E3779B97F4A7C15u ^ left, word;
  for (; left > 8; left -= 8, at += 8) {
    std::memcpy(&word, at, 8);
    hash = mix(hash ^ word, 0xE7037ED1A0B428DBu);
  }
  if (left >= 4) {
    uint32_t low, high;
    std::memcpy(&low, at, 4);
    std::memcpy(&high, at + left - 4, 4);
    word = uint64_t{high} << 32 | low;
  } else if (left > 0) {
    word = uint64_t{static_cast<uint8_t>(at[0])} << 16 | uint64_t{static_cast<uint8_t>(at[left / 2])} << 8 | static_cast<uint8_t>(at[left - 1]);
  } else {
    word = 0;
  }
  return mix(hash ^ word, 0x8EBC6AF09C88C6E3u);
}

class Vocabulary {
 public:
  static constexpr uint32_t kHighestId = (1u << 24) - 1;

  // A text put in again has the new id; the old one keeps its text. The id is at most kHighestId.
  void Add(std::string_view text, uint32_t id);
  int64_t Find(std::string_view text) const;         // −1 where there is none
  bool Has(uint32_t id) const { return id < entry_of_id_.size() && entry_of_id_[id] != kNone; }
  std::string_view Text(uint32_t id) const { return Has(id) ? EntryText(entry_of_id_[id]) : std::string_view(); }
  uint32_t texts() const { return texts_; }           // different ones
  uint32_t ids() const { return static_cast<uint32_t>(entry_of_id_.size()); }  // one past the highest
  size_t longest() const { return longest_; }         // bytes of the longest text

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Entry {
    uint64_t begin;
    uint32_t size, id;
  };
  std::string_view EntryText(uint32_t entry) const { return std::string_view(block_).substr(entries_[entry].begin, entries_[entry].size); }
  void Grow();

  std::string block_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;        // by hash; entries, a power of two of them
  std::vector<uint32_t> entry_of_id_;
  uint32_t texts_ = 0;
  size_t longest_ = 0;
};

// Pairs of numbers to a pair of numbers, for merges.
class PairMap {
 public:
  struct Value {
    uint32_t rank, id;
  };
  void Reserve(size_t count);
  void Put(uint32_t left, uint32_t right, Value value);  // replaces
  const Value* Find(uint32_t left, uint32_t right) const {
    const uint64_t key = uint64_t{left} << 32 | right;
    for (size_t at = Slot(key);; at = (at + 1) & mask_) {
      if (slots_[at].key == key) return &slots_[at].value;
      if (slots_[at].key == kEmpty) return nullptr;
    }
  }

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;
  struct Cell {
    uint64_t key = kEmpty;
    Value value{};
  };
  size_t Slot(uint64_t key) const { return static_cast<size_t>((key * 0x9E3779B97F4A7C15u) >> 20 ^ key) & mask_; }

  std::vector<Cell> slots_ = std::vector<Cell>(2);
  size_t mask_ = 1;
};

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_VOCABULARY_H_
