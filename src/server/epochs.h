// The epoch bundles that a serving host has opened, and which of them a request beginning now gets.
//
//   Epochs epochs(now);
//   CM_RETURN_IF_ERROR(epochs.Open("2026-11.bundle", passphrase));
//   std::shared_ptr<const OpenedEpoch> epoch = epochs.Current();   // null: none is in use at this time
//
// May be used from many threads. An epoch lives as long as anybody holds it: requests keep theirs to their end.
#ifndef COUNTERMARK_SRC_SERVER_EPOCHS_H_
#define COUNTERMARK_SRC_SERVER_EPOCHS_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "countermark/keys/epoch.h"
#include "countermark/keys/key_store.h"

namespace countermark::server {

// Seconds since 1970 of a valid "2026-11-01T00:00:00Z" (proleptic Gregorian calendar, no leap seconds).
int64_t SecondsOf(std::string_view utc);

struct OpenedEpoch {
  explicit OpenedEpoch(EpochKeys opened);
  OpenedEpoch(const OpenedEpoch&) = delete;
  OpenedEpoch& operator=(const OpenedEpoch&) = delete;

  // Whether an account is registered, at once: a bundle may hold a million.
  bool HasAccount(std::string_view label) const { return std::binary_search(accounts_.begin(), accounts_.end(), label); }
  std::string Name() const { return keys.record.tenant + "/" + keys.record.epoch; }

  const EpochKeys keys;
  const int64_t first_use, last_use;  // both seconds are part of the epoch

 private:
  std::vector<std::string_view> accounts_;  // those of keys.accounts, sorted
};

class Epochs {
 public:
  using Clock = std::function<int64_t()>;  // seconds since 1970, UTC; from any thread
  explicit Epochs(Clock now) : now_(std::move(now)) {}

  // Errors as OpenBundle's. InvalidArgument: the bundle is of another tenant than those before it, or of an epoch that is open with another key or
  // record. The same epoch again replaces it: that is how a host learns of new accounts.
  absl::Status Open(const std::string& path, const SecretBytes& passphrase);

  // The epoch whose first and last use this second lies between; of several the one that started last, and of those the one opened last.
  std::shared_ptr<const OpenedEpoch> Current() const;

  // One line of what is open and when it is in use: "acme/2026-11 (2026-11-01T00:00:00Z to 2026-11-30T23:59:59Z)", or "none".
  std::string Describe() const;

 private:
  Clock now_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<const OpenedEpoch>> opened_;
};

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_EPOCHS_H_
