// watermark-keys list: what the store holds. Everything printed is safe to log or to publish: no key and no salt.
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "countermark/evidence/ed25519.h"
#include "countermark/keys/merkle.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/cli/output.h"
#include "tools/keys/commands.h"

namespace countermark::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  StoreOptions store;
  bool json = false, commitments = false;
};

// An epoch's commitments as they are published: base and route on their own, the accounts each and as one root.
struct Published {
  std::vector<KeyStore::Commitment> all;
  Digest32 accounts_root{};
};

absl::StatusOr<Published> Publish(const KeyStore& store, const std::string& epoch) {
  Published published;
  CM_ASSIGN_OR_RETURN(published.all, store.Commitments(epoch));
  std::vector<Digest32> accounts;
  for (size_t i = 2; i < published.all.size(); ++i) accounts.push_back(published.all[i].commitment);
  published.accounts_root = MerkleRoot(accounts);
  return published;
}

Json ToJson(const Published& published) {
  Json accounts = Json::array();
  constexpr std::string_view kPrefix = "account:";
  for (size_t i = 2; i < published.all.size(); ++i) {
    accounts.push_back({{"account", published.all[i].name.substr(kPrefix.size())}, {"commitment", HexEncode(published.all[i].commitment)}});
  }
  return {{"base", HexEncode(published.all[0].commitment)},
          {"route", HexEncode(published.all[1].commitment)},
          {"accounts_root", HexEncode(published.accounts_root)},
          {"accounts", std::move(accounts)}};
}

absl::StatusOr<std::string> AsJson(const KeyStore& store, bool commitments) {
  Json json = {{"schema_version", 1}, {"tenant", store.tenant()}, {"epochs", Json::array()}, {"accounts", store.accounts()}, {"signing_key", nullptr}};
  for (const EpochRecord& record : store.epochs()) {
    Json epoch = {{"record", Json::parse(record.CanonicalJson())}, {"record_sha256", HexEncode(Sha256(record.CanonicalJson()))}};
    if (commitments) {
      CM_ASSIGN_OR_RETURN(const Published published, Publish(store, record.epoch));
      epoch["commitments"] = ToJson(published);
    }
    json["epochs"].push_back(std::move(epoch));
  }
  if (const absl::StatusOr<Secret32> seed = store.SigningKey(); seed.ok()) json["signing_key"] = Ed25519PublicKeyPem(Ed25519PublicKeyOf(*seed));
  return json.dump(2) + "\n";
}

std::string Percent(uint32_t weight) { return Cat((weight * 1000 + 32768) / 65536 / 10, ".", (weight * 1000 + 32768) / 65536 % 10, " %"); }

std::string Describe(const EpochRecord& record) {
  std::string out = Cat("epoch ", record.epoch, "\n  scheme       ", SchemeName(record.mark.scheme), ", window ", record.mark.window);
  if (record.mark.scheme == Scheme::kPartition) out += Cat(", green ", record.mark.green, "/256, delta ", record.mark.delta);
  if (record.mark.scheme == Scheme::kTournament) out += Cat(", ", record.mark.layers, " layers");
  out += "\n  channels     ";
  for (size_t i = 0; i < record.channels.size(); ++i) out += Cat(i == 0 ? "" : ", ", record.channels[i].name, " ", Percent(record.channels[i].weight));
  out += Cat("\n  tokenizer    SHA-256 ", record.tokenizer_sha256, ", ", record.vocabulary, " tokens\n  low entropy  ", LowEntropyPolicyName(record.low_entropy),
             "\n  use          ", record.first_use, " to ", record.last_use, "\n");
  return out;
}

absl::StatusOr<std::string> AsText(const KeyStore& store, bool commitments) {
  std::string out = Cat("tenant ", store.tenant(), "\n");
  for (const EpochRecord& record : store.epochs()) {
    out += Describe(record);
    if (!commitments) continue;
    CM_ASSIGN_OR_RETURN(const Published published, Publish(store, record.epoch));
    out += Cat("  commitments  Merkle root of ", published.all.size() - 2, " accounts ", HexEncode(published.accounts_root), "\n");
    for (const KeyStore::Commitment& commitment : published.all) out += Cat("    ", HexEncode(commitment.commitment), "  ", commitment.name, "\n");
  }
  out += Cat("accounts ", store.accounts().size(), "\n");
  if (!commitments) {
    for (const std::string& account : store.accounts()) out += Cat("  ", account, "\n");
  }
  out += Cat("signing key ", store.SigningKey().ok() ? "yes" : "no", "\n");
  return out;
}

absl::Status Run(const Options& options) {
  CM_ASSIGN_OR_RETURN(const KeyStore store, options.store.Open());
  CM_ASSIGN_OR_RETURN(const std::string text, options.json ? AsJson(store, options.commitments) : AsText(store, options.commitments));
  Output out = Output::Standard();
  CM_RETURN_IF_ERROR(out.Write(text));
  return out.Commit();
}

}  // namespace

Command AddList(Program* program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program->app().add_subcommand("list", "Shows epochs, accounts and commitments; no secret is printed.");
  options->store.AddTo(*app);
  app->add_flag("--json", options->json, "one JSON object");
  app->add_flag("--commitments", options->commitments, "the commitments to publish before an epoch's first use, and the Merkle root of the accounts'");
  SetExamples(app,
              "watermark-keys list --store keys.cmks\n"
              "watermark-keys list --store keys.cmks --commitments --json > commitments.json");
  return {app, [options] { return Run(*options); }};
}

}  // namespace countermark::cli
