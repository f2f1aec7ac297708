// Ed25519 signatures (RFC 8032) through OpenSSL. Takes a 32-byte seed and a message; gives 64 bytes anyone can check.
//
//   Ed25519PublicKey key = Ed25519PublicKeyOf(seed);
//   bool good = Ed25519Verify(key, message, Ed25519Sign(seed, message));
#ifndef COUNTERMARK_EVIDENCE_ED25519_H_
#define COUNTERMARK_EVIDENCE_ED25519_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "countermark/keys/secret.h"

namespace countermark {

using Ed25519PublicKey = std::array<uint8_t, 32>;
using Ed25519Signature = std::array<uint8_t, 64>;

Ed25519PublicKey Ed25519PublicKeyOf(const Secret32& seed);
Ed25519Signature Ed25519Sign(const Secret32& seed, std::string_view message);
bool Ed25519Verify(const Ed25519PublicKey& key, std::string_view message, const Ed25519Signature& signature);

// "-----BEGIN PUBLIC KEY-----" (SubjectPublicKeyInfo, RFC 8410), as `openssl pkey -pubin` reads it.
std::string Ed25519PublicKeyPem(const Ed25519PublicKey& key);
// InvalidArgument where the text is no PEM public key or one of another kind. A private key is refused, and its text not repeated.
absl::StatusOr<Ed25519PublicKey> ParseEd25519PublicKeyPem(std::string_view pem);

// The key's name in signatures: lower-case hex of the SHA-256 of its 32 bytes.
std::string Ed25519KeyId(const Ed25519PublicKey& key);

}  // namespace countermark

#endif  // COUNTERMARK_EVIDENCE_ED25519_H_
