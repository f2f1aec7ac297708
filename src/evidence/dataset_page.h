// The page and the CSV of a data set's audit, from what the run directory holds: result.json, and figures taken from documents.jsonl.
//
//   DatasetFigures figures;  figures.curve = …;  figures.listed = …;
//   CM_ASSIGN_OR_RETURN(std::string html, DatasetPage(result_json, figures));
//
// Every number stands in result.json, so that the page can be checked against it; the figures are for the eye.
#ifndef COUNTERMARK_SRC_EVIDENCE_DATASET_PAGE_H_
#define COUNTERMARK_SRC_EVIDENCE_DATASET_PAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/detect/decoys.h"

namespace countermark {

// After so many documents, in the order of the input: of the pairs so far, each at its first document.
struct DatasetPoint {
  uint64_t documents = 0;
  double log10_p = 0;   // pooled
  double log10_e = 0;   // sparse; what the run states may be higher in between
};

struct ListedDocument {
  uint64_t document = 0;
  std::string id, file;
  uint64_t line = 0;
  uint64_t scored = 0;
  double log10_p = 0, log10_e = 0;
};

// Documents in equal stretches of the input: how many were read, how many are listed.
struct DatasetStretch {
  uint64_t read = 0, listed = 0;
};

struct DatasetFigures {
  std::string created;                    // UTC, RFC 3339
  std::string version;                    // of the program
  std::string run;                        // name of the directory
  std::vector<DatasetPoint> curve;        // ascending
  std::vector<DatasetStretch> stretches;  // at most a few hundred
  std::vector<ListedDocument> listed;     // the most extreme, first
  std::optional<DecoyControl> decoys;
};

// DataLoss: not a result this build writes.
absl::StatusOr<std::string> DatasetPage(std::string_view result_json, const DatasetFigures& figures);

// kind, name, file, line, scored, statistic, log10_p, log10_e, log10_p_adjusted, log10_p_corrected, named. The heading and a row for the pool, the sparse test and every
// candidate of the result.
absl::StatusOr<std::string> DatasetCsvHead(std::string_view result_json);
// A row for one line of documents.jsonl.
absl::StatusOr<std::string> DatasetCsvDocument(std::string_view line);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_EVIDENCE_DATASET_PAGE_H_
