// The page and the CSV of a finished audit of a data set (--html, --csv).
#ifndef COUNTERMARK_TOOLS_AUDIT_PAGE_H_
#define COUNTERMARK_TOOLS_AUDIT_PAGE_H_

#include <cstdint>
#include <string>

#include "countermark/audit/dataset.h"

namespace countermark::audit_tool {

struct PageOptions {
  std::string html, csv;
  uint64_t decoys = 1000;
  std::string decoy_seed;  // of an earlier page; empty: drawn afresh
};

// AlreadyExists where a path is taken, so that it is known before the work is done. Nothing is made yet: a killed run starts again with the same command.
absl::Status CheckPages(const PageOptions& options);

// From DIRECTORY/documents.jsonl, which is read once, result.json as it stands in `result`, and the run's pairs for the control (of a merge there is none). New files,
// whole or absent.
absl::Status WritePages(const PageOptions& options, const AuditKeys& keys, const std::string& directory, const DatasetResult& result, int threads);

}  // namespace countermark::audit_tool

#endif  // COUNTERMARK_TOOLS_AUDIT_PAGE_H_
