#include "countermark/evidence/dsse.h"

#include <algorithm>
#include <optional>

#include "absl/strings/escaping.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/evidence/json.h"

namespace countermark {
namespace {

// Either alphabet, not both at once; padded; no space; the unused bits zero, so that a text has one meaning and a meaning one text.
std::optional<std::string> DecodeBase64(std::string_view text) {
  std::string standard(text);
  if (text.find_first_of("-_") != std::string_view::npos) {
    if (text.find_first_of("+/") != std::string_view::npos) return std::nullopt;
    std::replace(standard.begin(), standard.end(), '-', '+');
    std::replace(standard.begin(), standard.end(), '_', '/');
  }
  std::string bytes;
  if (!absl::Base64Unescape(standard, &bytes) || absl::Base64Escape(bytes) != standard) return std::nullopt;
  return bytes;
}

const std::string* StringMember(const nlohmann::json& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() || !it->is_string() ? nullptr : it->get_ptr<const std::string*>();
}

}  // namespace

std::string DssePae(std::string_view payload_type, std::string_view payload) {
  return Cat("DSSEv1 ", payload_type.size(), " ", payload_type, " ", payload.size(), " ", payload);
}

std::string SealEnvelope(std::string_view payload_type, std::string_view payload, const Secret32& ed25519_seed) {
  const Ed25519Signature signature = Ed25519Sign(ed25519_seed, DssePae(payload_type, payload));
  const std::string_view signature_bytes(reinterpret_cast<const char*>(signature.data()), signature.size());
  nlohmann::json envelope = {
      {"payload", absl::Base64Escape(AbslView(payload))},
      {"payloadType", std::string(payload_type)},
      {"signatures",
       nlohmann::json::array({nlohmann::json{{"keyid", Ed25519KeyId(Ed25519PublicKeyOf(ed25519_seed))},
                                             {"sig", absl::Base64Escape(AbslView(signature_bytes))}}})}};
  return CanonicalJson(envelope);
}

absl::StatusOr<std::string> OpenEnvelope(std::string_view envelope, std::string_view payload_type, const Ed25519PublicKey& public_key) {
  absl::StatusOr<nlohmann::json> parsed = ParseJson(envelope, {.max_bytes = kMaxEnvelopeBytes, .max_depth = 8, .max_values = 4096});
  if (!parsed.ok()) return absl::DataLossError(Cat("not a DSSE envelope: ", std::string_view(parsed.status().message().data(), parsed.status().message().size())));
  if (!parsed->is_object()) return absl::DataLossError("not a DSSE envelope: a JSON object is expected");
  const std::string* const payload_text = StringMember(*parsed, "payload");
  const std::string* const type = StringMember(*parsed, "payloadType");
  const auto signatures = parsed->find("signatures");
  if (payload_text == nullptr || type == nullptr || signatures == parsed->end() || !signatures->is_array()) {
    return absl::DataLossError("not a DSSE envelope: payload, payloadType and signatures are expected");
  }
  std::optional<std::string> payload = DecodeBase64(*payload_text);
  if (!payload) return absl::DataLossError("not a DSSE envelope: payload is not Base64");

  const std::string key_id = Ed25519KeyId(public_key);
  const std::string signed_bytes = DssePae(*type, *payload);
  bool named = false;
  bool good = false;
  for (const nlohmann::json& entry : *signatures) {
    if (!entry.is_object()) continue;
    const std::string* const entry_key = StringMember(entry, "keyid");
    const std::string* const entry_signature = StringMember(entry, "sig");
    if (entry_key == nullptr || entry_signature == nullptr || *entry_key != key_id) continue;
    named = true;
    const std::optional<std::string> bytes = DecodeBase64(*entry_signature);
    if (!bytes || bytes->size() != std::tuple_size_v<Ed25519Signature>) continue;
    Ed25519Signature signature;
    std::copy(bytes->begin(), bytes->end(), signature.begin());
    good = good || Ed25519Verify(public_key, signed_bytes, signature);
  }
  if (!named) return absl::PermissionDeniedError(Cat("no signature by the given key (", key_id, "): it was signed by another, or altered"));
  if (!good) return absl::PermissionDeniedError("the signature does not hold: the report was altered after it was signed, or is not from that signer");
  // After the signature, so that an altered type is called what it is.
  if (*type != payload_type) return absl::InvalidArgumentError(Cat("signed, but it is '", *type, "', not '", payload_type, "'"));
  return *std::move(payload);
}

}  // namespace countermark
