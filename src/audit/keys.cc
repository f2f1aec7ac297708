#include <algorithm>
#include <thread>
#include <unordered_set>

#include "countermark/audit/dataset.h"
#include "countermark/keys/derive.h"
#include "src/audit/parallel.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

// `labels` under one parent: DeriveKey(parent, {kind, label}).
absl::StatusOr<CandidateFamily> MakeFamily(const EpochRecord& record, std::string name, std::string of, std::string_view channel, std::string_view kind,
                                           const Secret32& parent, std::vector<std::string> labels, int threads) {
  CandidateFamily family;
  family.name = std::move(name);
  family.of = std::move(of);
  family.channel = record.ChannelIndex(channel);
  family.labels = std::move(labels);
  if (family.channel < 0) return absl::InvalidArgumentError(Cat(family.name, " were given, and this epoch has no ", channel, " channel"));
  std::unordered_set<std::string_view> seen;
  for (const std::string& label : family.labels) {
    CM_RETURN_IF_ERROR(ValidateLabel(Cat("a name among the ", family.name), label));
    if (!seen.insert(label).second) return absl::InvalidArgumentError(Cat("'", label, "' is named twice among the ", family.name));
  }
  family.keys.assign(family.labels.size(), parent);
  std::vector<std::thread> workers;
  const auto count = static_cast<size_t>(family.labels.size() < 4096 ? 1 : audit::ThreadsOr(threads));
  for (size_t t = 0; t < count; ++t) {
    workers.emplace_back([&family, &parent, kind, t, count] {
      for (size_t i = t; i < family.labels.size(); i += count) family.keys[i] = DeriveKey(parent, {kind, family.labels[i]});
    });
  }
  for (std::thread& worker : workers) worker.join();
  return family;
}

}  // namespace

std::string CandidateFamily::Digest() const {
  std::string all = name + "\n" + of + "\n";
  for (const std::string& label : labels) all += label + "\n";
  return HexEncode(Sha256(std::string_view(all)));
}

AuditKeys::AuditKeys(const EpochKeys& keys) : record(keys.record), epoch_key(keys.epoch_key), base(keys.Base()), route(keys.Route()) {
  for (const ChannelSpec& channel : record.channels) weights.push_back(channel.weight);
}

std::string AuditKeys::Fingerprint() const {
  const Secret32 key = DeriveKey(epoch_key, {"audit", "fingerprint"});
  return HexEncode(Sha256(std::span<const uint8_t>(key.Reveal(SecretAccess()), Secret32::kSize))).substr(0, 32);
}

absl::StatusOr<AuditKeys> AuditKeys::Create(const EpochKeys& keys, std::vector<std::string> accounts, std::string requests_of,
                                            std::vector<std::string> requests, int threads) {
  AuditKeys made(keys);
  if (!accounts.empty()) {
    CM_ASSIGN_OR_RETURN(CandidateFamily family, MakeFamily(keys.record, "accounts", "", "account", "account", keys.epoch_key, std::move(accounts), threads));
    made.families.push_back(std::move(family));
  }
  if (!requests.empty()) {
    CM_RETURN_IF_ERROR(ValidateLabel("the requests' account", requests_of));
    CM_ASSIGN_OR_RETURN(CandidateFamily family, MakeFamily(keys.record, "requests", requests_of, "request", "request", keys.Account(requests_of), std::move(requests), threads));
    made.families.push_back(std::move(family));
  }
  return made;
}

}  // namespace countermark
