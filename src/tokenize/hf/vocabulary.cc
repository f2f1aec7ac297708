#include "src/tokenize/hf/vocabulary.h"

#include <algorithm>

namespace countermark::hf {

void Vocabulary::Grow() {
  slots_.assign(std::max<size_t>(16, slots_.size() * 2), kNone);
  for (uint32_t entry = 0; entry < entries_.size(); ++entry) {
    size_t at = HashBytes(EntryText(entry)) & (slots_.size() - 1);
    // Of two entries of one text the later is found.
    while (slots_[at] != kNone && EntryText(slots_[at]) != EntryText(entry)) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = entry;
  }
}

void Vocabulary::Add(std::string_view text, uint32_t id) {
  const uint32_t entry = static_cast<uint32_t>(entries_.size());
  entries_.push_back({.begin = block_.size(), .size = static_cast<uint32_t>(text.size()), .id = id});
  block_.append(text);
  longest_ = std::max(longest_, text.size());
  if (id >= entry_of_id_.size()) entry_of_id_.resize(size_t{id} + 1, kNone);
  entry_of_id_[id] = entry;
  if (slots_.size() < 2 * entries_.size()) {
    const bool is_new = slots_.empty() || Find(text) < 0;
    Grow();
    texts_ += is_new ? 1 : 0;
    return;
  }
  size_t at = HashBytes(text) & (slots_.size() - 1);
  while (slots_[at] != kNone && EntryText(slots_[at]) != text) at = (at + 1) & (slots_.size() - 1);
  if (slots_[at] == kNone) ++texts_;
  slots_[at] = entry;
}

int64_t Vocabulary::Find(std::string_view text) const {
  if (slots_.empty() || text.size() > longest_) return -1;
  for (size_t at = HashBytes(text) & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at] == kNone) return -1;
    if (EntryText(slots_[at]) == text) return entries_[slots_[at]].id;
  }
}

void PairMap::Reserve(size_t count) {
  size_t size = 2;
  while (size < 2 * count + 2) size *= 2;
  slots_.assign(size, Cell{});
  mask_ = size - 1;
}

void PairMap::Put(uint32_t left, uint32_t right, Value value) {
  const uint64_t key = uint64_t{left} << 32 | right;
  size_t at = Slot(key);
  while (slots_[at].key != key && slots_[at].key != kEmpty) at = (at + 1) & mask_;
  slots_[at] = {key, value};
}

}  // namespace countermark::hf
