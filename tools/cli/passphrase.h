// The options by which a passphrase reaches a program: a file, a descriptor, else the terminal. Never argv, never the environment.
//
//   cli::PassphraseOptions passphrase;
//   passphrase.AddTo(program.app());                     // --passphrase-file, --passphrase-fd
//   passphrase.AddTo(*bundle, "bundle-");                // --bundle-passphrase-file, --bundle-passphrase-fd
//   CM_ASSIGN_OR_RETURN(SecretBytes secret, ReadPassphrase(passphrase.source, "passphrase of keys.cmks: "));
#ifndef COUNTERMARK_TOOLS_CLI_PASSPHRASE_H_
#define COUNTERMARK_TOOLS_CLI_PASSPHRASE_H_

#include <string>

#include "CLI/CLI.hpp"
#include "countermark/keys/key_store.h"

namespace countermark::cli {

struct PassphraseOptions {
  PassphraseSource source;

  void AddTo(CLI::App& app, const std::string& prefix = "") {
    CLI::Option* file = app.add_option("--" + prefix + "passphrase-file", source.file, "file whose content is the passphrase (a final newline is dropped)");
    app.add_option("--" + prefix + "passphrase-fd", source.descriptor, "open descriptor to read the passphrase from")
        ->check(CLI::NonNegativeNumber)
        ->excludes(file)
        ->default_str("");
  }
};

}  // namespace countermark::cli

#endif  // COUNTERMARK_TOOLS_CLI_PASSPHRASE_H_
