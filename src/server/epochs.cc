#include "src/server/epochs.h"

#include <algorithm>
#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::server {

int64_t SecondsOf(std::string_view utc) {
  const auto number = [utc](size_t at, size_t digits) {
    int64_t n = 0;
    for (size_t i = at; i < at + digits && i < utc.size(); ++i) n = 10 * n + (utc[i] - '0');
    return n;
  };
  // Days since 1970-01-01, the years counted from March so that the leap day comes last.
  const int64_t month = number(5, 2), year = number(0, 4) - (month <= 2 ? 1 : 0);
  const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + number(8, 2) - 1;
  const int64_t days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719468;
  return 86400 * days + 3600 * number(11, 2) + 60 * number(14, 2) + number(17, 2);
}

OpenedEpoch::OpenedEpoch(EpochKeys opened)
    : keys(std::move(opened)), first_use(SecondsOf(keys.record.first_use)), last_use(SecondsOf(keys.record.last_use)),
      accounts_(keys.accounts.begin(), keys.accounts.end()) {
  std::sort(accounts_.begin(), accounts_.end());
}

absl::Status Epochs::Open(const std::string& path, const SecretBytes& passphrase) {
  CM_ASSIGN_OR_RETURN(EpochKeys keys, OpenBundle(path, passphrase));  // slow by design (scrypt), and outside the lock
  auto epoch = std::make_shared<const OpenedEpoch>(std::move(keys));
  const EpochRecord& record = epoch->keys.record;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& other : opened_) {
    if (other->keys.record.tenant != record.tenant) {
      return absl::InvalidArgumentError(Cat("'", path, "' is of tenant '", record.tenant, "', and the bundles opened before it are of '",
                                            other->keys.record.tenant, "'; keep the keys of two tenants apart"));
    }
    if (other->keys.record.epoch != record.epoch) continue;
    if (other->keys.record.CanonicalJson() != record.CanonicalJson() ||
        !Secret32::ConstantTimeEqual(other->keys.epoch_key, epoch->keys.epoch_key)) {
      return absl::InvalidArgumentError(
          Cat("epoch '", record.epoch, "' is open already, with another key or record than that of '", path, "'"));
    }
  }
  opened_.reserve(opened_.size() + 1);
  std::erase_if(opened_, [&](const auto& other) { return other->keys.record.epoch == record.epoch; });
  opened_.push_back(std::move(epoch));
  return absl::OkStatus();
}

std::shared_ptr<const OpenedEpoch> Epochs::Current() const {
  const int64_t now = now_();
  const std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<const OpenedEpoch> best;
  for (const auto& epoch : opened_) {
    if (epoch->first_use <= now && now <= epoch->last_use && (best == nullptr || epoch->first_use >= best->first_use)) best = epoch;
  }
  return best;
}

std::string Epochs::Describe() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string all;
  for (const auto& epoch : opened_) {
    const EpochRecord& record = epoch->keys.record;
    all += Cat(all.empty() ? "" : ", ", epoch->Name(), " (", record.first_use, " to ", record.last_use, ")");
  }
  return all.empty() ? "none" : all;
}

}  // namespace countermark::server
