// The page and the CSV of a run (--html, --csv): keeps what a page shows and no report holds, while the run goes on, and writes both at its end.
#ifndef COUNTERMARK_TOOLS_DETECT_PAGE_H_
#define COUNTERMARK_TOOLS_DETECT_PAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "countermark/detect/pairs.h"
#include "src/evidence/report_page.h"
#include "tools/cli/output.h"
#include "tools/detect/options.h"
#include "tools/detect/pipeline.h"
#include "tools/detect/run.h"
#include "tools/detect/setup.h"

namespace countermark::detect_tool {

class PageWriter {
 public:
  PageWriter(const Options& options, const Setup& setup) : options_(options), setup_(setup) {}

  // Makes the files, so that a taken path is known before the work is done.
  absl::Status Begin();
  // Keeps the texts of the few records that are most extreme; the others' are let go. `item` still has its text (PipelineOptions::keep_text).
  void Add(Item& item, uint64_t position);
  // `pools`: the distinct pairs of all records, or of the only one, by reading.
  absl::Status Write(const Report& report, const Run& run, const std::vector<PairSet>& pools);

 private:
  struct Kept {
    double log10_p = 0;   // of the record's most extreme test
    uint64_t position = 0;
    size_t reading = 0;             // the one that says most
    std::optional<size_t> account;  // the nearest of the candidates in it
    InputRecord record;
    std::vector<uint32_t> ids, prompt_ids;  // in that reading
  };
  ReportText Shade(const Kept& kept) const;
  std::string AccountName(size_t account) const;

  const Options& options_;
  const Setup& setup_;
  std::optional<cli::Output> html_, csv_;
  std::vector<Kept> kept_;
};

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_PAGE_H_
