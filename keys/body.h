// What stands inside a key store and a bundle: canonical JSON, read back only in the exact bytes that would be written.
//
//   key store: {"accounts":["org-1",…],"epochs":[{"record":{…},"salt_seed":"64 hex"},…],"format":1,"master":"64 hex",
//               "signing_key":"64 hex" (or null),"tenant":"acme"}
//   bundle:    {"accounts":["org-1",…],"epoch_key":"64 hex","format":1,"record":{…}}
//
// A key's commitment salt = DeriveKey(salt_seed, {"salt", NAME}), NAME = "base", "route" or "account:LABEL": one seed an epoch serves
// a million accounts, and a salt that is shown tells nothing of another.
#ifndef COUNTERMARK_KEYS_BODY_H_
#define COUNTERMARK_KEYS_BODY_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/keys/epoch.h"
#include "countermark/keys/secret.h"

namespace countermark::keys_internal {

struct StoredEpoch {
  EpochRecord record;
  Secret32 salt_seed;
};

struct StoreBody {
  std::string tenant;
  Secret32 master;
  std::vector<std::string> accounts;
  std::vector<StoredEpoch> epochs;
  std::optional<Secret32> signing_key;
};

SecretBytes EncodeStoreBody(const StoreBody& body);
SecretBytes EncodeBundleBody(const EpochKeys& keys);

// DataLoss for anything but what the encoders write. The text of an error never quotes the body.
absl::StatusOr<StoreBody> DecodeStoreBody(std::span<const uint8_t> bytes);
absl::StatusOr<EpochKeys> DecodeBundleBody(std::span<const uint8_t> bytes);

// Valid labels, none twice. InvalidArgument, AlreadyExists.
absl::Status CheckAccounts(const std::vector<std::string>& labels);

}  // namespace countermark::keys_internal

#endif  // COUNTERMARK_KEYS_BODY_H_
