// JSON whose memory is wiped when it is freed: the key store's body holds keys, and a parser copies what it reads.
//
//   std::optional<SecretJson> json = ParseSecretJson(body);    // nullopt if it is not JSON; never a message that quotes it
#ifndef COUNTERMARK_KEYS_SECRET_JSON_H_
#define COUNTERMARK_KEYS_SECRET_JSON_H_

#include <openssl/crypto.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace countermark::keys_internal {

// Wipes what it frees. A string short enough to live inside its object is wiped with the object where that is on the heap, as a
// JSON value's is; keys, 64 digits each, are never that short.
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
using SecretJson = nlohmann::basic_json<std::map, std::vector, SecretString, bool, int64_t, uint64_t, double, WipingAllocator>;

inline std::optional<SecretJson> ParseSecretJson(std::span<const uint8_t> text) {
  SecretJson json = SecretJson::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return std::nullopt;
  return json;
}

}  // namespace countermark::keys_internal

#endif  // COUNTERMARK_KEYS_SECRET_JSON_H_
