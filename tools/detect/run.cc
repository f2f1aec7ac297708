#include "tools/detect/run.h"

#include <algorithm>
#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::detect_tool {
namespace {

constexpr uint64_t kErrorsSaid = 100;

}  // namespace

std::string_view OverallVerdict(const Run& run, double min_coverage) {
  switch (ExitOf(run, min_coverage)) {
    case cli::kEvidence:
      return "marked";
    case cli::kNoEvidence:
      return "no evidence";
    default:
      return "inconclusive";
  }
}

cli::ExitCode ExitOf(const Run& run, double min_coverage) {
  if (run.incomplete || run.coverage() < min_coverage) return cli::kIncomplete;
  if (run.pooled_verdict == RecordVerdict::kMarked || run.marked > 0) return cli::kEvidence;
  return run.pooled_verdict == RecordVerdict::kInconclusive ? cli::kIncomplete : cli::kNoEvidence;
}

absl::StatusOr<uint64_t> CountForVerdicts(const std::vector<std::string>& files, const Options& options, uint64_t* counted) {
  *counted = 0;
  if (!InputsAreCountable(files)) return options.records.value_or(0);
  CM_ASSIGN_OR_RETURN(*counted, CountRecords(files, options.input));
  if (options.limit > 0) *counted = std::min(*counted, options.limit);
  if (options.records && *options.records < *counted) {
    return absl::InvalidArgumentError(Cat("--records is ", *options.records, ", and the input holds ", *counted));
  }
  return std::max<uint64_t>(options.records.value_or(*counted), 1);
}

Met RecordCounter::Meet(const Item& item) {
  if (!item.status.ok()) SayError(item);
  if (item.raw.ends_file) {
    run_->incomplete = true;
    return Met::kNoRecord;
  }
  progress_->Add(1);
  ++run_->records;
  run_->unreadable += !item.status.ok();
  if (run_->ledger.records == 0 || run_->records <= run_->ledger.records) return Met::kRecord;
  if (!run_->beyond) {
    progress_->Clear();
    program_.Error(Cat("there are more records than the ", run_->ledger.records, " that ", options_.records ? "--records said" : "were counted",
                       ": verdicts are not corrected for all of them"));
    run_->beyond = true;
    run_->incomplete = true;
  }
  return Met::kBeyond;
}

void RecordCounter::SayError(const Item& item) {
  RunError error{reader_.paths()[item.raw.file], item.raw.line, item.record.error_byte, std::string(item.status.message())};
  ++run_->errors;
  if (run_->errors <= kErrorsSaid) {
    progress_->Clear();
    program_.Error(Cat(error.file, ":", error.line, ": byte ", error.byte, ": ", error.message));
  } else if (run_->errors == kErrorsSaid + 1) {
    progress_->Clear();
    program_.Note("further errors are counted and not said");
  }
  if (run_->first_errors.size() < kKeptErrors) run_->first_errors.push_back(std::move(error));
}

}  // namespace countermark::detect_tool
