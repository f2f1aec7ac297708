#include "keys/body.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "keys/canonical_json.h"
#include "keys/secret_string.h"
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

// Reads what the encoders write, in the one order they write it. A general JSON parser would leave the keys in buffers of its own;
// this one copies nothing but labels and records.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : rest_(reinterpret_cast<const char*>(bytes.data()), bytes.size()) {}

  bool Take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  absl::Status Expect(std::string_view text) { return Take(text) ? absl::OkStatus() : Lost(Cat("where ", text, " is due, something else stands")); }

  absl::StatusOr<Secret32> Key() {
    CM_RETURN_IF_ERROR(Expect("\""));
    SecretBytes bytes(Secret32::kSize);
    const std::span<uint8_t> out = bytes.Mutable(SecretAccess());
    if (!HexDecodeInto(rest_.substr(0, 2 * Secret32::kSize), out)) return Lost("a key is not 64 hexadecimal digits");
    rest_.remove_prefix(2 * Secret32::kSize);
    CM_RETURN_IF_ERROR(Expect("\""));
    return Secret32(out.first<Secret32::kSize>());
  }

  // A label: no control character is allowed in one, so the only escapes are of the quote and the backslash.
  absl::StatusOr<std::string> Label() {
    CM_RETURN_IF_ERROR(Expect("\""));
    std::string label;
    for (size_t i = 0; i < rest_.size(); ++i) {
      if (rest_[i] == '"') {
        rest_.remove_prefix(i + 1);
        if (!ValidateLabel("label", label).ok()) break;
        return label;
      }
      if (rest_[i] == '\\' && (++i == rest_.size() || (rest_[i] != '"' && rest_[i] != '\\'))) break;
      label.push_back(rest_[i]);
    }
    return Lost("a label is not valid");
  }

  absl::StatusOr<std::vector<std::string>> Accounts() {
    CM_RETURN_IF_ERROR(Expect("{\"accounts\":["));
    std::vector<std::string> labels;
    while (!Take("]")) {
      if (!labels.empty()) CM_RETURN_IF_ERROR(Expect(","));
      CM_ASSIGN_OR_RETURN(std::string label, Label());
      labels.push_back(std::move(label));
    }
    if (!CheckAccounts(labels).ok()) return Lost("an account stands twice");
    return labels;
  }

  // The object up to the brace that closes it; a brace inside a string does not count.
  absl::StatusOr<EpochRecord> Record() {
    if (!rest_.starts_with('{')) return Lost("a record is not an object");
    size_t depth = 0, i = 0;
    bool in_string = false;
    for (; i < rest_.size(); ++i) {
      const char c = rest_[i];
      if (in_string) {
        if (c == '\\') ++i;
        in_string = c != '"';
      } else if (c == '"') {
        in_string = true;
      } else if (c == '{') {
        ++depth;
      } else if (c == '}' && --depth == 0) {
        break;
      }
    }
    if (i >= rest_.size()) return Lost("a record has no end");
    absl::StatusOr<EpochRecord> record = EpochRecord::Parse(rest_.substr(0, i + 1));
    if (!record.ok()) return Lost("a record is not valid");
    rest_.remove_prefix(i + 1);
    return record;
  }

 private:
  std::string_view rest_;
};

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

// Both decoders end by writing what they have read: one body has one spelling, that of a record within it included, and nothing may
// follow it.
absl::StatusOr<StoreBody> DecodeStoreBody(std::span<const uint8_t> bytes) {
  Reader reader(bytes);
  CM_ASSIGN_OR_RETURN(std::vector<std::string> accounts, reader.Accounts());
  CM_RETURN_IF_ERROR(reader.Expect(",\"epochs\":["));
  std::vector<StoredEpoch> epochs;
  std::unordered_set<std::string> names;
  while (!reader.Take("]")) {
    if (!epochs.empty()) CM_RETURN_IF_ERROR(reader.Expect(","));
    CM_RETURN_IF_ERROR(reader.Expect("{\"record\":"));
    CM_ASSIGN_OR_RETURN(EpochRecord record, reader.Record());
    CM_RETURN_IF_ERROR(reader.Expect(",\"salt_seed\":"));
    CM_ASSIGN_OR_RETURN(const Secret32 seed, reader.Key());
    CM_RETURN_IF_ERROR(reader.Expect("}"));
    if (!names.insert(record.epoch).second) return Lost("an epoch stands twice");
    epochs.push_back({std::move(record), seed});
  }
  CM_RETURN_IF_ERROR(reader.Expect(",\"format\":1,\"master\":"));
  CM_ASSIGN_OR_RETURN(const Secret32 master, reader.Key());
  CM_RETURN_IF_ERROR(reader.Expect(",\"signing_key\":"));
  std::optional<Secret32> signing_key;
  if (!reader.Take("null")) {
    CM_ASSIGN_OR_RETURN(signing_key, reader.Key());
  }
  CM_RETURN_IF_ERROR(reader.Expect(",\"tenant\":"));
  CM_ASSIGN_OR_RETURN(std::string tenant, reader.Label());
  for (const StoredEpoch& epoch : epochs) {
    if (epoch.record.tenant != tenant) return Lost("an epoch is of another tenant");
  }
  StoreBody body{std::move(tenant), master, std::move(accounts), std::move(epochs), signing_key};
  CM_RETURN_IF_ERROR(CheckSame(EncodeStoreBody(body), bytes));
  return body;
}

absl::StatusOr<EpochKeys> DecodeBundleBody(std::span<const uint8_t> bytes) {
  Reader reader(bytes);
  CM_ASSIGN_OR_RETURN(std::vector<std::string> accounts, reader.Accounts());
  CM_RETURN_IF_ERROR(reader.Expect(",\"epoch_key\":"));
  CM_ASSIGN_OR_RETURN(const Secret32 key, reader.Key());
  CM_RETURN_IF_ERROR(reader.Expect(",\"format\":1,\"record\":"));
  CM_ASSIGN_OR_RETURN(EpochRecord record, reader.Record());
  EpochKeys keys{std::move(record), key, std::move(accounts)};
  CM_RETURN_IF_ERROR(CheckSame(EncodeBundleBody(keys), bytes));
  return keys;
}

}  // namespace countermark::keys_internal
