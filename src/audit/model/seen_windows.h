// Which windows have stood before, under which key: the first-occurrence rule of served probes.
//
//   SeenWindows seen(salt);
//   if (seen.Insert(0, window, h)) …      // the first time under owner 0
//
// A fingerprint of 64 bits stands for (owner, window), 8 to 16 bytes each. Two that collide make a window look seen that was not: it is left out, which any rule that
// does not hang on the key may do, and the same run makes it the same way again (the salt is the run's).
#ifndef COUNTERMARK_SRC_AUDIT_MODEL_SEEN_WINDOWS_H_
#define COUNTERMARK_SRC_AUDIT_MODEL_SEEN_WINDOWS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "countermark/mark/window.h"

namespace countermark::audit {

class SeenWindows {
 public:
  explicit SeenWindows(uint64_t salt) : salt_(salt), slots_(1024) {}

  // True if (owner, window) was not there.
  bool Insert(uint64_t owner, const uint32_t* window, int h) {
    if (2 * (used_ + 1) > slots_.size()) Grow();
    const uint32_t name[2] = {static_cast<uint32_t>(owner), static_cast<uint32_t>(owner >> 32)};
    return Put(std::max<uint64_t>(1, HashWindow(window, h, HashWindow(name, 2, salt_))));
  }
  size_t size() const { return used_; }
  void Clear() {
    std::fill(slots_.begin(), slots_.end(), 0);
    used_ = 0;
  }

 private:
  bool Put(uint64_t fingerprint) {
    const size_t mask = slots_.size() - 1;
    size_t at = static_cast<size_t>(fingerprint) & mask;
    for (; slots_[at] != 0; at = (at + 1) & mask) {
      if (slots_[at] == fingerprint) return false;
    }
    slots_[at] = fingerprint;
    ++used_;
    return true;
  }
  void Grow() {
    std::vector<uint64_t> before(2 * slots_.size());
    before.swap(slots_);
    used_ = 0;
    for (const uint64_t fingerprint : before) {
      if (fingerprint != 0) Put(fingerprint);
    }
  }

  uint64_t salt_;
  std::vector<uint64_t> slots_;
  size_t used_ = 0;
};

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_MODEL_SEEN_WINDOWS_H_
