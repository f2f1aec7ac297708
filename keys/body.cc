#include "keys/body.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "keys/canonical_json.h"
#include "keys/secret_json.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::keys_internal {
namespace {

absl::Status Lost(std::string_view what) { return absl::DataLossError(Cat("the decrypted body is not of version 1: ", what)); }

void AppendKey(SecretString* out, const Secret32& key) {
  out->push_back('"');
  const size_t at = out->size();
  out->resize(at + 2 * Secret32::kSize);
  HexEncodeInto({key.Reveal(SecretAccess()), Secret32::kSize}, {out->data() + at, 2 * Secret32::kSize});
  out->push_back('"');
}

void AppendAccounts(SecretString* out, const std::vector<std::string>& accounts) {
  out->append("{\"accounts\":[");
  for (size_t i = 0; i < accounts.size(); ++i) {
    if (i > 0) out->push_back(',');
    AppendJsonString(out, accounts[i]);
  }
  out->push_back(']');
}

SecretBytes ToBytes(const SecretString& text) { return SecretBytes(std::string_view(text.data(), text.size())); }

// A member by name; null where it is missing, which no member of ours is save the signing key.
const SecretJson& Member(const SecretJson& object, const char* name) {
  static const SecretJson null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}

absl::StatusOr<Secret32> Key(const SecretJson& object, const char* name) {
  const SecretJson& value = Member(object, name);
  if (!value.is_string()) return Lost(Cat("\"", name, "\" is not a string"));
  const SecretString& digits = value.get_ref<const SecretString&>();
  SecretBytes bytes(Secret32::kSize);
  const std::span<uint8_t> out = bytes.Mutable(SecretAccess());
  if (!HexDecodeInto({digits.data(), digits.size()}, out)) return Lost(Cat("\"", name, "\" is not 64 hexadecimal digits"));
  return Secret32(out.first<Secret32::kSize>());
}

absl::StatusOr<std::string> Text(const SecretJson& value, const char* name) {
  if (!value.is_string()) return Lost(Cat("\"", name, "\" is not a string"));
  const SecretString& text = value.get_ref<const SecretString&>();
  return std::string(text.data(), text.size());
}

absl::StatusOr<std::vector<std::string>> Accounts(const SecretJson& object) {
  const SecretJson& array = Member(object, "accounts");
  if (!array.is_array()) return Lost("\"accounts\" is not an array");
  std::vector<std::string> labels;
  labels.reserve(array.size());
  for (const SecretJson& value : array) {
    CM_ASSIGN_OR_RETURN(std::string label, Text(value, "accounts"));
    labels.push_back(std::move(label));
  }
  if (!CheckAccounts(labels).ok()) return Lost("\"accounts\" holds a label that is not valid or stands twice");
  return labels;
}

absl::StatusOr<EpochRecord> Record(const SecretJson& object) {
  const SecretJson& value = Member(object, "record");
  if (!value.is_object()) return Lost("\"record\" is not an object");
  const SecretString text = value.dump();
  absl::StatusOr<EpochRecord> record = EpochRecord::Parse({text.data(), text.size()});
  if (!record.ok()) return Lost("a \"record\" is not valid");
  return record;
}

absl::Status CheckSame(const SecretBytes& written, std::span<const uint8_t> read) {
  const std::span<const uint8_t> bytes = written.Reveal(SecretAccess());
  if (std::equal(bytes.begin(), bytes.end(), read.begin(), read.end())) return absl::OkStatus();
  return Lost("it is not in canonical form");
}

}  // namespace

absl::Status CheckAccounts(const std::vector<std::string>& labels) {
  std::unordered_set<std::string_view> seen;
  seen.reserve(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    CM_RETURN_IF_ERROR(ValidateLabel(Cat("account label ", i + 1), labels[i]));
    if (!seen.insert(labels[i]).second) return absl::AlreadyExistsError(Cat("account '", labels[i], "' stands twice"));
  }
  return absl::OkStatus();
}

SecretBytes EncodeStoreBody(const StoreBody& body) {
  SecretString out;
  AppendAccounts(&out, body.accounts);
  out.append(",\"epochs\":[");
  for (size_t i = 0; i < body.epochs.size(); ++i) {
    out.append(i == 0 ? "{\"record\":" : ",{\"record\":");
    out.append(body.epochs[i].record.CanonicalJson());
    out.append(",\"salt_seed\":");
    AppendKey(&out, body.epochs[i].salt_seed);
    out.push_back('}');
  }
  out.append("],\"format\":1,\"master\":");
  AppendKey(&out, body.master);
  out.append(",\"signing_key\":");
  if (body.signing_key.has_value()) {
    AppendKey(&out, *body.signing_key);
  } else {
    out.append("null");
  }
  out.append(",\"tenant\":");
  AppendJsonString(&out, body.tenant);
  out.push_back('}');
  return ToBytes(out);
}

SecretBytes EncodeBundleBody(const EpochKeys& keys) {
  SecretString out;
  AppendAccounts(&out, keys.accounts);
  out.append(",\"epoch_key\":");
  AppendKey(&out, keys.epoch_key);
  out.append(",\"format\":1,\"record\":");
  out.append(keys.record.CanonicalJson());
  out.push_back('}');
  return ToBytes(out);
}

// Both decoders end by writing what they have read: whatever they have not looked at (other members, the order, a second member of
// one name, "format") would show there.
absl::StatusOr<StoreBody> DecodeStoreBody(std::span<const uint8_t> bytes) {
  const std::optional<SecretJson> json = ParseSecretJson(bytes);
  if (!json.has_value() || !json->is_object()) return Lost("it is not a JSON object");
  CM_ASSIGN_OR_RETURN(Secret32 master, Key(*json, "master"));
  CM_ASSIGN_OR_RETURN(std::string tenant, Text(Member(*json, "tenant"), "tenant"));
  if (!ValidateLabel("tenant", tenant).ok()) return Lost("\"tenant\" is not a valid label");
  CM_ASSIGN_OR_RETURN(std::vector<std::string> accounts, Accounts(*json));
  StoreBody body{std::move(tenant), master, std::move(accounts), {}, std::nullopt};
  const SecretJson& epochs = Member(*json, "epochs");
  if (!epochs.is_array()) return Lost("\"epochs\" is not an array");
  std::unordered_set<std::string> names;
  for (const SecretJson& value : epochs) {
    if (!value.is_object()) return Lost("an entry of \"epochs\" is not an object");
    CM_ASSIGN_OR_RETURN(EpochRecord record, Record(value));
    CM_ASSIGN_OR_RETURN(const Secret32 seed, Key(value, "salt_seed"));
    if (record.tenant != body.tenant) return Lost("an epoch is of another tenant");
    if (!names.insert(record.epoch).second) return Lost("an epoch stands twice");
    body.epochs.push_back({std::move(record), seed});
  }
  if (!Member(*json, "signing_key").is_null()) {
    CM_ASSIGN_OR_RETURN(body.signing_key, Key(*json, "signing_key"));
  }
  CM_RETURN_IF_ERROR(CheckSame(EncodeStoreBody(body), bytes));
  return body;
}

absl::StatusOr<EpochKeys> DecodeBundleBody(std::span<const uint8_t> bytes) {
  const std::optional<SecretJson> json = ParseSecretJson(bytes);
  if (!json.has_value() || !json->is_object()) return Lost("it is not a JSON object");
  CM_ASSIGN_OR_RETURN(const Secret32 key, Key(*json, "epoch_key"));
  CM_ASSIGN_OR_RETURN(EpochRecord record, Record(*json));
  CM_ASSIGN_OR_RETURN(std::vector<std::string> accounts, Accounts(*json));
  EpochKeys keys{std::move(record), key, std::move(accounts)};
  CM_RETURN_IF_ERROR(CheckSame(EncodeBundleBody(keys), bytes));
  return keys;
}

}  // namespace countermark::keys_internal
