// KeyStore: what changes it is on the disk when the call returns.
#include "countermark/keys/key_store.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>

#include "countermark/evidence/ed25519.h"
#include "countermark/keys/digest.h"
#include "countermark/tokenize/tokenizer.h"
#include "python/src/bindings.h"
#include "python/src/errors.h"
#include "python/src/passphrase.h"
#include "src/base/hex.h"
#include "src/base/strings.h"
#include "src/base/utc.h"

namespace countermark::python {
namespace {

using namespace nb::literals;
using Path = std::filesystem::path;

KeyStore Create(const Path& path, const std::string& tenant, const std::optional<Path>& file, std::optional<int> fd, const nb::object& function) {
  const SecretBytes passphrase = PassphraseOf(file, fd, function);
  absl::StatusOr<KeyStore> store = [&] {
    nb::gil_scoped_release unlocked;
    return KeyStore::Create(path.string(), passphrase, tenant);
  }();
  return ValueOrRaise(std::move(store));
}

KeyStore Open(const Path& path, const std::optional<Path>& file, std::optional<int> fd, const nb::object& function) {
  const SecretBytes passphrase = PassphraseOf(file, fd, function);
  absl::StatusOr<KeyStore> store = [&] {
    nb::gil_scoped_release unlocked;
    return KeyStore::Open(path.string(), passphrase);
  }();
  return ValueOrRaise(std::move(store));
}

// A day stands for its first second, or for its last where the epoch ends with it.
std::string CompleteTime(const std::string& text, const char* of_day) {
  constexpr size_t kDaySize = 10;
  return text.size() == kDaySize ? text + of_day : text;
}

EpochRecord AddEpoch(KeyStore& store, const std::string& name, const std::optional<Path>& tokenizer, const std::optional<std::string>& tokenizer_sha256,
                     std::optional<uint32_t> vocabulary, const std::string& scheme, int window, const std::map<std::string, double>& weights, int green, double delta,
                     int layers, const std::string& low_entropy, const std::optional<std::string>& first_use, const std::optional<std::string>& last_use) {
  EpochRecord record;
  record.epoch = name;
  record.mark = {ValueOrRaise(ParseScheme(scheme)), window, green, delta, layers};
  record.low_entropy = ValueOrRaise(ParseLowEntropyPolicy(low_entropy));
  std::string shares, names;  // in the one order that channels have
  for (const char* channel : {"base", "account", "request"}) {
    const auto found = weights.find(channel);
    if (found == weights.end()) continue;
    shares += (shares.empty() ? "" : ",") + nb::cast<std::string>(nb::str(nb::float_(found->second)));
    names += (names.empty() ? "" : ",") + found->first;
  }
  for (const auto& [channel, share] : weights) {
    if (channel != "base" && channel != "account" && channel != "request") Raise("InvalidArgumentError", Cat("'", channel, "' is no channel; there are base, account and request"));
  }
  record.channels = ValueOrRaise(ParseChannels(shares, names));
  constexpr time_t kYear = time_t{365} * 24 * 3600;
  const time_t now = time(nullptr);
  record.first_use = first_use ? CompleteTime(*first_use, "T00:00:00Z") : FormatUtc(now);
  record.last_use = last_use ? CompleteTime(*last_use, "T23:59:59Z") : FormatUtc(now + kYear);
  if (tokenizer.has_value() == tokenizer_sha256.has_value()) Raise("InvalidArgumentError", "give either tokenizer or tokenizer_sha256");
  if (tokenizer) {
    record.tokenizer_sha256 = HexEncode(ValueOrRaise(Sha256File(tokenizer->string())));
    if (!vocabulary) record.vocabulary = ValueOrRaise(OpenTokenizer(tokenizer->string()))->vocabulary();
  } else {
    record.tokenizer_sha256 = *tokenizer_sha256;
    if (!vocabulary) Raise("InvalidArgumentError", "vocabulary is required where there is no tokenizer to ask");
  }
  if (vocabulary) record.vocabulary = *vocabulary;
  RaiseIfError(store.AddEpoch(std::move(record)));
  RaiseIfError(store.Save());
  return ValueOrRaise(store.Epoch(name)).record;
}

void Bundle(const KeyStore& store, const std::string& epoch, const Path& path, const std::optional<Path>& file, std::optional<int> fd, const nb::object& function) {
  const EpochKeys keys = ValueOrRaise(store.Epoch(epoch));
  const SecretBytes passphrase = PassphraseOf(file, fd, function);
  const absl::Status status = [&] {
    nb::gil_scoped_release unlocked;
    return WriteBundle(path.string(), keys, passphrase);
  }();
  RaiseIfError(status);
}

std::string PublicKey(const KeyStore& store) { return Ed25519PublicKeyPem(Ed25519PublicKeyOf(ValueOrRaise(store.SigningKey()))); }

}  // namespace

void BindKeyStore(nb::module_& m) {
  auto store = nb::class_<KeyStore>(
      m, "KeyStore",
      "The encrypted file with the master key, the epochs, the accounts and the signing key. Every change is on the disk when the call returns.\n"
      "Cannot be printed, pickled or copied. One thread at a time.");
  store
      .def_static("create", &Create, "path"_a, nb::kw_only(), "tenant"_a, "passphrase_file"_a = nb::none(), "passphrase_fd"_a = nb::none(),
                  "passphrase_callback"_a = nb::none(),
                  nb::sig("def create(path: str | os.PathLike[str], *, tenant: str, " COUNTERMARK_PASSPHRASE_SIGNATURE ") -> KeyStore"),
                  "Makes a new file (0600) with a fresh master key. AlreadyExistsError if the path is taken.")
      .def_static("open", &Open, "path"_a, nb::kw_only(), "passphrase_file"_a = nb::none(), "passphrase_fd"_a = nb::none(), "passphrase_callback"_a = nb::none(),
                  nb::sig("def open(path: str | os.PathLike[str], *, " COUNTERMARK_PASSPHRASE_SIGNATURE ") -> KeyStore"),
                  "DeniedError: wrong passphrase, an altered file, or one that others may read. CorruptError: not a key store.")
      .def_prop_ro("tenant", [](const KeyStore& s) { return s.tenant(); })
      .def_prop_ro("epochs", [](const KeyStore& s) { return s.epochs(); })
      .def_prop_ro("accounts", [](const KeyStore& s) { return s.accounts(); })
      .def("add_epoch", &AddEpoch, "name"_a, nb::kw_only(), "tokenizer"_a = nb::none(), "tokenizer_sha256"_a = nb::none(), "vocabulary"_a = nb::none(),
           "scheme"_a = "gumbel", "window"_a = 2, "weights"_a = std::map<std::string, double>{{"base", 0.5}, {"account", 0.5}}, "green"_a = 64, "delta"_a = 2.0,
           "layers"_a = 30, "low_entropy"_a = "floor", "first_use"_a = nb::none(), "last_use"_a = nb::none(),
           nb::sig("def add_epoch(self, name: str, *, tokenizer: str | os.PathLike[str] | None = None, tokenizer_sha256: str | None = None, "
                   "vocabulary: int | None = None, scheme: str = 'gumbel', window: int = 2, "
                   "weights: collections.abc.Mapping[str, float] = {'base': 0.5, 'account': 0.5}, green: int = 64, delta: float = 2.0, layers: int = 30, "
                   "low_entropy: str = 'floor', first_use: str | None = None, last_use: str | None = None) -> EpochRecord"),
           "Adds an epoch, as `watermark-keys epoch` does. tokenizer: a SentencePiece model or GGUF, whose SHA-256 is kept, or that SHA-256 itself with the\n"
           "vocabulary's size. weights: each channel's share of the windows. Times are UTC, 2026-11-01 or 2026-11-01T00:00:00Z; by default now, and a year on.")
      .def(
          "add_accounts",
          [](KeyStore& s, const std::vector<std::string>& labels) {
            RaiseIfError(s.AddAccounts(labels));
            RaiseIfError(s.Save());
          },
          "labels"_a, nb::sig("def add_accounts(self, labels: collections.abc.Sequence[str]) -> None"), "All of them or, on an error, none.")
      .def("epoch_keys", [](const KeyStore& s, const std::string& epoch) { return ValueOrRaise(s.Epoch(epoch)); }, "epoch"_a, "What a detector is made from.")
      .def("bundle", &Bundle, "epoch"_a, "path"_a, nb::kw_only(), "passphrase_file"_a = nb::none(), "passphrase_fd"_a = nb::none(),
           "passphrase_callback"_a = nb::none(),
           nb::sig("def bundle(self, epoch: str, path: str | os.PathLike[str], *, " COUNTERMARK_PASSPHRASE_SIGNATURE ") -> None"),
           "Writes what a serving host gets, a new file (0600), encrypted under a passphrase of its own.")
      .def(
          "export", [](const KeyStore& s, const std::string& epoch, const Path& path) { RaiseIfError(WriteExport(path.string(), ValueOrRaise(s.Epoch(epoch)))); },
          "epoch"_a, "path"_a, nb::sig("def export(self, epoch: str, path: str | os.PathLike[str]) -> None"),
          "Writes the epoch's key in the clear (0600) and its record to PATH.json. Who reads the key can forge.")
      .def(
          "commitments",
          [](const KeyStore& s, const std::string& epoch) {
            nb::list out;
            for (const KeyStore::Commitment& c : ValueOrRaise(s.Commitments(epoch))) {
              out.append(nb::make_tuple(c.name, HexEncode(c.salt), HexEncode(c.commitment)));
            }
            return out;
          },
          "epoch"_a, nb::sig("def commitments(self, epoch: str) -> list[tuple[str, str, str]]"),
          "(name, salt, commitment) of every key: base, route, account:LABEL. Publish the commitments before the epoch's first use; keep the salts.")
      .def(
          "create_signing_key",
          [](KeyStore& s) {
            RaiseIfError(s.CreateSigningKey());
            RaiseIfError(s.Save());
            return PublicKey(s);
          },
          "Makes the key that signs reports; gives its public key (PEM). AlreadyExistsError if there is one.")
      .def_prop_ro("signing_public_key", &PublicKey, "PEM. NotFoundError if there is no signing key.")
      .def("__repr__", [](const KeyStore& s) { return Cat("<countermark.KeyStore of ", s.tenant(), ", ", s.epochs().size(), " epochs, ", s.accounts().size(), " accounts>"); });
  RefusePickle(store, "a key store is secret: it is neither pickled nor copied");
}

}  // namespace countermark::python
