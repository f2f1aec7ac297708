// So that the program runs on a C library older than the one it was built with: glibc has arc4random since 2.36, and libstdc++'s archive asks for it.
#include <sys/random.h>

#include <cstdint>
#include <cstdlib>

extern "C" uint32_t arc4random() noexcept {
  uint32_t word = 0;
  if (getrandom(&word, sizeof word, 0) != sizeof word) std::abort();
  return word;
}
