#include "countermark/audit/control.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "src/audit/phases.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

using audit::EntryPlaces;
using audit::FirstPairs;
using audit::FrameLog;
using audit::RunDirectory;

// Adds the base channel's pairs of a segment, and the real key's scores of them, up to `most`. False: there were more.
bool Take(FirstPairs& pairs, const AuditKeys& keys, uint64_t most, PairSet* set, std::vector<uint64_t>* scores) {
  const MarkParameters& mark = keys.record.mark;
  std::vector<uint32_t> tokens(static_cast<size_t>(mark.window) + 1);
  size_t kept = 0;
  bool whole = true;
  for (size_t i = 0; i < pairs.token.size(); ++i) {
    if (pairs.channel[i] != 0) continue;
    if (set->size() == most) {
      whole = false;
      break;
    }
    for (int j = 0; j < mark.window; ++j) tokens[static_cast<size_t>(j)] = pairs.window[j][kept] = pairs.window[j][i];
    tokens.back() = pairs.token[kept] = pairs.token[i];
    kept += set->Add(tokens);
  }
  pairs.token.resize(kept);
  std::vector<uint32_t> words(kept);
  PairWords(pairs.Columns(), keys.base, mark.scheme, mark.window, words);
  const size_t before = scores->size();
  scores->resize(before + kept);
  ScoresOfWords(words, mark, std::span(*scores).subspan(before));
  return whole;
}

}  // namespace

absl::StatusOr<DecoyControl> DatasetControl(const AuditKeys& keys, const std::string& directory, const DecoySeed& seed, size_t decoys, int threads, uint64_t most_scores) {
  CM_ASSIGN_OR_RETURN(const RunDirectory run, RunDirectory::OpenFinished(directory));
  CM_ASSIGN_OR_RETURN(const nlohmann::json options, audit::ParseRunOptions(run));
  if (options["kind"] != "dataset") return absl::FailedPreconditionError(Cat("'", directory, "': a merge holds no pairs of its own"));
  if (options["key_fingerprint"] != keys.Fingerprint()) return absl::FailedPreconditionError(Cat("'", directory, "': a run of another key"));
  CM_ASSIGN_OR_RETURN(const audit::InputEnd end, audit::ReadInputEnd(run));
  CM_ASSIGN_OR_RETURN(const FrameLog log, FrameLog::Open(run.File("pairs"), run.digest, FrameLog::kRead));
  CM_ASSIGN_OR_RETURN(const FrameLog firsts, FrameLog::Open(run.File("firsts"), run.digest, FrameLog::kRead));
  if (log.size() != end.segments || firsts.size() != audit::kPartitions) return absl::FailedPreconditionError(Cat("'", directory, "': this run is not finished"));
  audit::SegmentSource source;
  source.Add(&log, end, options["input"]["files"].get<std::vector<std::string>>());

  const uint64_t most = std::max<uint64_t>(most_scores / std::max<uint64_t>(decoys, 1), 1);
  PairSet set(keys.record.mark.window);
  std::vector<uint64_t> scores;
  EntryPlaces places;
  bool whole = true;
  for (uint64_t segment = 0; segment < source.segments() && whole; ++segment) {
    FirstPairs pairs;
    CM_RETURN_IF_ERROR(audit::LoadFirstPairs(source, firsts, segment, places, keys, &pairs));
    whole = Take(pairs, keys, most, &set, &scores);
    audit::SegmentHead head;
    std::vector<audit::SectionIndex> index;
    CM_RETURN_IF_ERROR(source.Head(segment, &head, &index));
    places.Advance(index);
  }
  std::vector<uint32_t> which(set.size());
  std::iota(which.begin(), which.end(), 0u);
  DecoyControl control = RunDecoys(set, which, scores, seed, decoys, keys.record.mark, threads, most_scores);
  control.all_pairs = whole && control.all_pairs;
  return control;
}

}  // namespace countermark
