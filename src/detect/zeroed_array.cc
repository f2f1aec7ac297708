#include "countermark/detect/zeroed_array.h"

#include <cstdint>
#include <cstdlib>

#include "absl/base/internal/raw_logging.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace countermark {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

uintptr_t NextHugePage(const void* p) { return (reinterpret_cast<uintptr_t>(p) + kHugePage - 1) & ~(kHugePage - 1); }

}  // namespace

void AskForHugePages(void* begin, size_t bytes) {
#if defined(__linux__)
  const uintptr_t from = NextHugePage(begin), to = (reinterpret_cast<uintptr_t>(begin) + bytes) & ~(kHugePage - 1);
  if (from < to) (void)madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);  // refused: small pages do as well, only slower
#else
  (void)begin;
  (void)bytes;
#endif
}

ZeroedArray::ZeroedArray(size_t size) : size_(size) {
  if (size == 0) return;
  const size_t bytes = size * sizeof(uint64_t);
#if defined(__linux__)
  if (bytes >= 2 * kHugePage) {
    mapped_bytes_ = bytes + kHugePage;  // room to begin at a huge page's edge
    void* const mapping = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ABSL_RAW_CHECK(mapping != MAP_FAILED, "out of memory for a set of pairs");
    mapping_ = mapping;
    data_ = reinterpret_cast<uint64_t*>(NextHugePage(mapping));
    AskForHugePages(data_, bytes);
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
