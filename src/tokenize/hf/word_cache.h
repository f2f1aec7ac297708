// The tokens of words seen before. One thread's; bounded: when it is full it is emptied.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_WORD_CACHE_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_WORD_CACHE_H_

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/tokenize/hf/vocabulary.h"

namespace countermark::hf {

class WordCache {
 public:
  static constexpr size_t kLongestWord = 128;

  // The word's ids, or an empty span.
  std::span<const uint32_t> Find(std::string_view word, uint64_t hash) const {
    for (size_t at = hash & (kSlots - 1);; at = (at + 1) & (kSlots - 1)) {
      const Slot& slot = slots_[at];
      if (slot.count == 0) return {};
      if (slot.hash == static_cast<uint32_t>(hash >> 32) && slot.size == word.size() && std::memcmp(words_.data() + slot.word, word.data(), word.size()) == 0) {
        return std::span(ids_).subspan(slot.ids, slot.count);
      }
    }
  }

  // `ids` is not empty.
  void Put(std::string_view word, uint64_t hash, std::span<const uint32_t> ids) {
    if (used_ == kSlots / 2) Clear();
    size_t at = hash & (kSlots - 1);
    while (slots_[at].count != 0) at = (at + 1) & (kSlots - 1);
    slots_[at] = {static_cast<uint32_t>(hash >> 32), static_cast<uint32_t>(words_.size()), static_cast<uint32_t>(ids_.size()), static_cast<uint16_t>(word.size()),
                  static_cast<uint16_t>(ids.size())};
    words_.append(word);
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    ++used_;
  }

 private:
  static constexpr size_t kSlots = 1 << 16;
  struct Slot {
    uint32_t hash = 0, word = 0, ids = 0;
    uint16_t size = 0, count = 0;  // count 0: free
  };
  void Clear() {
    slots_.assign(kSlots, Slot{});
    words_.clear();
    ids_.clear();
    used_ = 0;
  }

  std::vector<Slot> slots_ = std::vector<Slot>(kSlots);
  std::string words_;
  std::vector<uint32_t> ids_;
  size_t used_ = 0;
};

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_WORD_CACHE_H_
