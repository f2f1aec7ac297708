// The key store: one encrypted file with the master key, the epochs' records, the registered accounts, the seeds of the commitments'
// salts and the signing key. Servers never see it; they get a bundle (an epoch's key and record, encrypted on its own).
//
//   CM_ASSIGN_OR_RETURN(KeyStore store, KeyStore::Create("keys.cmks", passphrase, "acme"));
//   store.AddEpoch(record);  store.AddAccounts({"org-1"});  store.Save();
#ifndef COUNTERMARK_KEYS_KEY_STORE_H_
#define COUNTERMARK_KEYS_KEY_STORE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/keys/derive.h"
#include "countermark/keys/epoch.h"
#include "countermark/keys/secret.h"

namespace countermark {

class KeyStore {
 public:
  KeyStore(KeyStore&&) noexcept;
  KeyStore& operator=(KeyStore&&) noexcept;
  ~KeyStore();

  // Makes a new file (O_EXCL, 0600) with a fresh master key. AlreadyExists if the path is taken.
  static absl::StatusOr<KeyStore> Create(const std::string& path, const SecretBytes& passphrase, std::string_view tenant);
  // PermissionDenied: wrong passphrase or an altered file (the two cannot be told apart); FailedPrecondition: readable by others;
  // DataLoss: not a key store, truncated, or a version this build does not know; NotFound.
  static absl::StatusOr<KeyStore> Open(const std::string& path, const SecretBytes& passphrase);
  // Replaces the file whole: written beside, fsynced, renamed, the folder fsynced. Old or new, never mixed. Aborted, with nothing
  // written, if another program has saved the file since this one opened it.
  absl::Status Save();

  const std::string& tenant() const;
  std::vector<EpochRecord> epochs() const;
  const std::vector<std::string>& accounts() const;

  // These change what is in memory; Save puts it on the disk.
  // The record's tenant is set to the store's. A seed is drawn from which every commitment of the epoch gets a salt of its own.
  // InvalidArgument (EpochRecord::Validate); AlreadyExists.
  absl::Status AddEpoch(EpochRecord record);
  // All of them or, on an error, none. InvalidArgument names the label's position; AlreadyExists the label.
  absl::Status AddAccounts(const std::vector<std::string>& labels);
  // NotFound names the epochs there are.
  absl::StatusOr<EpochKeys> Epoch(std::string_view epoch) const;

  struct Commitment {
    std::string name;   // "base", "route", "account:LABEL"
    Digest32 salt;
    Digest32 commitment;
  };
  // Base, route, then the accounts in the order they were added. Before publication many accounts are put under one hash by
  // MerkleRoot (merkle.h) over their commitments in this order.
  absl::StatusOr<std::vector<Commitment>> Commitments(std::string_view epoch) const;

  // The Ed25519 signing key of reports: a 32-byte seed (RFC 8032). AlreadyExists if there is one; NotFound if there is none.
  absl::Status CreateSigningKey();
  absl::StatusOr<Secret32> SigningKey() const;

 private:
  struct Body;
  KeyStore(std::string path, std::unique_ptr<Body> body);
  std::string path_;
  std::unique_ptr<Body> body_;
};

// A bundle: one epoch's key, record and account labels, encrypted under its own passphrase. O_EXCL 0600. Errors as KeyStore's.
absl::Status WriteBundle(const std::string& path, const EpochKeys& keys, const SecretBytes& passphrase);
absl::StatusOr<EpochKeys> OpenBundle(const std::string& path, const SecretBytes& passphrase);

// An exported epoch key: PATH holds 64 hex digits and a newline (0600), PATH + ".json" the canonical record (0644); both or neither are
// written. Reading without a record beside it: NotFound for the record alone, so that a caller can take the parameters from flags
// (ReadBareKey). What was read has no account labels. FailedPrecondition: readable by others; InvalidArgument: not 64 hex digits.
absl::Status WriteExport(const std::string& path, const EpochKeys& keys);
absl::StatusOr<EpochKeys> ReadExport(const std::string& path);
absl::StatusOr<Secret32> ReadBareKey(const std::string& path);

// Where a passphrase comes from: a file ("path"), a descriptor (number), or the terminal. Never argv, never the environment.
// A final newline is dropped; an empty passphrase is an error, as is one above 4096 bytes. A file that its group or others may read is
// refused (FailedPrecondition). With neither given, the terminal is asked, without echo; without a terminal that is a
// FailedPrecondition too. `prompt` is shown as it stands ("passphrase of keys.cmks: "); `confirm` asks twice at a terminal. Cancelled:
// the user pressed Ctrl-C. While it asks, SIGHUP, SIGINT, SIGQUIT and SIGTERM first put the terminal back and then do what they did before; where the
// process lives on after its own handler, that is Cancelled, too.
struct PassphraseSource {
  std::string file;
  int descriptor = -1;
};
absl::StatusOr<SecretBytes> ReadPassphrase(const PassphraseSource& source, std::string_view prompt, bool confirm = false);

}  // namespace countermark

#endif  // COUNTERMARK_KEYS_KEY_STORE_H_
