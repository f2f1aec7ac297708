// What a run came to, and its JSON.
#ifndef COUNTERMARK_SRC_AUDIT_REPORT_H_
#define COUNTERMARK_SRC_AUDIT_REPORT_H_

#include <string>
#include <string_view>
#include <vector>

#include "countermark/audit/share.h"
#include "src/audit/phases.h"

namespace countermark::audit {

struct RowError {
  std::string file;
  uint64_t line = 0;
  uint64_t byte = 0;
  std::string message;
};

struct Totals {
  uint64_t records = 0;
  uint64_t unreadable = 0;
  uint64_t too_short = 0;      // read, and no pair in them
  uint64_t broken_files = 0;
  uint64_t distinct = 0;       // pairs over the whole input
  ChannelCount base;           // of these, on the base channel
  uint64_t hits[TopHits::kMost] = {};
  uint64_t error_count = 0;
  std::vector<RowError> errors;
  double log10_e = 0;          // of the sparse test, at the end
  double log10_e_highest = 0;  // after any block of documents, or at the start
  uint64_t highest_after = 0;  // records
  void Add(const Totals& more, size_t kept_errors);
};

struct RankedCandidate {
  size_t index = 0;
  Statistic statistic = 0;
  double log10_p = 0, log10_p_adjusted = 0, log10_p_corrected = 0;
  bool named = false;
};

struct FamilyResult {
  const CandidateFamily* family = nullptr;
  uint64_t scored = 0;
  uint64_t named = 0;
  std::vector<RankedCandidate> ranked;
};

struct Conclusion {
  Totals totals;
  uint64_t tests = 0;  // among which alpha is shared
  double pooled_log10_p = 0, pooled_log10_e = 0, pooled_corrected = 0;
  double sparse_log10_p = 0, sparse_corrected = 0;
  std::vector<FamilyResult> families;
  double listing_log10_e = 0;
  uint64_t listed = 0;
  uint64_t marked_documents = 0;
  MarkedPairs marked_pairs;
  bool complete = true, decided = false;
  double coverage = 1;
  std::string_view verdict;
};

// One line of documents.jsonl.
void AppendDocumentLine(uint64_t document, std::string_view file, const DocumentRow& row, const ChannelCount& first, bool listed, std::string* out);
// result.json: keys sorted, no blanks, a final newline.
std::string ResultJson(const RunDirectory& run, const AuditKeys& keys, const Conclusion& c, const JudgeOptions& judge, const FinishOptions& options);

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_REPORT_H_
