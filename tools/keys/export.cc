// watermark-keys export: one epoch's key in the open, for a detector that has no key store.
#include <memory>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/keys/commands.h"

namespace countermark::cli {

Command AddExport(Program* program) {
  struct Options {
    StoreOptions store;
    std::string epoch, out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program->app().add_subcommand("export", "Writes one epoch's key, 64 hexadecimal digits (0600), and its record beside it, FILE.json.");
  options->store.AddTo(*app);
  app->add_option("--epoch", options->epoch, "which epoch")->required()->type_name("NAME");
  app->add_option("--out", options->out, "where to; neither it nor FILE.json may exist")->required()->type_name("FILE");
  SetExamples(app, "watermark-keys export --store keys.cmks --epoch 2026-11 --out 2026-11.key");
  return {app, [options, program] {
            CM_ASSIGN_OR_RETURN(const KeyStore store, options->store.Open());
            CM_ASSIGN_OR_RETURN(const EpochKeys keys, store.Epoch(options->epoch));
            CM_RETURN_IF_ERROR(WriteExport(options->out, keys));
            program->Note(Cat("wrote ", options->out, " and ", options->out, ".json; the key is not encrypted, and whoever has it can forge this epoch's marks"));
            return absl::OkStatus();
          }};
}

}  // namespace countermark::cli
