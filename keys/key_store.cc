#include "countermark/keys/key_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "keys/body.h"
#include "keys/container.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {

using keys_internal::ContainerType;
using keys_internal::StoreBody;
using keys_internal::StoredEpoch;

struct KeyStore::Body {
  StoreBody content;
  SecretBytes passphrase;   // each save draws a new salt, so a derived key would not do
  std::string header;       // of the file as it was last read or written; its salt and nonce tell one saved state from another
};

namespace {

SecretBytes Copy(const SecretBytes& secret) {
  const std::span<const uint8_t> bytes = secret.Reveal(SecretAccess());
  return SecretBytes(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

absl::Status CheckPassphrase(const SecretBytes& passphrase) {
  return passphrase.empty() ? absl::InvalidArgumentError("the passphrase is empty") : absl::OkStatus();
}

absl::StatusOr<std::string> Seal(const StoreBody& content, const SecretBytes& passphrase) {
  return keys_internal::SealContainer(ContainerType::kKeyStore, keys_internal::EncodeStoreBody(content), passphrase);
}

// The store's file, locked, and found to be in the state that `header` names. The lock is advisory and lives on the file itself: a
// writer that waited for it finds another file at the path once the first has renamed its own there.
absl::StatusOr<FileDescriptor> LockUnchanged(const std::string& path, const std::string& header) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(errno, "cannot open", path);
  while (flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) break;   // a file system without locks: the comparison below still stands
  }
  struct stat opened, named;
  std::string found(header.size(), '\0');
  CM_ASSIGN_OR_RETURN(const size_t n, ReadFully(fd.get(), {reinterpret_cast<uint8_t*>(found.data()), found.size()}, path));
  const bool same_file = fstat(fd.get(), &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
                         opened.st_dev == named.st_dev;
  if (!same_file || n != header.size() || found != header) {
    return absl::AbortedError(Cat("'", path, "' has been saved by another program since it was opened; run the command again"));
  }
  return fd;
}

// The public name of a key within its epoch, from which its salt is made.
std::string AccountName(std::string_view label) { return Cat("account:", label); }

}  // namespace

KeyStore::KeyStore(std::string path, std::unique_ptr<Body> body) : path_(std::move(path)), body_(std::move(body)) {}
KeyStore::KeyStore(KeyStore&&) noexcept = default;
KeyStore& KeyStore::operator=(KeyStore&&) noexcept = default;
KeyStore::~KeyStore() = default;

absl::StatusOr<KeyStore> KeyStore::Create(const std::string& path, const SecretBytes& passphrase, std::string_view tenant) {
  CM_RETURN_IF_ERROR(CheckPassphrase(passphrase));
  CM_RETURN_IF_ERROR(ValidateLabel("the tenant's name", tenant));
  auto body = std::make_unique<Body>(Body{{std::string(tenant), Secret32::Random(), {}, {}, std::nullopt}, Copy(passphrase), ""});
  CM_ASSIGN_OR_RETURN(const std::string file, Seal(body->content, passphrase));
  CM_RETURN_IF_ERROR(WriteFileExclusive(path, file));
  body->header = file.substr(0, keys_internal::kHeaderSize);
  return KeyStore(path, std::move(body));
}

absl::StatusOr<KeyStore> KeyStore::Open(const std::string& path, const SecretBytes& passphrase) {
  CM_ASSIGN_OR_RETURN(const std::string file, ReadPrivateFile(path, keys_internal::kMaxContainer));
  CM_ASSIGN_OR_RETURN(const SecretBytes opened, keys_internal::OpenContainer(file, ContainerType::kKeyStore, passphrase, path));
  CM_ASSIGN_OR_RETURN(StoreBody content, keys_internal::DecodeStoreBody(opened.Reveal(SecretAccess())));
  return KeyStore(path, std::make_unique<Body>(Body{std::move(content), Copy(passphrase), file.substr(0, keys_internal::kHeaderSize)}));
}

absl::Status KeyStore::Save() {
  CM_ASSIGN_OR_RETURN(const std::string file, Seal(body_->content, body_->passphrase));
  CM_ASSIGN_OR_RETURN(const FileDescriptor lock, LockUnchanged(path_, body_->header));
  CM_RETURN_IF_ERROR(ReplaceFileAtomically(path_, file));
  body_->header = file.substr(0, keys_internal::kHeaderSize);
  return absl::OkStatus();
}

const std::string& KeyStore::tenant() const { return body_->content.tenant; }
const std::vector<std::string>& KeyStore::accounts() const { return body_->content.accounts; }

std::vector<EpochRecord> KeyStore::epochs() const {
  std::vector<EpochRecord> records;
  for (const StoredEpoch& epoch : body_->content.epochs) records.push_back(epoch.record);
  return records;
}

absl::Status KeyStore::AddEpoch(EpochRecord record) {
  StoreBody& content = body_->content;
  record.tenant = content.tenant;
  CM_RETURN_IF_ERROR(record.Validate());
  for (const StoredEpoch& epoch : content.epochs) {
    if (epoch.record.epoch == record.epoch) return absl::AlreadyExistsError(Cat("the store already has an epoch '", record.epoch, "'"));
  }
  content.epochs.push_back({std::move(record), Secret32::Random()});
  return absl::OkStatus();
}

absl::Status KeyStore::AddAccounts(const std::vector<std::string>& labels) {
  CM_RETURN_IF_ERROR(keys_internal::CheckAccounts(labels));
  std::vector<std::string> all = body_->content.accounts;
  all.insert(all.end(), labels.begin(), labels.end());
  absl::Status status = keys_internal::CheckAccounts(all);
  if (absl::IsAlreadyExists(status)) {
    // Both lists are sound on their own, so the label is in each.
    for (const std::string& label : labels) {
      if (std::find(accounts().begin(), accounts().end(), label) != accounts().end()) {
        return absl::AlreadyExistsError(Cat("the store already has an account '", label, "'"));
      }
    }
  }
  CM_RETURN_IF_ERROR(status);
  body_->content.accounts = std::move(all);
  return absl::OkStatus();
}

absl::StatusOr<EpochKeys> KeyStore::Epoch(std::string_view name) const {
  const StoreBody& content = body_->content;
  std::string known;
  for (const StoredEpoch& epoch : content.epochs) {
    if (epoch.record.epoch == name) {
      return EpochKeys{epoch.record, DeriveEpochKey(content.master, content.tenant, name), content.accounts};
    }
    known += Cat(known.empty() ? "'" : ", '", epoch.record.epoch, "'");
  }
  return absl::NotFoundError(Cat("'", path_, "' has no epoch '", name, "'; it has ", known.empty() ? "none" : known));
}

absl::StatusOr<std::vector<KeyStore::Commitment>> KeyStore::Commitments(std::string_view name) const {
  CM_ASSIGN_OR_RETURN(const EpochKeys keys, Epoch(name));
  const std::vector<StoredEpoch>& epochs = body_->content.epochs;
  const Secret32 seed =
      std::find_if(epochs.begin(), epochs.end(), [&](const StoredEpoch& epoch) { return epoch.record.epoch == name; })->salt_seed;
  const std::string record = keys.record.CanonicalJson();
  std::vector<Commitment> commitments;
  const auto add = [&](std::string key_name, const Secret32& key) {
    const Secret32 derived = DeriveKey(seed, {"salt", key_name});
    Digest32 salt;   // a salt is shown with the key it belongs to; only the seed stays secret
    std::copy_n(derived.Reveal(SecretAccess()), salt.size(), salt.begin());
    commitments.push_back({std::move(key_name), salt, CommitToKey(salt, key, record)});
  };
  add("base", keys.Base());
  add("route", keys.Route());
  for (const std::string& label : keys.accounts) add(AccountName(label), keys.Account(label));
  return commitments;
}

absl::Status KeyStore::CreateSigningKey() {
  if (body_->content.signing_key.has_value()) return absl::AlreadyExistsError(Cat("'", path_, "' already has a signing key"));
  body_->content.signing_key = Secret32::Random();   // RFC 8032: an Ed25519 private key is 32 random bytes
  return absl::OkStatus();
}

absl::StatusOr<Secret32> KeyStore::SigningKey() const {
  if (!body_->content.signing_key.has_value()) {
    return absl::NotFoundError(Cat("'", path_, "' has no signing key; make one with watermark-keys signing-key"));
  }
  return *body_->content.signing_key;
}

absl::Status WriteBundle(const std::string& path, const EpochKeys& keys, const SecretBytes& passphrase) {
  CM_RETURN_IF_ERROR(CheckPassphrase(passphrase));
  CM_RETURN_IF_ERROR(keys.record.Validate());
  CM_RETURN_IF_ERROR(keys_internal::CheckAccounts(keys.accounts));
  CM_ASSIGN_OR_RETURN(const std::string file,
                      keys_internal::SealContainer(ContainerType::kBundle, keys_internal::EncodeBundleBody(keys), passphrase));
  return WriteFileExclusive(path, file);
}

absl::StatusOr<EpochKeys> OpenBundle(const std::string& path, const SecretBytes& passphrase) {
  CM_ASSIGN_OR_RETURN(const std::string file, ReadPrivateFile(path, keys_internal::kMaxContainer));
  CM_ASSIGN_OR_RETURN(const SecretBytes body, keys_internal::OpenContainer(file, ContainerType::kBundle, passphrase, path));
  return keys_internal::DecodeBundleBody(body.Reveal(SecretAccess()));
}

}  // namespace countermark
