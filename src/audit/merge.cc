// Finished runs, put together: the parts of one input, or runs over different documents, in an order that their texts alone decide.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <tuple>

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

// A finished run that is to be merged, with its files open.
struct Opened {
  RunDirectory run;
  json options;
  InputEnd end;
  std::unique_ptr<FrameLog> pairs, sums;
  SegmentSource source;
  uint32_t part() const { return options["part"]["index"].get<uint32_t>(); }
  uint32_t parts() const { return options["part"]["of"].get<uint32_t>(); }
};

absl::StatusOr<std::unique_ptr<FrameLog>> OpenWhole(const Opened& opened, const char* name) {
  CM_ASSIGN_OR_RETURN(FrameLog log, FrameLog::Open(opened.run.File(name), opened.run.digest, FrameLog::kRead));
  if (log.size() != opened.end.segments) return absl::FailedPreconditionError(Cat("'", opened.run.path, "': pieces of its ", name, " are missing; start this run again to have them done"));
  return std::make_unique<FrameLog>(std::move(log));
}

absl::StatusOr<std::unique_ptr<Opened>> OpenRun(const std::string& path) {
  auto opened = std::make_unique<Opened>();
  CM_ASSIGN_OR_RETURN(opened->run, RunDirectory::OpenFinished(path));
  CM_ASSIGN_OR_RETURN(opened->options, audit::ParseRunOptions(opened->run));
  if (opened->options["kind"] != "dataset") return absl::InvalidArgumentError(Cat("'", path, "': not the run directory of 'dataset'; merge those alone"));
  absl::StatusOr<InputEnd> end = audit::ReadInputEnd(opened->run);
  if (absl::IsNotFound(end.status())) return absl::FailedPreconditionError(Cat("'", path, "': this run is not finished"));
  CM_RETURN_IF_ERROR(end.status());
  opened->end = *end;
  CM_ASSIGN_OR_RETURN(opened->pairs, OpenWhole(*opened, "pairs"));
  if (opened->parts() > 1) {
    CM_ASSIGN_OR_RETURN(opened->sums, OpenWhole(*opened, "sums"));
  }
  opened->source.Add(opened->pairs.get(), *end, opened->options["input"]["files"].get<std::vector<std::string>>());
  return opened;
}

using Runs = std::vector<std::unique_ptr<Opened>>;

// Parts by their number. Runs over different documents by the checksum of what they read, which is a function of the texts: an order that someone chose, having seen results, would void
// the sparse test.
void Order(Runs* runs) {
  std::sort(runs->begin(), runs->end(), [](const auto& a, const auto& b) {
    const auto place = [](const Opened& one) { return std::tuple(one.part(), one.end.raw_crc, one.end.raw_bytes, one.end.records, one.end.segments, one.run.digest); };
    return place(*a) < place(*b);
  });
}

absl::Status CheckOptions(const Runs& runs, const json& now) {
  const Opened& first = *runs[0];
  for (const auto& one : runs) {
    const std::string& path = one->run.path;
    for (const char* name : {"key_fingerprint", "mark", "vocabulary"}) {
      if (one->options[name] != now[name]) return absl::FailedPreconditionError(Cat("'", path, "': made with another key or mark (", name, ") than the one given"));
    }
    if (one->options["tokenizer_sha256"] != first.options["tokenizer_sha256"]) return absl::FailedPreconditionError(Cat("'", path, "': made with another tokenizer than '", first.run.path, "'"));
  }
  return absl::OkStatus();
}

// Every part of one input, once.
absl::Status CheckParts(const Runs& runs, const json& now) {
  const Opened& first = *runs[0];
  std::vector<bool> seen(first.parts());
  for (const auto& one : runs) {
    const std::string& path = one->run.path;
    if (one->parts() != first.parts()) return absl::InvalidArgumentError(Cat("'", path, "': a part of ", one->parts(), ", and '", first.run.path, "' of ", first.parts()));
    if (one->options["candidates"] != now["candidates"]) return absl::FailedPreconditionError(Cat("'", path, "': made with other candidates than those given"));
    for (const auto& [name, value] : first.options["input"].items()) {  // the same files may stand elsewhere; what was read of them must be the same
      if (name != "files" && one->options["input"][name] != value) return absl::FailedPreconditionError(Cat("'", path, "': made with another input.", name, " than '", first.run.path, "'"));
    }
    if (seen[one->part()]) return absl::InvalidArgumentError(Cat("'", path, "': part ", one->part() + 1, " is given twice"));
    seen[one->part()] = true;
    if (one->end.segments != first.end.segments || one->end.raw_crc != first.end.raw_crc) return absl::FailedPreconditionError(Cat("'", path, "': another input than '", first.run.path, "' had"));
  }
  if (runs.size() != first.parts()) return absl::InvalidArgumentError(Cat("there are ", first.parts(), " parts, and ", runs.size(), " were given"));
  return absl::OkStatus();
}

absl::Status CheckDocuments(const Runs& runs) {
  for (size_t i = 0; i < runs.size(); ++i) {
    const Opened& one = *runs[i];
    if (one.parts() != 1) return absl::InvalidArgumentError(Cat("'", one.run.path, "': a part of an input; merge all parts of one input by themselves"));
    if (i > 0 && one.run.digest == runs[i - 1]->run.digest && one.end.raw_crc == runs[i - 1]->end.raw_crc && one.end.raw_bytes == runs[i - 1]->end.raw_bytes) {
      return absl::InvalidArgumentError(Cat("'", one.run.path, "' and '", runs[i - 1]->run.path, "' are the same run: its documents would count twice"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DatasetResult> MergeRuns(const AuditKeys& keys, const std::vector<std::string>& paths, const std::string& directory, int threads, uint64_t memory,
                                        const JudgeOptions& judge, const AuditObserver& observer) {
  threads = audit::ThreadsOr(threads);
  Runs runs;
  for (const std::string& path : paths) {
    CM_ASSIGN_OR_RETURN(std::unique_ptr<Opened> one, OpenRun(path));
    runs.push_back(std::move(one));
  }
  if (runs.empty()) return absl::InvalidArgumentError("no run to merge");
  Order(&runs);
  const bool parts = std::all_of(runs.begin(), runs.end(), [](const auto& one) { return one->parts() > 1; });
  const json now = json::parse(audit::MergeOptionsJson(keys, {}));
  CM_RETURN_IF_ERROR(CheckOptions(runs, now));
  CM_RETURN_IF_ERROR(parts ? CheckParts(runs, now) : CheckDocuments(runs));
  std::vector<Digest32> digests;
  for (const auto& one : runs) digests.push_back(one->run.digest);
  CM_ASSIGN_OR_RETURN(const RunDirectory run, RunDirectory::CreateOrResume(directory, audit::MergeOptionsJson(keys, digests)));
  const json& tokenizer = runs[0]->options["tokenizer_sha256"];
  audit::FinishOptions finish{"merge", tokenizer.is_string() ? tokenizer.get<std::string>() : "", parts ? audit::kOrderOfInput : audit::kOrderOfRuns, threads};

  if (parts) {
    std::vector<audit::Lane> lanes;
    for (const auto& one : runs) {
      audit::Lane lane{&one->source, one->sums.get(), {}};
      if (!keys.families.empty()) {
        const std::string path = one->run.File("candidates.state");
        CM_ASSIGN_OR_RETURN(const std::string state, ReadWholeFile(path, size_t{4} << 30));
        absl::StatusOr<audit::CandidateState> candidates = audit::ParseCandidates(state, one->run.digest, keys);
        if (!candidates.ok()) return absl::Status(candidates.status().code(), Cat("'", path, "': ", std::string(candidates.status().message())));
        if (candidates->segment != one->end.segments) return absl::FailedPreconditionError(Cat("'", one->run.path, "': this run is not finished"));
        lane.candidates = *std::move(candidates);
      }
      lanes.push_back(std::move(lane));
    }
    return audit::Finish(run, keys, lanes, judge, finish, observer);
  }

  SegmentSource source;
  for (const auto& one : runs) source.Add(one->pairs.get(), one->end, one->source.files());
  CM_ASSIGN_OR_RETURN(FrameLog firsts, FrameLog::Open(run.File("firsts"), run.digest, FrameLog::kWrite));
  CM_ASSIGN_OR_RETURN(FrameLog sums, FrameLog::Open(run.File("sums"), run.digest, FrameLog::kWrite));
  for (const FrameLog* log : {&firsts, &sums}) {
    for (const std::string& note : log->notes()) observer.note(note);
  }
  audit::Lane lane{&source, &sums, {}};
  CM_ASSIGN_OR_RETURN(lane.candidates, audit::Reduce(run, source, keys, threads, memory, &firsts, &sums, observer));
  return audit::Finish(run, keys, {std::move(lane)}, judge, finish, observer);
}

}  // namespace countermark
