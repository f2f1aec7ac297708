// Zeroed 64-bit words in one piece, a large piece in huge pages where the system has them: a hash table's probes then miss the page tables
// far less, and its memory comes 2 MiB at a fault.
#ifndef COUNTERMARK_DETECT_ZEROED_ARRAY_H_
#define COUNTERMARK_DETECT_ZEROED_ARRAY_H_

#include <cstddef>
#include <cstdint>
#include <utility>

namespace countermark {

class ZeroedArray {
 public:
  ZeroedArray() = default;
  // Ends the process when there is no memory, as std::vector would.
  explicit ZeroedArray(size_t size);
  ZeroedArray(ZeroedArray&& other) noexcept { Swap(other); }
  ZeroedArray& operator=(ZeroedArray&& other) noexcept {
    Swap(other);
    return *this;
  }
  ~ZeroedArray();

  size_t size() const { return size_; }
  uint64_t* data() { return data_; }
  const uint64_t* data() const { return data_; }

 private:
  void Swap(ZeroedArray& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapping_, other.mapping_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
  }

  uint64_t* data_ = nullptr;
  size_t size_ = 0;
  void* mapping_ = nullptr;  // what munmap is given; null when data_ came from calloc
  size_t mapped_bytes_ = 0;
};

// Asks the system to back what of [begin, begin + bytes) is still untouched by huge pages, whole ones of which lie in it. A wish: nothing
// else changes, and where there are no huge pages nothing happens.
void AskForHugePages(void* begin, size_t bytes);

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_ZEROED_ARRAY_H_
