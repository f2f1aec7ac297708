// The derived keys of the accounts that were asked for last: bounded, and wiped when they go.
//
//   AccountKeys accounts(epoch, 4096);
//   CM_ASSIGN_OR_RETURN(Secret32 key, accounts.KeyOf("org-1"));   // NotFound: not registered in the epoch
//
// Deriving takes four hashes; a request that begins for an account seen lately takes none. One thread at a time.
#ifndef COUNTERMARK_SRC_SERVER_ACCOUNT_KEYS_H_
#define COUNTERMARK_SRC_SERVER_ACCOUNT_KEYS_H_

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/status/statusor.h"
#include "countermark/keys/secret.h"
#include "src/server/epochs.h"

namespace countermark::server {

class AccountKeys {
 public:
  // Keeps at most `capacity` ≥ 1 keys; the one that was asked for longest ago goes first.
  AccountKeys(std::shared_ptr<const OpenedEpoch> epoch, size_t capacity) : epoch_(std::move(epoch)), capacity_(capacity) {}

  absl::StatusOr<Secret32> KeyOf(std::string_view account);

  size_t size() const { return entries_.size(); }
  size_t derived() const { return derived_; }  // keys derived so far, those that have gone again included

 private:
  struct Entry {
    std::string account;
    Secret32 key;  // wipes itself
  };
  std::shared_ptr<const OpenedEpoch> epoch_;
  size_t capacity_;
  size_t derived_ = 0;
  std::list<Entry> entries_;  // the latest first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_account_;  // keyed by what the entries hold; survives a lack of memory
};

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_ACCOUNT_KEYS_H_
