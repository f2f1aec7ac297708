// watermark-keys bundle: one epoch's key and record, encrypted for the hosts that serve, which never see the master key.
#include <memory>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/keys/commands.h"

namespace countermark::cli {

Command AddBundle(Program* program) {
  struct Options {
    StoreOptions store;
    PassphraseOptions bundle_passphrase;
    std::string epoch, out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program->app().add_subcommand("bundle", "Writes an encrypted epoch bundle for serving hosts: one epoch's key, record and accounts, never the master key.");
  options->store.AddTo(*app);
  app->add_option("--epoch", options->epoch, "which epoch")->required()->type_name("NAME");
  app->add_option("--out", options->out, "where to; must not exist")->required()->type_name("FILE");
  options->bundle_passphrase.AddTo(*app, "bundle-");
  SetExamples(app,
              "watermark-keys bundle --store keys.cmks --epoch 2026-11 --out 2026-11.cmkb\n"
              "watermark-keys bundle --store keys.cmks --passphrase-file master.txt --epoch 2026-11 --out 2026-11.cmkb --bundle-passphrase-file hosts.txt");
  return {app, [options, program] {
            CM_ASSIGN_OR_RETURN(const KeyStore store, options->store.Open());
            CM_ASSIGN_OR_RETURN(const EpochKeys keys, store.Epoch(options->epoch));
            CM_ASSIGN_OR_RETURN(const SecretBytes secret, ReadPassphrase(options->bundle_passphrase.source,
                                                                         Cat("new passphrase of ", options->out, ": "), /*confirm=*/true));
            CM_RETURN_IF_ERROR(WriteBundle(options->out, keys, secret));
            program->Note(Cat("wrote ", options->out, ": epoch '", options->epoch, "', ", keys.accounts.size(),
                              keys.accounts.size() == 1 ? " account" : " accounts"));
            return absl::OkStatus();
          }};
}

}  // namespace countermark::cli
