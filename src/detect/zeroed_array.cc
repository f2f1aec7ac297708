#include "countermark/detect/zeroed_array.h"

#include <cstdlib>

#include "absl/base/internal/raw_logging.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace countermark {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

ZeroedArray::ZeroedArray(size_t size) : size_(size) {
  if (size == 0) return;
  const size_t bytes = size * sizeof(uint64_t);
#if defined(__linux__)
  if (bytes >= 2 * kHugePage) {
    mapped_bytes_ = bytes + kHugePage;  // room to begin at a huge page's edge
    void* const mapping = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ABSL_RAW_CHECK(mapping != MAP_FAILED, "out of memory for a set of pairs");
    mapping_ = mapping;
    const uintptr_t aligned = (reinterpret_cast<uintptr_t>(mapping) + kHugePage - 1) & ~(kHugePage - 1);
    data_ = reinterpret_cast<uint64_t*>(aligned);
    (void)madvise(data_, bytes, MADV_HUGEPAGE);  // refused: small pages do as well, only slower
    return;
  }
#endif
  data_ = static_cast<uint64_t*>(std::calloc(size, sizeof(uint64_t)));
  ABSL_RAW_CHECK(data_ != nullptr, "out of memory for a set of pairs");
}

ZeroedArray::~ZeroedArray() {
#if defined(__linux__)
  if (mapping_ != nullptr) {
    munmap(mapping_, mapped_bytes_);
    return;
  }
#endif
  std::free(data_);
}

}  // namespace countermark
