#include "tools/detect/setup.h"

#include <sys/stat.h>

#include <cerrno>
#include <string_view>

#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::detect_tool {
namespace {

constexpr size_t kMaxAccountsFile = size_t{256} << 20;

// Only a record that is not there is absent. One that cannot be looked at may say another mark than the flags or their defaults.
absl::StatusOr<bool> Exists(const std::string& path) {
  struct stat info = {};
  if (lstat(path.c_str(), &info) == 0) return true;  // a link that leads nowhere is for the reading to complain of
  if (errno == ENOENT) return false;
  return ErrnoStatus(errno, "cannot look for the record", path);
}

// A key without a record: the flags say how the texts are marked.
absl::StatusOr<EpochKeys> BareKey(const Options& o) {
  CM_ASSIGN_OR_RETURN(Secret32 key, ReadBareKey(o.epoch_key));
  if (!o.epoch.empty()) return absl::InvalidArgumentError(Cat("--epoch '", o.epoch, "' was given, and '", o.epoch_key, "' has no record that names one"));
  EpochRecord record;
  if (o.scheme) {
    CM_ASSIGN_OR_RETURN(record.mark.scheme, ParseScheme(*o.scheme));
  }
  if (o.weights) {
    CM_ASSIGN_OR_RETURN(record.channels, ParseChannels(*o.weights));
  }
  record.mark.window = o.window.value_or(record.mark.window);
  record.mark.green = o.green.value_or(record.mark.green);
  record.mark.layers = o.layers.value_or(record.mark.layers);
  record.mark.delta = o.delta.value_or(record.mark.delta);
  if (!(record.mark.delta > 0 && record.mark.delta <= 16)) return absl::InvalidArgumentError(Cat("delta is ", record.mark.delta, ", and must be above 0 and at most 16"));
  record.vocabulary = o.vocabulary.value_or(0);
  return EpochKeys{std::move(record), std::move(key), {}};
}

absl::Status Conflict(std::string_view flag, std::string_view given, std::string_view recorded) {
  return absl::InvalidArgumentError(Cat(flag, " ", given, " conflicts with the epoch record, which says ", recorded));
}

std::string WeightsText(const std::vector<ChannelSpec>& channels) {
  std::string text;
  for (const ChannelSpec& channel : channels) text += Cat(text.empty() ? "" : ", ", channel.name, " ", channel.weight, "/65536");
  return text;
}

// Flags may repeat what the record says and may say nothing else.
absl::Status CheckAgainstRecord(const Options& o, const EpochRecord& record) {
  const MarkParameters& mark = record.mark;
  if (o.scheme) {
    CM_ASSIGN_OR_RETURN(const Scheme scheme, ParseScheme(*o.scheme));
    if (scheme != mark.scheme) return Conflict("--scheme", *o.scheme, SchemeName(mark.scheme));
  }
  if (o.window && *o.window != mark.window) return Conflict("--window", Cat(*o.window), Cat(mark.window));
  if (o.green && *o.green != mark.green) return Conflict("--green", Cat(*o.green), Cat(mark.green));
  if (o.layers && *o.layers != mark.layers) return Conflict("--layers", Cat(*o.layers), Cat(mark.layers));
  if (o.delta && *o.delta != mark.delta) return Conflict("--delta", Cat(*o.delta), Cat(mark.delta));
  if (o.vocabulary && *o.vocabulary != record.vocabulary) return Conflict("--vocabulary", Cat(*o.vocabulary), Cat(record.vocabulary));
  if (o.weights) {
    CM_ASSIGN_OR_RETURN(const std::vector<ChannelSpec> channels, ParseChannels(*o.weights));
    bool equal = channels.size() == record.channels.size();
    for (size_t i = 0; equal && i < channels.size(); ++i) equal = channels[i].weight == record.channels[i].weight;
    if (!equal) return Conflict("--weights", *o.weights, WeightsText(record.channels));
  }
  if (!o.epoch.empty() && o.epoch != record.epoch) return Conflict("--epoch", Cat("'", o.epoch, "'"), Cat("'", record.epoch, "'"));
  return absl::OkStatus();
}

absl::StatusOr<KeyStore> OpenStore(const std::string& path, const Options& options) {
  CM_ASSIGN_OR_RETURN(SecretBytes passphrase, ReadPassphrase(options.passphrase.source, Cat("passphrase of ", path, ": ")));
  return KeyStore::Open(path, passphrase);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadLabels(const std::string& path) {
  CM_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMaxAccountsFile));
  std::vector<std::string> accounts;
  size_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    ++line;
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view name(text.data() + begin, end - begin);
    begin = end + 1;
    if (name.ends_with('\r')) name.remove_suffix(1);
    if (name.empty()) continue;
    const absl::Status valid = ValidateLabel("the name", name);
    if (!valid.ok()) return absl::InvalidArgumentError(Cat(path, ":", line, ": ", std::string(valid.message())));
    accounts.emplace_back(name);
  }
  if (accounts.empty()) return absl::InvalidArgumentError(Cat("'", path, "': no names in this file"));
  return accounts;
}

absl::StatusOr<LoadedKeys> LoadKeys(const Options& o) {
  std::optional<KeyStore> store;
  std::optional<EpochKeys> keys;
  bool has_record = true;
  if (!o.keystore.empty()) {
    CM_ASSIGN_OR_RETURN(store, OpenStore(o.keystore, o));
    CM_ASSIGN_OR_RETURN(keys, store->Epoch(o.epoch));
  } else if (!o.bundle.empty()) {
    CM_ASSIGN_OR_RETURN(SecretBytes passphrase, ReadPassphrase(o.passphrase.source, Cat("passphrase of ", o.bundle, ": ")));
    CM_ASSIGN_OR_RETURN(keys, OpenBundle(o.bundle, passphrase));
  } else {
    CM_ASSIGN_OR_RETURN(has_record, Exists(o.epoch_key + ".json"));
    CM_ASSIGN_OR_RETURN(keys, has_record ? ReadExport(o.epoch_key) : BareKey(o));
  }
  if (has_record) CM_RETURN_IF_ERROR(CheckAgainstRecord(o, keys->record));
  return LoadedKeys{std::move(store), has_record, *std::move(keys)};
}

namespace {

// Of several tokenizers one must be the epoch's: the mark is over its ids.
absl::StatusOr<std::vector<std::unique_ptr<Tokenizer>>> LoadTokenizers(const Options& o, bool has_record, EpochKeys* keys) {
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  if (o.tokenizers.size() <= 1) {
    Options one = o;
    one.tokenizer = o.tokenizers.empty() ? "" : o.tokenizers[0];
    CM_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, LoadTokenizer(one, has_record, keys));
    if (tokenizer != nullptr) tokenizers.push_back(std::move(tokenizer));
    return tokenizers;
  }
  bool of_epoch = !has_record;
  uint32_t vocabulary = 0;
  for (const std::string& path : o.tokenizers) {
    CM_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(path));
    for (size_t i = 0; i < tokenizers.size(); ++i) {
      if (tokenizers[i]->sha256() == tokenizer->sha256()) return absl::InvalidArgumentError(Cat("'", path, "' is the same tokenizer as '", o.tokenizers[i], "'"));
    }
    of_epoch = of_epoch || tokenizer->sha256() == keys->record.tokenizer_sha256;
    vocabulary = std::max(vocabulary, tokenizer->vocabulary());
    tokenizers.push_back(std::move(tokenizer));
  }
  if (!of_epoch) {
    return absl::InvalidArgumentError(Cat("none of the ", o.tokenizers.size(), " tokenizers is the epoch's, whose SHA-256 is ", keys->record.tokenizer_sha256));
  }
  if (!has_record && keys->record.vocabulary == 0) keys->record.vocabulary = vocabulary;
  return tokenizers;
}

std::vector<Reading> MakeReadings(const Options& o, const std::vector<std::unique_ptr<Tokenizer>>& tokenizers, const std::string& recorded_sha256) {
  std::vector<Reading> readings;
  for (size_t i = 0; i < std::max<size_t>(tokenizers.size(), 1); ++i) {
    for (const std::string& view : ViewNames(o)) {
      Reading reading;
      reading.cleaned = view == "cleaned";
      reading.ids = o.input.wants_ids();
      if (!tokenizers.empty()) reading.tokenizer = tokenizers[i].get();
      reading.of_epoch = tokenizers.size() <= 1 || recorded_sha256.empty() || tokenizers[i]->sha256() == recorded_sha256;
      reading.name = tokenizers.size() > 1 ? Cat(view, ", tokenizer ", i + 1) : view;
      readings.push_back(std::move(reading));
    }
  }
  return readings;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const Options& o, bool has_record, EpochKeys* keys) {
  std::unique_ptr<Tokenizer> tokenizer;
  if (!o.tokenizer.empty()) {
    CM_ASSIGN_OR_RETURN(tokenizer, OpenTokenizer(o.tokenizer));
    const std::string& recorded = keys->record.tokenizer_sha256;
    if (has_record && recorded != tokenizer->sha256()) {
      return absl::InvalidArgumentError(
          Cat("'", o.tokenizer, "' is not the epoch's tokenizer: its SHA-256 is ", tokenizer->sha256(), ", and the epoch record says ", recorded));
    }
    if (!has_record && keys->record.vocabulary == 0) keys->record.vocabulary = tokenizer->vocabulary();
  }
  return tokenizer;
}

absl::StatusOr<Setup> MakeSetup(const Options& o) {
  CM_ASSIGN_OR_RETURN(LoadedKeys loaded, LoadKeys(o));
  std::optional<KeyStore>& store = loaded.store;
  EpochKeys& keys = loaded.keys;
  if (!o.report.empty()) {
    if (!o.signing_keystore.empty()) {
      CM_ASSIGN_OR_RETURN(store, OpenStore(o.signing_keystore, o));
    }
    CM_RETURN_IF_ERROR(store->SigningKey().status());  // before the work, not after it
  }

  std::vector<std::string> accounts = o.accounts;
  if (!o.accounts_file.empty()) {
    CM_ASSIGN_OR_RETURN(accounts, ReadLabels(o.accounts_file));
  }
  if (o.registered_accounts) {
    accounts = keys.accounts;
    if (accounts.empty()) return absl::InvalidArgumentError("--registered-accounts: no accounts are registered there");
  }

  CM_ASSIGN_OR_RETURN(std::vector<std::unique_ptr<Tokenizer>> tokenizers, LoadTokenizers(o, loaded.has_record, &keys));
  std::vector<Reading> readings = MakeReadings(o, tokenizers, loaded.has_record ? keys.record.tokenizer_sha256 : "");
  CM_ASSIGN_OR_RETURN(Detector detector, Detector::Create(keys, std::move(accounts)));
  std::unique_ptr<EntropyModel> weights;
  if (!o.weights_model.empty()) {
    CM_ASSIGN_OR_RETURN(weights, EntropyModel::Open(o.weights_model, {.threads = o.threads}));
  }
  return Setup{std::move(store), loaded.has_record, std::move(keys.accounts), std::move(tokenizers), std::move(readings), std::move(detector), std::move(weights)};
}

}  // namespace countermark::detect_tool
