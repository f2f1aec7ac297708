// DSSE envelopes, version 1 (github.com/secure-systems-lab/dsse): a payload, its type, and signatures over both.
//
//   CM_ASSIGN_OR_RETURN(std::string payload, OpenEnvelope(envelope, "application/vnd.countermark.report+json", key));
#ifndef COUNTERMARK_EVIDENCE_DSSE_H_
#define COUNTERMARK_EVIDENCE_DSSE_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "countermark/evidence/ed25519.h"
#include "countermark/keys/secret.h"

namespace countermark {

// What is signed: "DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload, LEN in ASCII decimal (protocol.md, PAE).
std::string DssePae(std::string_view payload_type, std::string_view payload);

// {"payload":BASE64,"payloadType":TYPE,"signatures":[{"keyid":HEX,"sig":BASE64}]}, one line without a line end.
std::string SealEnvelope(std::string_view payload_type, std::string_view payload, const Secret32& ed25519_seed);

// The payload, once a signature whose keyid is that key's holds over it. Base64 standard or URL-safe, always padded and minimal; members
// that DSSE does not name are passed over, as its specification demands. DataLoss: not an envelope (too deep, too large, truncated); InvalidArgument: another payload
// type; PermissionDenied: no signature by that key, or one that does not hold. Nothing of the payload is parsed before the signature holds.
absl::StatusOr<std::string> OpenEnvelope(std::string_view envelope, std::string_view payload_type, const Ed25519PublicKey& public_key);

inline constexpr size_t kMaxEnvelopeBytes = size_t{256} << 20;

}  // namespace countermark

#endif  // COUNTERMARK_EVIDENCE_DSSE_H_
