#include "countermark/evidence/ed25519.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <climits>
#include <cstdlib>
#include <memory>

#include "absl/strings/escaping.h"
#include "countermark/keys/derive.h"
#include "src/base/hex.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

struct PkeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct ContextFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
struct BioFree {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using Pkey = std::unique_ptr<EVP_PKEY, PkeyFree>;
using Context = std::unique_ptr<EVP_MD_CTX, ContextFree>;
using Bio = std::unique_ptr<BIO, BioFree>;

// With inputs of the right size these calls fail only when memory is out or the provider is broken; nothing true could be said then.
void Require(bool ok) {
  if (!ok) std::abort();
}

const uint8_t* Bytes(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

// SubjectPublicKeyInfo of Ed25519 (RFC 8410, 10.1): this, then the 32 bytes.
constexpr uint8_t kSpkiPrefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

}  // namespace

Ed25519PublicKey Ed25519PublicKeyOf(const Secret32& seed) {
  const Pkey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.Reveal(SecretAccess()), Secret32::kSize));
  Require(key != nullptr);
  Ed25519PublicKey out;
  size_t size = out.size();
  Require(EVP_PKEY_get_raw_public_key(key.get(), out.data(), &size) == 1 && size == out.size());
  return out;
}

Ed25519Signature Ed25519Sign(const Secret32& seed, std::string_view message) {
  const Pkey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.Reveal(SecretAccess()), Secret32::kSize));
  const Context context(EVP_MD_CTX_new());
  Require(key != nullptr && context != nullptr);
  Ed25519Signature out;
  size_t size = out.size();
  Require(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1);
  Require(EVP_DigestSign(context.get(), out.data(), &size, Bytes(message), message.size()) == 1 && size == out.size());
  return out;
}

bool Ed25519Verify(const Ed25519PublicKey& public_key, std::string_view message, const Ed25519Signature& signature) {
  const Pkey key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, public_key.data(), public_key.size()));
  const Context context(EVP_MD_CTX_new());
  if (key == nullptr || context == nullptr) return false;
  if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1) return false;
  return EVP_DigestVerify(context.get(), signature.data(), signature.size(), Bytes(message), message.size()) == 1;
}

std::string Ed25519PublicKeyPem(const Ed25519PublicKey& key) {
  std::string der(reinterpret_cast<const char*>(kSpkiPrefix), sizeof kSpkiPrefix);
  der.append(reinterpret_cast<const char*>(key.data()), key.size());
  return Cat("-----BEGIN PUBLIC KEY-----\n", absl::Base64Escape(der), "\n-----END PUBLIC KEY-----\n");
}

absl::StatusOr<Ed25519PublicKey> ParseEd25519PublicKeyPem(std::string_view pem) {
  if (pem.find("PRIVATE KEY") != std::string_view::npos) {
    return absl::InvalidArgumentError("a private key stands where a public one is expected; give the file of the public key alone");
  }
  if (pem.size() > (1 << 16)) return absl::InvalidArgumentError("not a PEM public key: too large");
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Require(bio != nullptr);
  const Pkey key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
  if (key == nullptr) {
    return absl::InvalidArgumentError("not a PEM public key ('-----BEGIN PUBLIC KEY-----' and what follows is expected)");
  }
  if (EVP_PKEY_base_id(key.get()) != EVP_PKEY_ED25519) return absl::InvalidArgumentError("the public key is not an Ed25519 key");
  Ed25519PublicKey out;
  size_t size = out.size();
  if (EVP_PKEY_get_raw_public_key(key.get(), out.data(), &size) != 1 || size != out.size()) {
    return absl::InvalidArgumentError("the public key cannot be read");
  }
  return out;
}

std::string Ed25519KeyId(const Ed25519PublicKey& key) { return HexEncode(Sha256(std::span<const uint8_t>(key))); }

}  // namespace countermark
