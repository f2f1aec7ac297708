// Memory that runs out where a test says: one translation unit of a test program includes this, and it replaces operator new.
//
//   FailAllocation(3);            // this thread's third allocation from now on throws std::bad_alloc
//   …;
//   const bool failed = Failed(); // whether it came to that; no more fail
#ifndef COUNTERMARK_TESTS_SERVER_FAILING_MEMORY_H_
#define COUNTERMARK_TESTS_SERVER_FAILING_MEMORY_H_

#include <cstddef>
#include <cstdlib>
#include <new>

namespace countermark::testing {

inline thread_local long allocations_left = -1;  // −1: no end; 0: it has failed

inline void FailAllocation(long nth) { allocations_left = nth; }
inline bool Failed() {
  const bool failed = allocations_left == 0;
  allocations_left = -1;
  return failed;
}

inline void* Allocate(std::size_t bytes, std::size_t alignment) {
  if (allocations_left > 0 && --allocations_left == 0) throw std::bad_alloc();
  void* at = alignment <= alignof(std::max_align_t) ? std::malloc(bytes ? bytes : 1) : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}

}  // namespace countermark::testing

void* operator new(std::size_t bytes) { return countermark::testing::Allocate(bytes, 1); }
void* operator new[](std::size_t bytes) { return countermark::testing::Allocate(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) { return countermark::testing::Allocate(bytes, static_cast<std::size_t>(alignment)); }
void operator delete(void* at) noexcept { std::free(at); }
void operator delete[](void* at) noexcept { std::free(at); }
void operator delete(void* at, std::size_t) noexcept { std::free(at); }
void operator delete[](void* at, std::size_t) noexcept { std::free(at); }
void operator delete(void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { std::free(at); }

#endif  // COUNTERMARK_TESTS_SERVER_FAILING_MEMORY_H_
