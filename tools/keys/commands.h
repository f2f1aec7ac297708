// The subcommands of watermark-keys. Each lives in the file of its name: it adds its options to the program and says how it is run.
#ifndef COUNTERMARK_TOOLS_KEYS_COMMANDS_H_
#define COUNTERMARK_TOOLS_KEYS_COMMANDS_H_

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/keys/key_store.h"
#include "tools/cli/cli.h"
#include "tools/cli/passphrase.h"

namespace countermark::cli {

struct Command {
  CLI::App* app;                              // run if the user has chosen it
  std::function<absl::Status()> run;
};

Command AddInit(Program* program);
Command AddEpoch(Program* program);
Command AddAccount(Program* program);
Command AddList(Program* program);
Command AddBundle(Program* program);
Command AddExport(Program* program);
Command AddSigningKey(Program* program);

// --store and the passphrase options, which every subcommand has.
struct StoreOptions {
  std::string path;
  PassphraseOptions passphrase;

  void AddTo(CLI::App& app);
  // Asks for the passphrase and opens the store.
  absl::StatusOr<KeyStore> Open() const;
};

// "Examples:" and the lines, at the end of a subcommand's help.
void SetExamples(CLI::App* app, std::string_view lines);

}  // namespace countermark::cli

#endif  // COUNTERMARK_TOOLS_KEYS_COMMANDS_H_
