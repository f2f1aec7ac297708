// Records through the detector on several threads, results in the order of the input. Memory is bounded by the records in flight and by the
// pool of distinct pairs.
#ifndef COUNTERMARK_TOOLS_DETECT_PIPELINE_H_
#define COUNTERMARK_TOOLS_DETECT_PIPELINE_H_

#include <functional>

#include "countermark/detect/detector.h"
#include "countermark/detect/input.h"
#include "countermark/tokenize/tokenizer.h"

namespace countermark::detect_tool {

struct Item {
  RawRecord raw;
  InputRecord record;      // `ids` holds the text's ids too
  absl::Status status;     // not OK: this record could not be read or scored
  DetectionResult result;
};

struct PipelineOptions {
  InputOptions input;
  uint64_t limit = 0;  // records; 0: all
  int threads = 0;     // 0: one a core
};

// Calls `sink` on the calling thread, once a record and once a file that breaks off (item.raw.ends_file), in order. Ends early with the sink's
// error.
absl::Status RunPipeline(InputReader& reader, const Detector& detector, const Tokenizer* tokenizer, const PipelineOptions& options,
                         const std::function<absl::Status(Item&)>& sink);

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_PIPELINE_H_
