// A set of stretches of one array of ids, compared by the ids themselves.
//
//   WindowSet seen;
//   seen.Begin(ids, ids.size());
//   if (seen.Add(begin, length)) …   // no stretch with these ids was there before
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_WINDOW_SET_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_WINDOW_SET_H_

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "src/detect/foreign/flat_index.h"

namespace countermark {

class WindowSet {
 public:
  // `ids` must outlive the calls of Add; at most `most` of those.
  void Begin(std::span<const uint32_t> ids, size_t most) {
    ids_ = ids;
    const size_t wanted = std::bit_ceil(std::max<size_t>(16, 2 * most));
    slots_.assign(wanted, {});
    mask_ = wanted - 1;
  }
  // length ≥ 1.
  bool Add(size_t begin, size_t length) {
    uint64_t hash = length;
    for (size_t i = 0; i < length; ++i) hash = ForeignMix(hash + ids_[begin + i]);
    for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
      Slot& slot = slots_[at];
      if (slot.length == 0) {
        slot = {begin, length};
        return true;
      }
      if (slot.length == length && std::equal(ids_.begin() + static_cast<std::ptrdiff_t>(begin), ids_.begin() + static_cast<std::ptrdiff_t>(begin + length),
                                              ids_.begin() + static_cast<std::ptrdiff_t>(slot.begin))) {
        return false;
      }
    }
  }

 private:
  struct Slot {
    size_t begin = 0, length = 0;
  };
  std::span<const uint32_t> ids_;
  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_WINDOW_SET_H_
