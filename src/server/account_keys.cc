#include "src/server/account_keys.h"

#include "src/base/strings.h"

namespace countermark::server {

absl::StatusOr<Secret32> AccountKeys::KeyOf(std::string_view account) {
  if (const auto it = by_account_.find(AbslView(account)); it != by_account_.end()) {
    entries_.splice(entries_.begin(), entries_, it->second);
    return it->second->key;
  }
  if (!epoch_->HasAccount(account)) {
    return absl::NotFoundError(Cat("unknown account '", account.substr(0, 64), "' in epoch '", epoch_->keys.record.epoch,
                                   "'; register it with watermark-keys account add and open the epoch's new bundle"));
  }
  ++derived_;
  entries_.push_front({std::string(account), epoch_->keys.Account(account)});
  by_account_[absl::string_view(entries_.front().account)] = entries_.begin();
  if (entries_.size() > capacity_) {
    by_account_.erase(absl::string_view(entries_.back().account));
    entries_.pop_back();
  }
  return entries_.front().key;
}

}  // namespace countermark::server
