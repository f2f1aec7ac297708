// An epoch: the public record of how its texts are marked, and the secret key they are marked with.
#ifndef COUNTERMARK_KEYS_EPOCH_H_
#define COUNTERMARK_KEYS_EPOCH_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/keys/secret.h"
#include "countermark/mark/scheme.h"

namespace countermark {

// One of the mark keys that share an output. Its weight is its share of windows, in 1/65536.
struct ChannelSpec {
  std::string name;     // "base", "account" or "request"
  uint32_t weight = 0;  // the weights of an epoch sum to 65536
};

// What a request is given that asks for (nearly) no randomness, where no mark can live.
enum class LowEntropyPolicy { kFloor, kDeny, kAllow };

// Everything a detector must know of an epoch. Canonical JSON (RFC 8785); its SHA-256 goes into every key's commitment.
struct EpochRecord {
  int format = 1;
  std::string tenant;
  std::string epoch;
  MarkParameters mark;
  std::vector<ChannelSpec> channels = {{"base", 32768}, {"account", 32768}};
  uint32_t vocabulary = 0;         // tokens, the padded rows of a model not counted
  std::string tokenizer_sha256;    // of the tokenizer file, 64 hex digits
  LowEntropyPolicy low_entropy = LowEntropyPolicy::kFloor;
  std::string first_use;           // UTC, RFC 3339 to the second: 2026-11-01T00:00:00Z
  std::string last_use;

  // The one canonical form. {"channels":[{"name":"base","weight":32768},…],"delta":2,"epoch":…,"first_use":…,"format":1,"green":64,
  // "last_use":…,"layers":30,"low_entropy":"floor","scheme":"gumbel","tenant":…,"tokenizer_sha256":…,"vocabulary":…,"window":2}
  // delta has at most three decimals, so that its shortest form is the canonical one.
  std::string CanonicalJson() const;
  // Reads any JSON of that shape; unknown, missing or ill-typed members and values out of range are errors that name the member.
  static absl::StatusOr<EpochRecord> Parse(std::string_view json);
  absl::Status Validate() const;
  // The position of the channel of that name, or −1.
  int ChannelIndex(std::string_view name) const;
};

absl::StatusOr<Scheme> ParseScheme(std::string_view name);   // "partition", "tournament", "gumbel"
std::string_view SchemeName(Scheme scheme);
absl::StatusOr<LowEntropyPolicy> ParseLowEntropyPolicy(std::string_view name);   // "floor", "deny", "allow"
std::string_view LowEntropyPolicyName(LowEntropyPolicy policy);

// Channels from what an operator types: decimal shares ("0.4,0.4,0.2") and, optionally, names ("base,account,request"; by default the
// first so many of base, account, request). A share becomes round(65536·share), the last channel takes the rest, so that the weights
// sum to 65536. InvalidArgument if the shares do not sum to 1 (within 0.001), one is not above 0, or the counts differ.
absl::StatusOr<std::vector<ChannelSpec>> ParseChannels(std::string_view weights, std::string_view names = "");

// A tenant, epoch or account label: 1 to 1024 bytes of UTF-8 without control, formatting or invisible characters and without blanks at
// its ends, so that two labels that print alike are rarer; forms of the same letter (NFC, NFD, homoglyphs) are different labels. `what` names it in the error.
absl::Status ValidateLabel(std::string_view what, std::string_view label);

// An epoch's key with its record: what hooks and detectors are made from, wherever it was read (key store, bundle, exported file).
struct EpochKeys {
  EpochRecord record;
  Secret32 epoch_key;
  std::vector<std::string> accounts;  // the registered account labels, in the order they were added; may be empty in an export

  Secret32 Base() const;
  Secret32 Route() const;
  Secret32 Account(std::string_view label) const;
  bool HasAccount(std::string_view label) const;
};

}  // namespace countermark

#endif  // COUNTERMARK_KEYS_EPOCH_H_
