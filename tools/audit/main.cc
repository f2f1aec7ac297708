// watermark-audit: the tests that take more than a text.
#include <malloc.h>

#include <vector>

#include "tools/audit/commands.h"

int main(int argc, char** argv) {
  using namespace countermark;
  // Large blocks go back to the system when they are freed, whichever thread had them: memory is bounded by what is in use.
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_ARENA_MAX, 4);
  cli::Program program("watermark-audit", "Is a mark in a data set, where, how much, and whose.");
  program.app().require_subcommand(1);
  const std::vector<audit_tool::Command> commands = {audit_tool::AddDataset(&program), audit_tool::AddMerge(&program), audit_tool::AddModel(&program)};
  for (const audit_tool::Command& command : commands) command.app->fallthrough();  // --no-progress, --color and the like stand anywhere
  program.Examples(
      "watermark-audit dataset crawl/ --run audit --bundle 2026-11.cmkb --tokenizer tokenizer.model --accounts accounts.txt\n"
      "watermark-audit dataset crawl.jsonl.zst --run part-3 --part 3/8 --epoch-key epoch.key --tokenizer tokenizer.model\n"
      "watermark-audit merge part-1 part-2 part-3 --run whole --epoch-key epoch.key");
  if (std::optional<int> exit = program.Parse(argc, argv)) return *exit;
  for (const audit_tool::Command& command : commands) {
    if (command.app->parsed()) return command.run();
  }
  return program.Fail("no subcommand was given", "see 'watermark-audit --help'");
}
