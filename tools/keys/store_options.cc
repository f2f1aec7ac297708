#include <algorithm>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/keys/commands.h"

namespace countermark::cli {

void StoreOptions::AddTo(CLI::App& app) {
  app.add_option("--store", path, "key store file")->required()->type_name("FILE");
  passphrase.AddTo(app);
}

absl::StatusOr<KeyStore> StoreOptions::Open() const {
  CM_ASSIGN_OR_RETURN(const SecretBytes secret, ReadPassphrase(passphrase.source, Cat("passphrase of ", path, ": ")));
  return KeyStore::Open(path, secret);
}

void SetExamples(CLI::App* app, std::string_view lines) {
  std::string footer = "Examples:";
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    footer += Cat("\n  ", lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  app->footer(footer);
}

}  // namespace countermark::cli
