#include "countermark/audit/dataset.h"

#include <sys/stat.h>

#include <chrono>

#include "src/audit/parallel.h"
#include "src/audit/phases.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

using audit::FrameLog;
using audit::InputEnd;
using audit::RunDirectory;
using audit::SegmentSource;

void Tell(const FrameLog& log, const AuditObserver& observer) {
  for (const std::string& note : log.notes()) observer.note(note);
}

}  // namespace

absl::StatusOr<audit::CandidateState> audit::Reduce(const RunDirectory& run, const SegmentSource& source, const AuditKeys& keys, int threads, uint64_t memory, FrameLog* firsts,
                                                    FrameLog* sums, const AuditObserver& observer) {
  const PairHash hash(keys.epoch_key);
  CM_RETURN_IF_ERROR(FindFirsts(source, hash, threads, memory, firsts, observer));
  CM_RETURN_IF_ERROR(ScoreSegments(source, *firsts, keys, threads, sums, observer));
  return ScoreCandidateFamilies(run, source, *firsts, keys, threads, observer);
}

absl::StatusOr<DatasetResult> RunDataset(const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options, const JudgeOptions& judge,
                                         const AuditObserver& observer) {
  const int threads = audit::ThreadsOr(options.threads);
  CM_ASSIGN_OR_RETURN(const RunDirectory run, RunDirectory::CreateOrResume(options.directory, audit::OptionsJson(keys, tokenizer, options)));
  CM_ASSIGN_OR_RETURN(FrameLog pairs, FrameLog::Open(run.File("pairs"), run.digest, FrameLog::kWrite));
  CM_ASSIGN_OR_RETURN(FrameLog firsts, FrameLog::Open(run.File("firsts"), run.digest, FrameLog::kWrite));
  CM_ASSIGN_OR_RETURN(FrameLog sums, FrameLog::Open(run.File("sums"), run.digest, FrameLog::kWrite));
  for (const FrameLog* log : {&pairs, &firsts, &sums}) Tell(*log, observer);

  absl::StatusOr<InputEnd> end = audit::ReadInputEnd(run);
  if (!end.ok() && !absl::IsNotFound(end.status())) return end.status();
  if (!end.ok() || pairs.size() != end->segments) {
    uint64_t bytes = 0;
    bool known = options.source == nullptr;
    for (const std::string& file : options.files) {
      struct stat info = {};
      known &= file != "-" && stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode) && !file.ends_with(".gz") && !file.ends_with(".zst");
      bytes += static_cast<uint64_t>(info.st_size);
    }
    observer.begin("input", "bytes", known && options.limit == 0 ? bytes : 0);
    end = audit::MapInput(run, keys, tokenizer, options, &pairs, observer);
    CM_RETURN_IF_ERROR(end.status());
    if (pairs.size() != end->segments) {
      return absl::FailedPreconditionError(Cat("the input is shorter than it was when this run began: ", end->segments, " segments, and ", pairs.size(),
                                               " are in '", options.directory, "'; take another run directory"));
    }
  } else {
    CM_RETURN_IF_ERROR(audit::CheckFilesAreAsRead(*end, options.files, observer));
  }
  if (end->records == 0 && end->segments == 0) return absl::InvalidArgumentError("there is no record in the input");
  SegmentSource source;
  source.Add(&pairs, *end, options.files);
  audit::Lane lane{&source, &sums, {}};
  CM_ASSIGN_OR_RETURN(lane.candidates, audit::Reduce(run, source, keys, threads, options.memory, &firsts, &sums, observer));
  audit::FinishOptions finish{"dataset", tokenizer != nullptr ? tokenizer->sha256() : "", audit::kOrderOfInput, threads, options.source};
  return audit::Finish(run, keys, {std::move(lane)}, judge, finish, observer);
}

absl::StatusOr<DatasetPlan> PlanDataset(const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options) {
  DatasetPlan plan;
  for (const std::string& file : options.files) {
    struct stat info = {};
    ++plan.files;
    if (file == "-") return absl::InvalidArgumentError("a plan of standard input would use it up; name files");
    if (stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode)) plan.bytes_on_disk += static_cast<uint64_t>(info.st_size);
    plan.compressed |= file.ends_with(".gz") || file.ends_with(".zst");
  }
  InputReader files(options.files, options.input);
  RecordSource& source = options.source != nullptr ? *options.source : files;
  audit::RawSegment segment = audit::CutSegment(source, options.limit, 0, 0);
  CM_RETURN_IF_ERROR(source.status());
  if (segment.records.empty()) return absl::InvalidArgumentError("there is no record in the input");
  plan.sample_bytes = segment.raw_bytes;
  audit::SegmentTally tally;
  const audit::PairHash hash(keys.epoch_key);
  const auto start = std::chrono::steady_clock::now();
  CM_ASSIGN_OR_RETURN(const std::string payload, audit::EncodeSegment(segment, source.paths(), keys, hash, tokenizer, options, &tally));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double bytes = static_cast<double>(std::max<uint64_t>(plan.sample_bytes, 1));
  plan.tokens_per_byte = static_cast<double>(tally.tokens) / bytes;
  plan.bytes_per_second = bytes / std::max(seconds, 1e-9);
  plan.spill_per_byte = static_cast<double>(payload.size()) / bytes;
  return plan;
}

}  // namespace countermark
