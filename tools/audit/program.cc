#include "tools/audit/program.h"

#include "tools/audit/commands.h"

namespace countermark::audit_tool {

int RunAudit(const std::string& name, int argc, char** argv, const OpenSource& open, const std::vector<AddCommand>& more) {
  cli::Program program(name, "Is a mark in a data set, where, how much, and whose; and did a model learn from it.");
  program.app().require_subcommand(1);
  std::vector<Command> commands = {AddDataset(&program, open), AddMerge(&program)};
  for (const AddCommand add : more) commands.push_back(add(&program));
  for (const Command& command : commands) command.app->fallthrough();  // --no-progress, --color and the like stand anywhere
  program.Examples(
      "watermark-audit dataset crawl/ --run audit --bundle 2026-11.cmkb --tokenizer tokenizer.model --accounts accounts.txt\n"
      "watermark-audit dataset crawl.jsonl.zst --run part-3 --part 3/8 --epoch-key epoch.key --tokenizer tokenizer.model\n"
      "watermark-audit merge part-1 part-2 part-3 --run whole --epoch-key epoch.key\n"
      "python -m countermark.audit dataset crawl.parquet --run audit --bundle 2026-11.cmkb --tokenizer tokenizer.model\n"
      "watermark-audit model --suspect suspect.gguf --reference base.gguf --probes serving.jsonl --served --run audit --bundle 2026-11.cmkb --registered-accounts");
  if (std::optional<int> exit = program.Parse(argc, argv)) return *exit;
  for (const Command& command : commands) {
    if (command.app->parsed()) return command.run();
  }
  return program.Fail("no subcommand was given", "see '" + name + " --help'");
}

}  // namespace countermark::audit_tool
