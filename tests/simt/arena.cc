#include "tests/simt/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/simt/sanitizers.h"

namespace countermark::simt {
namespace {

void* Map(void* at, size_t bytes) {
  void* map = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (at != nullptr ? MAP_FIXED : 0), -1, 0);
  if (map == MAP_FAILED) {
    std::perror("countermark simt: shared memory");
    std::abort();
  }
  return map;
}

}  // namespace

Arena::~Arena() {
  if (base_ == nullptr) return;
  Unpoison(base_, capacity_);
  munmap(base_, capacity_);
}

void Arena::Begin(size_t dynamic_bytes, uint64_t seed) {
  // A red zone costs at most twice its size where an array must be aligned.
  const size_t wanted = (kStaticLimit + dynamic_bytes + (kMaxSlots + 2) * 3 * kRedZone + 4095) / 4096 * 4096;
  size_t refill = used_;
  if (wanted > capacity_) {
    if (base_ != nullptr) {
      Unpoison(base_, capacity_);
      munmap(base_, capacity_);
    }
    base_ = static_cast<char*>(Map(nullptr, wanted));
    capacity_ = wanted;
    refill = capacity_;
  }
#if defined(COUNTERMARK_SIMT_TSAN)
  Map(base_, capacity_);  // the race check forgets the block before
  refill = capacity_;
#endif
  if (pattern_ != (seed | 1)) refill = capacity_;
  pattern_ = seed | 1;
  Unpoison(base_, capacity_);
  for (size_t i = 0; i < refill; i += 8) *reinterpret_cast<uint64_t*>(base_ + i) = pattern_;
  Poison(base_, capacity_);
  const size_t bytes = (dynamic_bytes + 7) / 8 * 8;
  slots_[0] = {nullptr, kRedZone, dynamic_bytes, "the dynamic shared memory", "", 0};
  slot_count_ = 1;
  static_bytes_ = 0;
  used_ = kRedZone + bytes + kRedZone;
  Unpoison(base_ + kRedZone, dynamic_bytes);
}

void* Arena::Array(const void* key, size_t bytes, size_t alignment, const char* name, const char* file, int line) {
  for (int i = 1; i < slot_count_; ++i) {
    if (slots_[i].key == key) return base_ + slots_[i].offset;
  }
  static_bytes_ = (static_bytes_ + alignment - 1) / alignment * alignment + bytes;
  if (slot_count_ == kMaxSlots || static_bytes_ > kStaticLimit) return nullptr;
  const size_t step = std::max<size_t>(alignment, 8);
  size_t offset = (used_ + step - 1) / step * step;
  if (offset % (2 * step) == 0) offset += step;
  slots_[slot_count_++] = {key, offset, bytes, name, file, line};
  used_ = offset + (bytes + 7) / 8 * 8 + kRedZone;
  Unpoison(base_ + offset, bytes);
  return base_ + offset;
}

const Arena::Slot* Arena::Damage() const {
#if defined(COUNTERMARK_SIMT_ASAN)
  return nullptr;  // poisoned: not to be read, and needless
#else
  const char* pattern = reinterpret_cast<const char*>(&pattern_);
  size_t from = 0;
  for (int i = 0; i <= slot_count_; ++i) {
    const size_t to = i < slot_count_ ? slots_[i].offset : used_;
    for (size_t at = from; at < to; ++at) {
      if (base_[at] != pattern[at % 8]) {
        const bool nearer_to_next = i < slot_count_ && (i == 0 || to - at < at - from);
        return &slots_[nearer_to_next ? i : i - 1];
      }
    }
    if (i < slot_count_) from = slots_[i].offset + slots_[i].bytes;
  }
  return nullptr;
#endif
}

}  // namespace countermark::simt
