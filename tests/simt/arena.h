// The shared memory of one resident block: static arrays as they are first touched, and the launch's dynamic bytes, each between red zones.
//
// All of it is filled with a pattern of the block's seed when a block begins. An array lies at an address that is aligned for its type and for
// nothing wider, so that a wider access to it is caught by UBSan. Overruns are found under ASan at once, otherwise by Damage() at the end.
#ifndef COUNTERMARK_TESTS_SIMT_ARENA_H_
#define COUNTERMARK_TESTS_SIMT_ARENA_H_

#include <cstddef>
#include <cstdint>

namespace countermark::simt {

class Arena {
 public:
  static constexpr size_t kStaticLimit = 48 * 1024;  // CUDA's, over all arrays of a kernel

  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  struct Slot {
    const void* key;   // null: the dynamic memory
    size_t offset, bytes;
    const char* name;
    const char* file;
    int line;
  };

  void Begin(size_t dynamic_bytes, uint64_t seed);
  void* Array(const void* key, size_t bytes, size_t alignment, const char* name, const char* file, int line);  // null: too much
  void* Dynamic() const { return base_ + slots_[0].offset; }
  const Slot* Damage() const;  // the array before or in front of the first byte that nobody may write and somebody did, or null

 private:
  static constexpr size_t kRedZone = 64;
  static constexpr int kMaxSlots = 128;

  char* base_ = nullptr;
  size_t capacity_ = 0;
  size_t used_ = 0;     // of base_, red zones included; beyond it the pattern is untouched
  size_t static_bytes_ = 0;
  uint64_t pattern_ = 0;
  Slot slots_[kMaxSlots] = {};
  int slot_count_ = 0;
};

}  // namespace countermark::simt

#endif  // COUNTERMARK_TESTS_SIMT_ARENA_H_
