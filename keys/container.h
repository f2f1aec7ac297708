// The container of key stores and bundles: a body under a passphrase. scrypt (RFC 7914) makes the key, AES-256-GCM seals, and the
// whole header is authenticated with the body, so that no byte of a file can change unseen.
//
//   offset  bytes
//        0      8  magic: "CMKEYS\r\n"
//        8      1  version: 1
//        9      1  type: 1 key store, 2 epoch bundle
//       10      1  key derivation: 1 scrypt
//       11      1  cipher: 1 AES-256-GCM
//       12      4  N, a power of two      16   4  r      20   4  p        (integers little-endian)
//       24     32  salt of scrypt
//       56     12  nonce
//       68      8  length of the body
//       76         the sealed body, then the 16-byte tag; nothing after it
//
// Key = scrypt(passphrase, salt, N, r, p), 32 bytes. Additional data = bytes 0…75.
#ifndef COUNTERMARK_KEYS_CONTAINER_H_
#define COUNTERMARK_KEYS_CONTAINER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "countermark/keys/secret.h"

namespace countermark::keys_internal {

inline constexpr size_t kHeaderSize = 76;
inline constexpr size_t kTagSize = 16;
inline constexpr uint64_t kMaxBody = uint64_t{256} << 20;
inline constexpr uint64_t kMaxContainer = kHeaderSize + kMaxBody + kTagSize;

enum class ContainerType : uint8_t { kKeyStore = 1, kBundle = 2 };

// What every file of ours is written with: 32 MiB and about a tenth of a second. A lower cost is for tests alone; no program has a
// way to ask for it, and a store written with it goes back to this one the next time it is saved.
struct ScryptCost {
  uint32_t n = 1 << 15;
  uint32_t r = 8;
  uint32_t p = 1;
};

struct ContainerHeader {
  ContainerType type = ContainerType::kKeyStore;
  ScryptCost cost;
  uint8_t salt[32] = {};
  uint8_t nonce[12] = {};
  uint64_t body_size = 0;
};

// Reads a header and holds it against the size of the whole file. DataLoss: no such file, another version, or a length that does not
// fit. The cost is bounded here, before scrypt runs: N ≤ 2^20, r ≤ 16, p ≤ 16, 128·N·r ≤ 1 GiB, N·r·p ≤ 2^23, so that a file from
// elsewhere cannot take the machine's memory or its minutes. `name` is for the error text.
absl::StatusOr<ContainerHeader> ParseContainerHeader(std::string_view file, ContainerType type, std::string_view name);

// The bytes of a file: fresh salt and nonce from the system's generator.
absl::StatusOr<std::string> SealContainer(ContainerType type, const SecretBytes& body, const SecretBytes& passphrase,
                                          const ScryptCost& cost = {});

// The body. As ParseContainerHeader, and PermissionDenied if the tag does not verify.
absl::StatusOr<SecretBytes> OpenContainer(std::string_view file, ContainerType type, const SecretBytes& passphrase, std::string_view name);

}  // namespace countermark::keys_internal

#endif  // COUNTERMARK_KEYS_CONTAINER_H_
