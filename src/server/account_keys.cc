#include "src/server/account_keys.h"

#include "src/base/strings.h"

namespace countermark::server {

absl::StatusOr<Secret32> AccountKeys::KeyOf(std::string_view account) {
  if (const auto it = by_account_.find(account); it != by_account_.end()) {
    entries_.splice(entries_.begin(), entries_, it->second);
    return it->second->key;
  }
  if (!epoch_->HasAccount(account)) {
    return absl::NotFoundError(Cat("unknown account '", account.substr(0, 64), "' in epoch '", epoch_->keys.record.epoch,
                                   "'; register it with watermark-keys account add and open the epoch's new bundle"));
  }
  std::list<Entry> made;  // joins the others when nothing can fail any more
  made.push_front({std::string(account), epoch_->keys.Account(account)});
  by_account_.emplace(made.front().account, made.begin());
  entries_.splice(entries_.begin(), made);
  ++derived_;
  if (entries_.size() > capacity_) {
    by_account_.erase(entries_.back().account);
    entries_.pop_back();
  }
  return entries_.front().key;
}

}  // namespace countermark::server
