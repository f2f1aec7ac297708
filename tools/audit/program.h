// watermark-audit as a function, so that the Python package is the same program over more kinds of input.
//
//   return RunAudit("watermark-audit", argc, argv, nullptr);
#ifndef COUNTERMARK_TOOLS_AUDIT_PROGRAM_H_
#define COUNTERMARK_TOOLS_AUDIT_PROGRAM_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/detect/input.h"

namespace countermark::cli {
class Program;
}

namespace countermark::audit_tool {

struct Command;

// Opens what the command line names. Null: files as InputReader reads them, and tables are refused.
using OpenSource = std::function<absl::StatusOr<std::unique_ptr<RecordSource>>(const std::vector<std::string>& inputs, const InputOptions& options)>;

// Adds a further subcommand: those that need more than the Python package brings, such as libllama.
using AddCommand = Command (*)(cli::Program* program);

// Gives the exit status.
int RunAudit(const std::string& name, int argc, char** argv, const OpenSource& open, const std::vector<AddCommand>& more = {});

}  // namespace countermark::audit_tool

#endif  // COUNTERMARK_TOOLS_AUDIT_PROGRAM_H_
