// Records through the detector on several threads, results in the order of the input. Memory is bounded by the records in flight and by the
// pool of distinct pairs.
#ifndef COUNTERMARK_TOOLS_DETECT_PIPELINE_H_
#define COUNTERMARK_TOOLS_DETECT_PIPELINE_H_

#include <functional>
#include <optional>
#include <vector>

#include "countermark/detect/detector.h"
#include "countermark/detect/entropy.h"
#include "countermark/detect/foreign/format.h"
#include "countermark/detect/input.h"
#include "countermark/tokenize/tokenizer.h"
#include "tools/detect/reading.h"

namespace countermark::detect_tool {

struct Item {
  RawRecord raw;
  InputRecord record;
  absl::Status status;     // not OK: this record could not be read or scored
  std::vector<ReadRecord> readings;  // as many as the run's, in their order; none where the status is not OK
  ForeignScore foreign;             // in place of their results, where another project's mark is looked for
  std::vector<ForeignDraw> draws;   // of that, where there are more records than one
};

struct PipelineOptions {
  InputOptions input;
  uint64_t limit = 0;  // records; 0: all
  int threads = 0;     // 0: one a core
  std::optional<double> passage_level;  // look for marked passages; log10 of what one search may err by
  EntropyModel* weights = nullptr;      // make weighted tests
  bool keep_text = false;  // leave a record's text to the sink
};

// What is done to a record's ids, by one thread at a time; its memory is reused from record to record.
using ItemScorer = std::function<absl::Status(Item&)>;

// Calls `sink` on the calling thread, once a record and once a file that breaks off (item.raw.ends_file), in order. Ends early with the sink's
// error. `make_scorer` is called once a thread; records are read and tokenised before a scorer sees them.
absl::Status RunPipeline(InputReader& reader, const std::vector<Reading>& readings, const PipelineOptions& options, const std::function<ItemScorer()>& make_scorer,
                         const std::function<absl::Status(Item&)>& sink);
// The same with the detector's tests of countermark's own mark.
absl::Status RunPipeline(InputReader& reader, const Detector& detector, const std::vector<Reading>& readings, const PipelineOptions& options,
                         const std::function<absl::Status(Item&)>& sink);

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_PIPELINE_H_
