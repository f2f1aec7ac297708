#include "keys/container.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::keys_internal {
namespace {

constexpr std::string_view kMagic = "CMKEYS\r\n";
constexpr uint8_t kVersion = 1, kScrypt = 1, kAes256Gcm = 1;

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

template <typename Int>
Int Load(const char* p) {
  Int value = 0;
  for (size_t i = 0; i < sizeof(Int); ++i) value |= static_cast<Int>(static_cast<uint8_t>(p[i])) << (8 * i);
  return value;
}

template <typename Int>
void Append(std::string* out, Int value) {
  for (size_t i = 0; i < sizeof(Int); ++i) out->push_back(static_cast<char>(value >> (8 * i) & 0xFF));
}

const uint8_t* Bytes(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

std::string EncodeHeader(const ContainerHeader& header) {
  std::string out(kMagic);
  out.push_back(static_cast<char>(kVersion));
  out.push_back(static_cast<char>(header.type));
  out.push_back(static_cast<char>(kScrypt));
  out.push_back(static_cast<char>(kAes256Gcm));
  Append(&out, header.cost.n);
  Append(&out, header.cost.r);
  Append(&out, header.cost.p);
  out.append(reinterpret_cast<const char*>(header.salt), sizeof header.salt);
  out.append(reinterpret_cast<const char*>(header.nonce), sizeof header.nonce);
  Append(&out, header.body_size);
  return out;
}

bool CostIsBounded(const ScryptCost& cost) {
  // Each factor is bounded first, so that no product below can overflow.
  if (cost.n < 2 || cost.n > 1u << 20 || !std::has_single_bit(cost.n)) return false;
  if (cost.r < 1 || cost.r > 16 || cost.p < 1 || cost.p > 16) return false;
  const uint64_t blocks = uint64_t{cost.n} * cost.r;
  return 128 * blocks <= uint64_t{1} << 30 && blocks * cost.p <= uint64_t{1} << 23;
}

absl::StatusOr<Secret32> StretchPassphrase(const SecretBytes& passphrase, const ContainerHeader& header) {
  const std::span<const uint8_t> secret = passphrase.Reveal(SecretAccess());
  SecretBytes key(Secret32::kSize);
  const std::span<uint8_t> out = key.Mutable(SecretAccess());
  constexpr uint64_t kMaxMemory = (uint64_t{1} << 30) + (1 << 20);
  if (EVP_PBE_scrypt(reinterpret_cast<const char*>(secret.data()), secret.size(), header.salt, sizeof header.salt, header.cost.n,
                     header.cost.r, header.cost.p, kMaxMemory, out.data(), out.size()) != 1) {
    return absl::ResourceExhaustedError(Cat("scrypt found no memory for N=", header.cost.n, " r=", header.cost.r, " p=", header.cost.p));
  }
  return Secret32(out.first<Secret32::kSize>());
}

}  // namespace

absl::StatusOr<ContainerHeader> ParseContainerHeader(std::string_view file, ContainerType type, std::string_view name) {
  const std::string_view wanted = type == ContainerType::kKeyStore ? "key store" : "epoch bundle";
  const auto lost = [&](std::string_view why) { return absl::DataLossError(Cat("'", name, "' is no readable ", wanted, ": ", why)); };
  if (!file.starts_with(kMagic)) return lost("it does not begin with the magic bytes at byte 0");
  if (file.size() < kHeaderSize) return lost(Cat("it ends at byte ", file.size(), ", inside its header of ", kHeaderSize, " bytes"));
  const uint8_t* p = Bytes(file);
  if (p[8] != kVersion) return lost(Cat("it has version ", int{p[8]}, " (byte 8), and this build knows version 1"));
  if (p[9] != static_cast<uint8_t>(type)) {
    if (p[9] == static_cast<uint8_t>(ContainerType::kBundle)) return lost("it is an epoch bundle (byte 9)");
    if (p[9] == static_cast<uint8_t>(ContainerType::kKeyStore)) return lost("it is a key store (byte 9)");
    return lost(Cat("it has type ", int{p[9]}, " (byte 9), which this build does not know"));
  }
  if (p[10] != kScrypt) return lost(Cat("it has key derivation ", int{p[10]}, " (byte 10), which this build does not know"));
  if (p[11] != kAes256Gcm) return lost(Cat("it has cipher ", int{p[11]}, " (byte 11), which this build does not know"));
  ContainerHeader header;
  header.type = type;
  header.cost = {Load<uint32_t>(file.data() + 12), Load<uint32_t>(file.data() + 16), Load<uint32_t>(file.data() + 20)};
  if (!CostIsBounded(header.cost)) {
    return lost(Cat("it asks for scrypt N=", header.cost.n, " r=", header.cost.r, " p=", header.cost.p, " (bytes 12 to 23), outside what is allowed"));
  }
  std::copy_n(p + 24, sizeof header.salt, header.salt);
  std::copy_n(p + 56, sizeof header.nonce, header.nonce);
  header.body_size = Load<uint64_t>(file.data() + 68);
  if (header.body_size > kMaxBody) return lost(Cat("it claims a body of ", header.body_size, " bytes (byte 68)"));
  const uint64_t size = kHeaderSize + header.body_size + kTagSize;
  if (file.size() < size) return lost(Cat("it ends at byte ", file.size(), " of ", size));
  if (file.size() > size) return lost(Cat("it goes on after its end, byte ", size));
  return header;
}

absl::StatusOr<std::string> SealContainer(ContainerType type, const SecretBytes& body, const SecretBytes& passphrase, const ScryptCost& cost) {
  if (body.size() > kMaxBody) return absl::ResourceExhaustedError(Cat("the body has ", body.size(), " bytes, and may have ", kMaxBody));
  ContainerHeader header;
  header.type = type;
  header.cost = cost;
  header.body_size = body.size();
  if (RAND_bytes(header.salt, sizeof header.salt) != 1 || RAND_bytes(header.nonce, sizeof header.nonce) != 1) {
    return absl::UnavailableError("the system's random generator gave nothing");
  }
  CM_ASSIGN_OR_RETURN(const Secret32 key, StretchPassphrase(passphrase, header));
  std::string file = EncodeHeader(header);
  file.resize(kHeaderSize + body.size() + kTagSize);
  uint8_t* sealed = reinterpret_cast<uint8_t*>(file.data()) + kHeaderSize;
  const CipherContext context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  int n = 0;
  if (context == nullptr ||
      EVP_EncryptInit_ex2(context.get(), EVP_aes_256_gcm(), key.Reveal(SecretAccess()), header.nonce, nullptr) != 1 ||
      EVP_EncryptUpdate(context.get(), nullptr, &n, Bytes(file), static_cast<int>(kHeaderSize)) != 1 ||
      EVP_EncryptUpdate(context.get(), sealed, &n, body.Reveal(SecretAccess()).data(), static_cast<int>(body.size())) != 1 ||
      EVP_EncryptFinal_ex(context.get(), sealed + n, &n) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kTagSize), sealed + body.size()) != 1) {
    return absl::InternalError("AES-256-GCM failed to seal");
  }
  return file;
}

absl::StatusOr<SecretBytes> OpenContainer(std::string_view file, ContainerType type, const SecretBytes& passphrase, std::string_view name) {
  CM_ASSIGN_OR_RETURN(const ContainerHeader header, ParseContainerHeader(file, type, name));
  CM_ASSIGN_OR_RETURN(const Secret32 key, StretchPassphrase(passphrase, header));
  SecretBytes body(header.body_size);
  const uint8_t* sealed = Bytes(file) + kHeaderSize;
  uint8_t tag[kTagSize];
  std::copy_n(sealed + body.size(), kTagSize, tag);
  const CipherContext context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  int n = 0;
  uint8_t none[16];
  if (context == nullptr ||
      EVP_DecryptInit_ex2(context.get(), EVP_aes_256_gcm(), key.Reveal(SecretAccess()), header.nonce, nullptr) != 1 ||
      EVP_DecryptUpdate(context.get(), nullptr, &n, Bytes(file), static_cast<int>(kHeaderSize)) != 1 ||
      EVP_DecryptUpdate(context.get(), body.Mutable(SecretAccess()).data(), &n, sealed, static_cast<int>(body.size())) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(kTagSize), tag) != 1) {
    return absl::InternalError("AES-256-GCM failed to open");
  }
  if (EVP_DecryptFinal_ex(context.get(), none, &n) != 1) {
    return absl::PermissionDeniedError(Cat("'", name, "': wrong passphrase, or the file has been altered"));
  }
  return body;
}

}  // namespace countermark::keys_internal
