// A string whose memory is wiped when it is freed, its growth's old buffers too: the body of a key store is built in one.
//
//   SecretString out;  out.append(…);     // keys, 64 digits each, never fit the part of a string that lives inside its object
#ifndef COUNTERMARK_KEYS_SECRET_STRING_H_
#define COUNTERMARK_KEYS_SECRET_STRING_H_

#include <openssl/crypto.h>

#include <cstddef>
#include <memory>
#include <string>

namespace countermark::keys_internal {

template <typename T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <typename U>
  WipingAllocator(const WipingAllocator<U>&) {}
  T* allocate(size_t n) { return std::allocator<T>().allocate(n); }
  void deallocate(T* p, size_t n) {
    OPENSSL_cleanse(p, n * sizeof(T));
    std::allocator<T>().deallocate(p, n);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) { return true; }
};

using SecretString = std::basic_string<char, std::char_traits<char>, WipingAllocator<char>>;

}  // namespace countermark::keys_internal

#endif  // COUNTERMARK_KEYS_SECRET_STRING_H_
