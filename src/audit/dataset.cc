#include "countermark/audit/dataset.h"

#include <sys/stat.h>

#include <chrono>
#include <nlohmann/json.hpp>

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
using nlohmann::json;

void Tell(const FrameLog& log, const AuditObserver& observer) {
  for (const std::string& note : log.notes()) observer.note(note);
}

// Everything after the input: firsts, scores, candidates, in the run's own directory.
absl::StatusOr<audit::CandidateState> Reduce(const RunDirectory& run, const SegmentSource& source, const AuditKeys& keys, int threads, uint64_t memory, FrameLog* firsts,
                                             FrameLog* sums, const AuditObserver& observer) {
  const audit::PairHash hash(keys.epoch_key);
  CM_RETURN_IF_ERROR(audit::FindFirsts(source, hash, threads, memory, firsts, observer));
  CM_RETURN_IF_ERROR(audit::ScoreSegments(source, *firsts, keys, threads, sums, observer));
  return audit::ScoreCandidateFamilies(run, source, *firsts, keys, threads, observer);
}

// A finished run that is to be merged, with its files open.
struct Opened {
  RunDirectory run;
  json options;
  InputEnd end;
  std::unique_ptr<FrameLog> pairs, sums;
  SegmentSource source;
};

absl::StatusOr<std::unique_ptr<Opened>> OpenRun(const std::string& path, bool with_sums) {
  auto opened = std::make_unique<Opened>();
  CM_ASSIGN_OR_RETURN(opened->run, RunDirectory::OpenFinished(path));
  opened->options = json::parse(opened->run.options);
  if (opened->options.value("kind", "") != "dataset") return absl::InvalidArgumentError(Cat("'", path, "': not the run directory of 'dataset'; merge those alone"));
  absl::StatusOr<InputEnd> end = audit::ReadInputEnd(opened->run);
  if (absl::IsNotFound(end.status())) return absl::FailedPreconditionError(Cat("'", path, "': this run is not finished"));
  CM_RETURN_IF_ERROR(end.status());
  opened->end = *end;
  CM_ASSIGN_OR_RETURN(FrameLog pairs, FrameLog::Open(opened->run.File("pairs"), opened->run.digest, FrameLog::kRead));
  opened->pairs = std::make_unique<FrameLog>(std::move(pairs));
  if (opened->pairs->size() != end->segments) return absl::FailedPreconditionError(Cat("'", path, "': pieces of this run are missing; start it again to have them done"));
  if (with_sums) {
    CM_ASSIGN_OR_RETURN(FrameLog sums, FrameLog::Open(opened->run.File("sums"), opened->run.digest, FrameLog::kRead));
    opened->sums = std::make_unique<FrameLog>(std::move(sums));
    if (opened->sums->size() != end->segments) return absl::FailedPreconditionError(Cat("'", path, "': this run is not finished"));
  }
  opened->source.Add(opened->pairs.get(), *end, opened->options["input"]["files"].get<std::vector<std::string>>());
  return opened;
}

}  // namespace

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
    bool known = true;
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
  }
  if (end->records == 0 && end->segments == 0) return absl::InvalidArgumentError("there is no record in the input");
  SegmentSource source;
  source.Add(&pairs, *end, options.files);
  audit::Lane lane{&source, &sums, {}};
  CM_ASSIGN_OR_RETURN(lane.candidates, Reduce(run, source, keys, threads, options.memory, &firsts, &sums, observer));
  audit::FinishOptions finish{"dataset", tokenizer != nullptr ? tokenizer->sha256() : "", {}, threads};
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
  InputReader reader(options.files, options.input);
  audit::RawSegment segment = audit::CutSegment(reader, options.limit, 0, 0);
  if (segment.records.empty()) return absl::InvalidArgumentError("there is no record in the input");
  plan.sample_bytes = segment.raw_bytes;
  audit::SegmentTally tally;
  const audit::PairHash hash(keys.epoch_key);
  const auto start = std::chrono::steady_clock::now();
  CM_ASSIGN_OR_RETURN(const std::string payload, audit::EncodeSegment(segment, reader.paths(), keys, hash, tokenizer, options, &tally));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double bytes = static_cast<double>(std::max<uint64_t>(plan.sample_bytes, 1));
  plan.tokens_per_byte = static_cast<double>(tally.tokens) / bytes;
  plan.bytes_per_second = bytes / std::max(seconds, 1e-9);
  plan.spill_per_byte = static_cast<double>(payload.size()) / bytes;
  return plan;
}

absl::StatusOr<DatasetResult> MergeRuns(const AuditKeys& keys, const std::vector<std::string>& runs, const std::string& directory, bool unordered, int threads, uint64_t memory,
                                        const JudgeOptions& judge, const AuditObserver& observer) {
  threads = audit::ThreadsOr(threads);
  std::vector<std::unique_ptr<Opened>> opened;
  bool parts = true;
  for (const std::string& path : runs) {
    CM_ASSIGN_OR_RETURN(std::unique_ptr<Opened> one, OpenRun(path, false));
    parts &= one->options["part"]["of"].get<uint32_t>() > 1;
    opened.push_back(std::move(one));
  }
  if (opened.empty()) return absl::InvalidArgumentError("no run to merge");
  std::vector<RunDirectory> directories;
  const json first = opened[0]->options;
  const json now = json::parse(audit::MergeOptionsJson(keys, {}, unordered));
  for (const auto& one : opened) {
    for (const char* name : {"key_fingerprint", "mark", "vocabulary"}) {
      if (one->options[name] != now[name]) return absl::FailedPreconditionError(Cat("'", one->run.path, "': made with another key or mark (", name, ") than the one given"));
    }
    if (one->options["tokenizer_sha256"] != first["tokenizer_sha256"]) return absl::FailedPreconditionError(Cat("'", one->run.path, "': made with another tokenizer than '", opened[0]->run.path, "'"));
    if (parts && one->options["candidates"] != now["candidates"]) return absl::FailedPreconditionError(Cat("'", one->run.path, "': made with other candidates than those given"));
    directories.push_back({one->run.path, one->run.options, one->run.digest, FileDescriptor()});
  }
  CM_ASSIGN_OR_RETURN(const RunDirectory run, RunDirectory::CreateOrResume(directory, audit::MergeOptionsJson(keys, directories, unordered)));
  audit::FinishOptions finish{"merge", first["tokenizer_sha256"].is_string() ? first["tokenizer_sha256"].get<std::string>() : "", {}, threads};

  if (parts) {
    if (unordered) return absl::InvalidArgumentError("parts of one input have its order; --unordered is for runs over different documents");
    const auto of = first["part"]["of"].get<uint32_t>();
    std::vector<audit::Lane> lanes;
    std::vector<bool> seen(of);
    std::vector<std::unique_ptr<Opened>> with_sums;
    for (const std::string& path : runs) {
      CM_ASSIGN_OR_RETURN(std::unique_ptr<Opened> one, OpenRun(path, true));
      const auto index = one->options["part"]["index"].get<uint32_t>();
      if (one->options["part"]["of"] != of || index >= of) return absl::InvalidArgumentError(Cat("'", path, "': a part of ", one->options["part"]["of"].dump(), ", and '", runs[0], "' of ", of));
      for (const auto& [name, value] : first["input"].items()) {  // the same files may stand elsewhere; what was read of them must be the same
        if (name != "files" && one->options["input"][name] != value) return absl::FailedPreconditionError(Cat("'", path, "': made with another input.", name, " than '", runs[0], "'"));
      }
      if (seen[index]) return absl::InvalidArgumentError(Cat("'", path, "': part ", index + 1, " is given twice"));
      seen[index] = true;
      if (one->end.segments != opened[0]->end.segments || one->end.raw_crc != opened[0]->end.raw_crc) return absl::FailedPreconditionError(Cat("'", path, "': another input than '", runs[0], "' had"));
      audit::Lane lane{&one->source, one->sums.get(), {}};
      if (!keys.families.empty()) {
        CM_ASSIGN_OR_RETURN(const std::string state, ReadWholeFile(one->run.File("candidates.state"), size_t{4} << 30));
        CM_ASSIGN_OR_RETURN(lane.candidates, audit::ParseCandidates(state, one->run.digest, keys));
        if (lane.candidates.segment != one->end.segments) return absl::FailedPreconditionError(Cat("'", path, "': this run is not finished"));
      }
      lanes.push_back(std::move(lane));
      with_sums.push_back(std::move(one));
    }
    if (with_sums.size() != of) return absl::InvalidArgumentError(Cat("there are ", of, " parts, and ", with_sums.size(), " were given"));
    return audit::Finish(run, keys, lanes, judge, finish, observer);
  }

  SegmentSource source;
  for (const auto& one : opened) {
    if (one->options["part"]["of"] != 1) return absl::InvalidArgumentError(Cat("'", one->run.path, "': a part of an input; merge all parts of one input by themselves"));
    source.Add(one->pairs.get(), one->end, one->source.files());
    if (!unordered) continue;
    CM_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(one->run.File("result.json"), size_t{1} << 30));
    const json result = json::parse(text, nullptr, false);
    if (!result.is_object() || !result.contains("sparse")) return absl::DataLossError(Cat("'", one->run.File("result.json"), "': not a result"));
    finish.unordered_log10_e.push_back(result["sparse"]["log10_e"].get<double>());
  }
  CM_ASSIGN_OR_RETURN(FrameLog firsts, FrameLog::Open(run.File("firsts"), run.digest, FrameLog::kWrite));
  CM_ASSIGN_OR_RETURN(FrameLog sums, FrameLog::Open(run.File("sums"), run.digest, FrameLog::kWrite));
  for (const FrameLog* log : {&firsts, &sums}) Tell(*log, observer);
  audit::Lane lane{&source, &sums, {}};
  CM_ASSIGN_OR_RETURN(lane.candidates, Reduce(run, source, keys, threads, memory, &firsts, &sums, observer));
  return audit::Finish(run, keys, {std::move(lane)}, judge, finish, observer);
}

}  // namespace countermark
