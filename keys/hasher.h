// SHA-256 piece by piece: Hasher().Add(a, n).Add(b, m).Finish(out32).
#ifndef COUNTERMARK_KEYS_HASHER_H_
#define COUNTERMARK_KEYS_HASHER_H_

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace countermark::keys_internal {

// One SHA-256 computation. Fetched once: OpenSSL 3 looks an algorithm up by name at each use otherwise, which costs more than the
// hash itself when a million accounts' keys are derived. The context's state is wiped by EVP_MD_CTX_free.
class Hasher {
 public:
  Hasher() : context_(EVP_MD_CTX_new()) {
    static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
    if (context_ == nullptr || sha256 == nullptr || EVP_DigestInit_ex2(context_, sha256, nullptr) != 1) Fail();
  }
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  ~Hasher() { EVP_MD_CTX_free(context_); }

  Hasher& Add(const void* data, size_t size) {
    if (EVP_DigestUpdate(context_, data, size) != 1) Fail();
    return *this;
  }
  void Finish(uint8_t* out) {
    if (EVP_DigestFinal_ex(context_, out, nullptr) != 1) Fail();
  }

 private:
  [[noreturn]] static void Fail() {   // memory is out or the provider is broken: no true digest can be given
    std::fputs("countermark: OpenSSL has no SHA-256 to give\n", stderr);
    std::abort();
  }
  EVP_MD_CTX* context_;
};

}  // namespace countermark::keys_internal

#endif  // COUNTERMARK_KEYS_HASHER_H_
