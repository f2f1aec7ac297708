// watermark-keys init: a new key store with a fresh master key.
#include <memory>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/keys/commands.h"

namespace countermark::cli {

Command AddInit(Program* program) {
  struct Options {
    StoreOptions store;
    std::string tenant;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program->app().add_subcommand("init", "Makes a new key store with a fresh master key.");
  options->store.AddTo(*app);
  app->add_option("--tenant", options->tenant, "whose keys these are; part of every key's derivation")->required()->type_name("NAME");
  SetExamples(app,
              "watermark-keys init --store keys.cmks --tenant acme\n"
              "watermark-keys init --store keys.cmks --tenant acme --passphrase-file passphrase.txt\n"
              "pass show acme/marks | watermark-keys init --store keys.cmks --tenant acme --passphrase-fd 0");
  return {app, [options, program] {
            const StoreOptions& store = options->store;
            CM_ASSIGN_OR_RETURN(const SecretBytes secret,
                                ReadPassphrase(store.passphrase.source, Cat("new passphrase of ", store.path, ": "), /*confirm=*/true));
            CM_RETURN_IF_ERROR(KeyStore::Create(store.path, secret, options->tenant).status());
            program->Note(Cat("made ", store.path, "; whoever has it and its passphrase can forge every mark of '", options->tenant,
                              "', and without them no text can be proved: keep a copy of both, apart"));
            return absl::OkStatus();
          }};
}

}  // namespace countermark::cli
