// The key tree of mark format 1: HKDF-SHA256 with an empty salt and labels as info.
//
//   master → epoch(tenant, epoch) → base | route | account(label) | canary(family, label);  account → request(label)
#ifndef COUNTERMARK_KEYS_DERIVE_H_
#define COUNTERMARK_KEYS_DERIVE_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "countermark/keys/secret.h"

namespace countermark {

// HKDF-SHA256(parent, salt = "", info = "countermark/v1" then each label as a length byte and its UTF-8 bytes; a label over 254
// bytes: byte 255, then its SHA-256). Source: mark-format.md, Keys; RFC 5869.
Secret32 DeriveKey(const Secret32& parent, std::initializer_list<std::string_view> labels);

inline Secret32 DeriveEpochKey(const Secret32& master, std::string_view tenant, std::string_view epoch) {
  return DeriveKey(master, {"epoch", tenant, epoch});
}
inline Secret32 DeriveBaseKey(const Secret32& epoch_key) { return DeriveKey(epoch_key, {"base"}); }
inline Secret32 DeriveRouteKey(const Secret32& epoch_key) { return DeriveKey(epoch_key, {"route"}); }
inline Secret32 DeriveAccountKey(const Secret32& epoch_key, std::string_view account) {
  return DeriveKey(epoch_key, {"account", account});
}
inline Secret32 DeriveRequestKey(const Secret32& account_key, std::string_view request) {
  return DeriveKey(account_key, {"request", request});
}
inline Secret32 DeriveCanaryKey(const Secret32& epoch_key, std::string_view family, std::string_view account) {
  return DeriveKey(epoch_key, {"canary", family, account});
}

using Digest32 = std::array<uint8_t, 32>;

// SHA-256("countermark/v1/commit" ‖ salt ‖ key ‖ SHA-256(canonical epoch record)). Published before the key's first use.
Digest32 CommitToKey(const Digest32& salt, const Secret32& key, std::string_view canonical_record);

// SHA-256 of bytes, and lower-case hexadecimal of bytes (never given a secret).
Digest32 Sha256(std::span<const uint8_t> bytes);
Digest32 Sha256(std::string_view bytes);

}  // namespace countermark

#endif  // COUNTERMARK_KEYS_DERIVE_H_
