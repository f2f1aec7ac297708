// The subcommands of watermark-audit that work on data sets. Each lives in the file of its name: it adds its options to the program and says how
// it is run.
#ifndef COUNTERMARK_TOOLS_AUDIT_COMMANDS_H_
#define COUNTERMARK_TOOLS_AUDIT_COMMANDS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "countermark/audit/dataset.h"
#include "tools/audit/page.h"
#include "tools/audit/program.h"
#include "tools/cli/cli.h"
#include "tools/cli/progress.h"
#include "tools/detect/options.h"

namespace countermark::audit_tool {

struct Command {
  CLI::App* app;               // run if the user has chosen it
  std::function<int()> run;    // gives the exit status
};

Command AddDataset(cli::Program* program, const OpenSource& open);
Command AddMerge(cli::Program* program);
Command AddModel(cli::Program* program);

// What both have: keys, candidates, verdict, output.
struct CommonOptions {
  detect_tool::Options detect;  // keys, mark, tokenizer, accounts and input, as watermark-detect has them
  std::string requests_file, requests_of;
  std::string run;
  JudgeOptions judge;
  PageOptions pages;
  uint64_t memory_mib = 1024;
  bool json = false;

  void AddKeysTo(CLI::App& app);
  void AddRestTo(CLI::App& app);
};

struct Loaded {
  AuditKeys keys;
  std::unique_ptr<Tokenizer> tokenizer;
};
// Warns of a key without a record and of accounts that are not registered.
absl::StatusOr<Loaded> Load(const cli::Program& program, const CommonOptions& options);

// Progress bars of the phases, and notes between them.
class Watcher {
 public:
  explicit Watcher(const cli::Program& program) : program_(program) {}
  AuditObserver observer();
  void Finish() { bar_.reset(); }

 private:
  const cli::Program& program_;
  std::optional<cli::Progress> bar_;
};

// Pages, and the result for people, or with --json the file's bytes; the exit status. A run that a full disk or a fault ended is 3: it can go on.
int Conclude(const cli::Program& program, const CommonOptions& options, const AuditKeys& keys, const absl::StatusOr<DatasetResult>& result);

}  // namespace countermark::audit_tool

#endif  // COUNTERMARK_TOOLS_AUDIT_COMMANDS_H_
