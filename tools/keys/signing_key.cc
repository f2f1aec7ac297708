// watermark-keys signing-key: the Ed25519 key that signs reports, kept in the store, and its public half for those who verify.
#include <unistd.h>

#include <memory>

#include "countermark/evidence/ed25519.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/cli/output.h"
#include "tools/keys/commands.h"

namespace countermark::cli {
namespace {

struct Options {
  StoreOptions store;
  std::string public_out = "-";
};

absl::Status Run(const Options& options, Program* program) {
  CM_ASSIGN_OR_RETURN(KeyStore store, options.store.Open());
  const bool fresh = absl::IsNotFound(store.SigningKey().status());
  if (fresh) CM_RETURN_IF_ERROR(store.CreateSigningKey());
  CM_ASSIGN_OR_RETURN(const Secret32 seed, store.SigningKey());
  const std::string pem = Ed25519PublicKeyPem(Ed25519PublicKeyOf(seed));
  const bool to_file = options.public_out != "-";
  // The file first: a store must not come to hold a key because of a command that failed.
  if (to_file) CM_RETURN_IF_ERROR(WriteFileExclusive(options.public_out, pem, 0644));
  if (fresh) {
    const absl::Status saved = store.Save();
    if (!saved.ok()) {
      if (to_file) unlink(options.public_out.c_str());
      return saved;
    }
  }
  program->Note(fresh ? "made the signing key" : "the store already had its signing key");
  if (to_file) return absl::OkStatus();
  Output out = Output::Standard();
  CM_RETURN_IF_ERROR(out.Write(pem));
  return out.Commit();
}

}  // namespace

Command AddSigningKey(Program* program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program->app().add_subcommand("signing-key", "Makes the Ed25519 key that signs reports, if the store has none, and writes its public half (PEM).");
  options->store.AddTo(*app);
  app->add_option("--public-out", options->public_out, "where the public key goes, - for standard output")->type_name("FILE");
  SetExamples(app, "watermark-keys signing-key --store keys.cmks --public-out signing.pem");
  return {app, [options, program] { return Run(*options, program); }};
}

}  // namespace countermark::cli
