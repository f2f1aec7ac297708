// What a run of the detector came to, and how it is shown.
#ifndef COUNTERMARK_TOOLS_DETECT_RUN_H_
#define COUNTERMARK_TOOLS_DETECT_RUN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "countermark/detect/detector.h"
#include "countermark/evidence/report.h"
#include "tools/cli/cli.h"
#include "tools/cli/output.h"
#include "tools/cli/progress.h"
#include "tools/detect/options.h"
#include "tools/detect/pipeline.h"
#include "tools/detect/setup.h"

namespace countermark::detect_tool {

struct RunError {
  std::string file;
  uint64_t line = 0;
  uint64_t byte = 0;
  std::string message;
};

struct Run {
  TestLedger ledger;
  uint64_t records = 0;     // met, the unreadable ones among them
  uint64_t unreadable = 0;
  uint64_t too_short = 0;   // read, and no pair in them
  uint64_t marked = 0;      // with a verdict of their own
  uint64_t passages = 0;    // found in them
  uint64_t errors = 0;      // unreadable records and files that broke off
  std::vector<RunError> first_errors;   // at most kKeptErrors
  bool incomplete = false;  // a file broke off, or more records came than --records said
  bool beyond = false;      // the latter
  std::vector<DetectionResult> pooled;  // by reading
  std::vector<WeightedResult> pooled_weighted;  // by reading, where weighted tests are made
  RecordVerdict pooled_verdict = RecordVerdict::kInconclusive;

  double coverage() const { return records == 0 ? 1.0 : static_cast<double>(records - unreadable) / static_cast<double>(records); }
};

inline constexpr size_t kKeptErrors = 1000;

// How many records verdicts are given for: what was counted, or more if the operator says so; 0 if nobody knows.
absl::StatusOr<uint64_t> CountForVerdicts(const std::vector<std::string>& files, const Options& options, uint64_t* counted);

// Of the run as a whole, from the pooled test and the records'.
std::string_view OverallVerdict(const Run& run, double min_coverage);
cli::ExitCode ExitOf(const Run& run, double min_coverage);

// What an item of the pipeline is to its run.
enum class Met { kNoRecord, kRecord, kBeyond };

// The part of a run that does not hang on which mark is looked for: counts the records in their order and says what is wrong with them.
class RecordCounter {
 public:
  RecordCounter(const cli::Program& program, const Options& options, const InputReader& reader, Run* run, cli::Progress* progress)
      : program_(program), options_(options), reader_(reader), run_(run), progress_(progress) {}
  // kNoRecord: a file ends early. kBeyond: more than verdicts are corrected for, since --records was too low or a file has grown after it was counted.
  Met Meet(const Item& item);

 private:
  void SayError(const Item& item);
  const cli::Program& program_;
  const Options& options_;
  const InputReader& reader_;
  Run* run_;
  cli::Progress* progress_;
};

// ---- JSON (json.cc) --------------------------------------------------------------------------------------------------------------
// One record as one object, without a line end. tests_counted: all tests of the run, as in the ledger. An unreadable one has scored 0, no tests and a member "error".
void AppendRecordJson(const Item& item, const Setup& setup, RecordVerdict verdict, uint64_t tests_counted, std::string* out);
// What stands before and behind the records in the one object of --json.
std::string JsonHead(const Options& options, const Setup& setup);
std::string JsonTail(const Run& run, const Options& options, const Setup& setup);

// ---- Table (table.cc) ------------------------------------------------------------------------------------------------------------
std::string TableHead(const Detector& detector, bool color);
// A line a passage below the record's row, where passages are looked for.
std::string TableRow(const Item& item, const Setup& setup, RecordVerdict verdict, bool color);
// The pooled test, the tests counted and the coverage, for people.
std::string Summary(const Run& run, const Options& options, const Setup& setup, bool color);

// ---- Report (report.cc) ----------------------------------------------------------------------------------------------------------
// Collects what the signed report says of each record; writes it when the run is over.
class ReportWriter {
 public:
  ReportWriter(const Options& options, const Setup& setup) : options_(options), setup_(setup) {}
  void Add(const Item& item, uint64_t position);
  // What the run came to, values and verdict derived. A report has no member that says that a run is incomplete: whoever shows it says so.
  absl::StatusOr<Report> Make(const Run& run, const InputReader& reader) const;
  // Signs it. `out` is a new file, which is committed. The run is complete.
  absl::Status Write(const Report& report, cli::Output& out) const;

 private:
  struct RecordTests {
    uint64_t position;
    std::string id;
    std::vector<ReadRecord> readings;  // without their ids
  };
  const Options& options_;
  const Setup& setup_;
  std::vector<RecordTests> records_;
  std::vector<uint64_t> unreadable_;  // per file
  uint64_t left_out_ = 0;             // records whose tests are not listed
  uint64_t listed_ = 0;               // tests
};

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_RUN_H_
