// A model audit from options to result.json.
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "countermark/keys/digest.h"
#include "src/audit/model/evaluate.h"
#include "src/audit/model/report.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace audit {
namespace {

using nlohmann::json;

absl::Status CheckOptions(const AuditKeys& keys, const ModelOptions& options) {
  if (options.probes.empty()) return absl::InvalidArgumentError("no probes: give --probes FILE");
  std::unordered_set<std::string_view> candidates;
  for (const CandidateFamily& family : keys.families) {
    if (family.name == "accounts") candidates.insert(family.labels.begin(), family.labels.end());
  }
  if (candidates.empty() && (!options.rings.empty() || options.search_ring)) return absl::InvalidArgumentError("a ring is a set of candidate accounts: give --accounts or --registered-accounts");
  for (const std::vector<std::string>& ring : options.rings) {
    std::unordered_set<std::string_view> seen;
    if (ring.empty()) return absl::InvalidArgumentError("a ring without members");
    for (const std::string& name : ring) {
      if (!candidates.contains(name)) return absl::InvalidArgumentError(Cat("'", name, "' stands in a ring and is no candidate account"));
      if (!seen.insert(name).second) return absl::InvalidArgumentError(Cat("'", name, "' stands twice in a ring"));
    }
  }
  return absl::OkStatus();
}

// Everything that what the models said hangs on; no key.
std::string ModelOptionsJson(const AuditKeys& keys, const Tokenizer* tokenizer, const ModelOptions& options, const ModelConclusion& c, const std::string& probes) {
  const json all = {{"format", kRunFormat},
                    {"kind", "model"},
                    {"window", keys.record.mark.window},
                    {"vocabulary", keys.record.vocabulary},
                    {"suspect_sha256", c.suspect_sha256},
                    {"reference_sha256", c.reference_sha256},
                    {"control_sha256", c.control_sha256},
                    {"tokenizer_sha256", tokenizer != nullptr ? json(tokenizer->sha256()) : json(nullptr)},
                    {"probes_sha256", probes},
                    {"served", options.served},
                    {"evaluate", options.evaluate},
                    {"max_context", options.max_context},
                    {"map_vocabulary", options.map_vocabulary}};
  return all.dump() + "\n";
}

// What forbids a verdict before anything is evaluated.
std::vector<std::string> KnownBeforehand(const ModelOptions& options, const ProbeSource& source, const ModelConclusion& c) {
  std::vector<std::string> reasons;
  const ProbeCounts& counts = source.counts();
  if (c.suspect_sha256 == c.reference_sha256) reasons.push_back("the suspect is the reference: the same file");
  if (source.size() == 0) {
    reasons.push_back(counts.without_ids > 0 ? "the log holds hashes of its answers and no token ids: set log.token_ids = \"ids\" where it is written" : "no probe in the input");
  }
  if (!options.served) return reasons;
  if (!source.clock().empty()) reasons.push_back(Cat(source.clock(), ": the order of the log is not known"));
  if (counts.torn > 0) reasons.push_back(Cat(counts.torn, " records of the log were cut short when a server ended: a log that is not complete proves nothing"));
  if (counts.unreadable > 0) reasons.push_back(Cat(counts.unreadable, " records of the log could not be read: a log that is not complete proves nothing"));
  if (counts.without_ids > 0 && source.size() > 0) reasons.push_back(Cat(counts.without_ids, " answers of the log have no token ids: a log that is not complete proves nothing"));
  return reasons;
}

absl::StatusOr<ModelResult> Run(const AuditKeys& keys, const Tokenizer* tokenizer, const ModelOptions& options, const JudgeOptions& judge, const AuditObserver& observer) {
  CM_RETURN_IF_ERROR(CheckOptions(keys, options));
  ModelConclusion c;
  for (const auto& [path, digest] : {std::pair(&options.suspect, &c.suspect_sha256), std::pair(&options.reference, &c.reference_sha256), std::pair(&options.control, &c.control_sha256)}) {
    if (path->empty()) continue;
    CM_ASSIGN_OR_RETURN(const Digest32 sha256, Sha256File(*path));
    *digest = HexEncode(sha256);
  }
  CM_ASSIGN_OR_RETURN(const ProbeSource source, ProbeSource::Open(options.probes, options.served));
  CM_ASSIGN_OR_RETURN(const RunDirectory run, RunDirectory::CreateOrResume(options.directory, ModelOptionsJson(keys, tokenizer, options, c, source.sha256())));
  c.probes = source.counts();
  c.reasons = KnownBeforehand(options, source, c);
  ModelResult result;
  result.errors = source.errors();
  result.error_count = source.error_count();
  if (c.reasons.empty()) {
    CM_ASSIGN_OR_RETURN(FrameLog weights, FrameLog::Open(run.File("weights"), run.digest, FrameLog::kWrite));
    for (const std::string& note : weights.notes()) observer.note(note);
    const uint64_t frames = (source.size() + kProbesAFrame - 1) / kProbesAFrame;
    const int subjects = options.control.empty() ? 1 : 2;
    bool whole = true;
    for (uint64_t f = 0; f < frames && whole; ++f) whole = weights.Has(f);
    if (!whole) {
      CM_ASSIGN_OR_RETURN(ModelSet models, LoadModels(options, tokenizer, keys.record.vocabulary));
      uint64_t salt;
      std::memcpy(&salt, run.digest.data(), sizeof salt);
      CM_RETURN_IF_ERROR(EvaluateProbes(source, options, tokenizer, keys.record.mark.window, salt, models, &weights, observer));
    }
    const Digest32 seed = Sha256("decoys of " + HexEncode(run.digest));
    CM_ASSIGN_OR_RETURN(c.scores, ScoreModel(keys, options, weights, frames, subjects, Secret32(seed), observer));
    result.errors.insert(result.errors.end(), c.scores.errors.begin(), c.scores.errors.end());
    result.error_count += c.scores.error_count;
  }
  Conclude(options, judge, &c);
  result.json = ModelResultJson(run, keys, options, judge, c);
  result.stands = c.stands;
  result.evidence = c.evidence;
  result.reasons = c.reasons;
  CM_RETURN_IF_ERROR(ReplaceFileAtomically(run.File("result.json"), result.json));
  return result;
}

}  // namespace
}  // namespace audit

absl::StatusOr<ModelResult> RunModelAudit(const AuditKeys& keys, const Tokenizer* tokenizer, const ModelOptions& options, const JudgeOptions& judge,
                                          const AuditObserver& observer) {
  try {
    return audit::Run(keys, tokenizer, options, judge, observer);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("no memory left; what is done is kept");
  }
}

}  // namespace countermark
