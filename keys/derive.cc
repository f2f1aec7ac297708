#include "countermark/keys/derive.h"

#include <openssl/crypto.h>

#include <vector>

#include "keys/hasher.h"

namespace countermark {
namespace {

using keys_internal::Hasher;

// HMAC-SHA256 (RFC 2104) under a 32-byte key.
void Hmac(const uint8_t* key, std::span<const uint8_t> message, uint8_t* out) {
  uint8_t pad[64], inner[32];
  for (int i = 0; i < 64; ++i) pad[i] = (i < 32 ? key[i] : 0) ^ 0x36;
  Hasher().Add(pad, sizeof pad).Add(message.data(), message.size()).Finish(inner);
  for (uint8_t& byte : pad) byte ^= 0x36 ^ 0x5c;
  Hasher().Add(pad, sizeof pad).Add(inner, sizeof inner).Finish(out);
  OPENSSL_cleanse(pad, sizeof pad);
  OPENSSL_cleanse(inner, sizeof inner);
}

void AppendText(std::vector<uint8_t>* out, std::string_view text) { out->insert(out->end(), text.begin(), text.end()); }

}  // namespace

Secret32 DeriveKey(const Secret32& parent, std::initializer_list<std::string_view> labels) {
  std::vector<uint8_t> info;
  AppendText(&info, "countermark/v1");
  for (std::string_view label : labels) {
    if (label.size() <= 254) {
      info.push_back(static_cast<uint8_t>(label.size()));
      AppendText(&info, label);
    } else {
      info.push_back(255);
      const Digest32 digest = Sha256(label);
      info.insert(info.end(), digest.begin(), digest.end());
    }
  }
  info.push_back(1);   // RFC 5869, expand: T(1) = HMAC(PRK, info ‖ 0x01), and 32 bytes are one block
  static constexpr uint8_t kEmptySalt[32] = {};
  std::array<uint8_t, 32> prk, key;
  Hmac(kEmptySalt, {parent.Reveal(SecretAccess()), Secret32::kSize}, prk.data());
  Hmac(prk.data(), info, key.data());
  Secret32 derived(key);
  OPENSSL_cleanse(prk.data(), prk.size());
  OPENSSL_cleanse(key.data(), key.size());
  return derived;
}

Digest32 CommitToKey(const Digest32& salt, const Secret32& key, std::string_view canonical_record) {
  static constexpr std::string_view kDomain = "countermark/v1/commit";
  const Digest32 record = Sha256(canonical_record);
  Digest32 out;
  Hasher()
      .Add(kDomain.data(), kDomain.size())
      .Add(salt.data(), salt.size())
      .Add(key.Reveal(SecretAccess()), Secret32::kSize)
      .Add(record.data(), record.size())
      .Finish(out.data());
  return out;
}

Digest32 Sha256(std::span<const uint8_t> bytes) {
  Digest32 out;
  Hasher().Add(bytes.data(), bytes.size()).Finish(out.data());
  return out;
}

Digest32 Sha256(std::string_view bytes) {
  return Sha256(std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
}

}  // namespace countermark
