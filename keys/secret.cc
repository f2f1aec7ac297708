#include "countermark/keys/secret.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace countermark {

Secret32::Secret32(std::span<const uint8_t, kSize> bytes) { std::copy(bytes.begin(), bytes.end(), bytes_.begin()); }
Secret32::Secret32(const Secret32& other) = default;
Secret32& Secret32::operator=(const Secret32& other) = default;
Secret32::~Secret32() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

Secret32 Secret32::Random() {
  std::array<uint8_t, kSize> bytes;
  if (RAND_priv_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    // A key that may be guessed is worse than no process: every text marked with it could be forged.
    std::fputs("countermark: the system's random generator gave nothing; no key can be made\n", stderr);
    std::abort();
  }
  Secret32 secret(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return secret;
}

bool Secret32::ConstantTimeEqual(const Secret32& a, const Secret32& b) {
  return CRYPTO_memcmp(a.bytes_.data(), b.bytes_.data(), kSize) == 0;
}

SecretBytes::SecretBytes(size_t size) : bytes_(size) {}
SecretBytes::SecretBytes(std::string_view bytes) : bytes_(bytes.begin(), bytes.end()) {}
SecretBytes::SecretBytes(SecretBytes&& other) noexcept : bytes_(std::move(other.bytes_)) { other.bytes_.clear(); }

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    Wipe();
    bytes_.swap(other.bytes_);
  }
  return *this;
}

SecretBytes::~SecretBytes() { Wipe(); }

void SecretBytes::Wipe() {
  if (!bytes_.empty()) OPENSSL_cleanse(bytes_.data(), bytes_.size());
  bytes_.clear();
}

}  // namespace countermark
