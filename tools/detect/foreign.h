// watermark-detect --format NAME --format-config FILE: another project's mark, by the same manners, input and verdicts as our own. docs/foreign-formats.md.
#ifndef COUNTERMARK_TOOLS_DETECT_FOREIGN_H_
#define COUNTERMARK_TOOLS_DETECT_FOREIGN_H_

#include "absl/status/status.h"
#include "tools/cli/cli.h"
#include "tools/detect/run.h"

namespace countermark::detect_tool {

// Fills of `run` what ExitOf reads.
absl::Status DetectForeign(const cli::Program& program, const Options& options, Run* run);

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_FOREIGN_H_
