// watermark-keys: makes and keeps the keys that marks are made with.
#include <optional>
#include <vector>

#include "tools/keys/commands.h"

namespace {

using countermark::cli::Command;
using countermark::cli::Program;

int Run(Program* program, const std::vector<Command>& commands) {
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    const absl::Status done = command.run();
    if (done.ok()) return countermark::cli::kNoEvidence;
    const bool no_terminal = absl::IsFailedPrecondition(done) && done.message().find("no terminal") != absl::string_view::npos;
    return program->Fail(done, no_terminal ? "see --passphrase-file and --passphrase-fd" : "");
  }
  return program->Fail("no subcommand was given", "see 'watermark-keys --help'");
}

}  // namespace

int main(int argc, char** argv) {
  Program program("watermark-keys", "Makes and keeps the keys of output watermarks: one encrypted key store a tenant, and what leaves it for serving hosts and detectors.");
  program.app().require_subcommand(1);
  const std::vector<Command> commands = {countermark::cli::AddInit(&program),   countermark::cli::AddEpoch(&program),
                                         countermark::cli::AddAccount(&program), countermark::cli::AddList(&program),
                                         countermark::cli::AddBundle(&program), countermark::cli::AddExport(&program),
                                         countermark::cli::AddSigningKey(&program)};
  program.Examples(
      "watermark-keys init --store keys.cmks --tenant acme\n"
      "watermark-keys epoch --store keys.cmks --name 2026-11 --tokenizer tokenizer.model --vocabulary 49152\n"
      "watermark-keys account add org-1 org-2 --store keys.cmks\n"
      "watermark-keys bundle --store keys.cmks --epoch 2026-11 --out 2026-11.cmkb");
  if (const std::optional<int> exit = program.Parse(argc, argv)) return *exit;
  return Run(&program, commands);
}
