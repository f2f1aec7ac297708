#include "tools/verify/material.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "src/base/file.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

constexpr size_t kMaxKeyFile = size_t{1} << 20;

struct ContextFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

absl::StatusOr<RevealedKey> ParseRevealedKey(std::string_view line, const std::string& at) {
  // The names as they are read: the object itself would keep the last of two members of one name. A nested text cannot be deep here: anything but
  // three strings is refused, and a line is at most a mebibyte.
  std::vector<std::string> names;
  const auto note = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& name) {
    if (event == nlohmann::json::parse_event_t::key && depth == 1) names.push_back(name.get<std::string>());
    return true;
  };
  const nlohmann::json entry = nlohmann::json::parse(line, note, /*allow_exceptions=*/false);
  if (!entry.is_object()) return absl::InvalidArgumentError(Cat(at, ": a JSON object with name, key and salt is expected"));
  for (auto it = entry.begin(); it != entry.end(); ++it) {
    if (it.key() != "name" && it.key() != "key" && it.key() != "salt") return absl::InvalidArgumentError(Cat(at, ": only name, key and salt are known"));
    if (!it->is_string()) return absl::InvalidArgumentError(Cat(at, ": ", it.key(), " must be a string"));
  }
  if (!entry.contains("name") || !entry.contains("key")) return absl::InvalidArgumentError(Cat(at, ": name and key are needed"));
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) return absl::InvalidArgumentError(Cat(at, ": '", *twice, "' stands there twice"));
  std::array<uint8_t, Secret32::kSize> bytes;
  if (!HexDecodeInto(entry["key"].get_ref<const std::string&>(), bytes)) return absl::InvalidArgumentError(Cat(at, ": key: 64 hex digits are expected"));
  RevealedKey revealed{.name = entry["name"].get<std::string>(), .key = Secret32(bytes), .salt = std::nullopt};
  OPENSSL_cleanse(bytes.data(), bytes.size());
  if (entry.contains("salt")) {
    Digest32 salt;
    if (!HexDecodeInto(entry["salt"].get_ref<const std::string&>(), salt)) return absl::InvalidArgumentError(Cat(at, ": salt: 64 hex digits are expected"));
    revealed.salt = salt;
  }
  return revealed;
}

}  // namespace

absl::StatusOr<VerifyMaterial::File> HashFile(const std::string& path) {
  CM_ASSIGN_OR_RETURN(const FileDescriptor file, OpenForReading(path));
  const std::unique_ptr<EVP_MD_CTX, ContextFree> context(EVP_MD_CTX_new());
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) return absl::InternalError("SHA-256 is not available");
  std::vector<uint8_t> buffer(size_t{1} << 20);
  for (;;) {
    CM_ASSIGN_OR_RETURN(const size_t got, ReadFully(file.get(), buffer, path));
    if (got == 0) break;
    if (EVP_DigestUpdate(context.get(), buffer.data(), got) != 1) return absl::InternalError("SHA-256 failed");
  }
  Digest32 digest;
  if (EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1) return absl::InternalError("SHA-256 failed");
  return VerifyMaterial::File{.path = path, .sha256 = HexEncode(digest)};
}

absl::StatusOr<std::vector<RevealedKey>> ReadRevealedKeys(const std::string& path) {
  CM_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMaxKeyFile));
  std::vector<RevealedKey> keys;
  size_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    CM_ASSIGN_OR_RETURN(RevealedKey key, ParseRevealedKey(line, Cat(path, ":", line_number)));
    keys.push_back(std::move(key));
  }
  if (keys.empty()) return absl::InvalidArgumentError(Cat(path, ": no key in it"));
  return keys;
}

}  // namespace countermark
