// Did a suspect model, its weights at hand, learn from our marked answers, and through which accounts?
//
//   ModelOptions options;
//   options.suspect = "suspect.gguf";  options.reference = "base.gguf";  options.probes = {"log.jsonl"};  options.served = true;  options.directory = "run";
//   CM_ASSIGN_OR_RETURN(ModelResult result, RunModelAudit(keys, tokenizer, options, judge, observer));
//
// For each window of the probes the suspect says q(·|context), a reference that never saw the marks q0; the matched filter asks whether q − q0 agrees
// with the scores of a key (model_filter.h), the top-1 reading whether the suspect's likeliest token does, by the rules of a text. p of the two is
// corrected for two. The base channel says whose model was learned from; each account's key whose answers. Statistics: statistics.md, Models.
//
// H0: the suspect is independent of the key. It is no claim on how a dependence came about.
//
// Probes are lines of JSON, one answer each:
//   {"prompt": TEXT | "prompt_token_ids": [...], "answer": TEXT | "token_ids": [...], "account": LABEL, "start": RFC 3339}
// or records of the serving log with token ids ("choices", "time", "ms", "account"). Served probes are the *complete* log, every answer given under the epoch, with token
// ids: it is put in order of the requests' starts, and a window counts under a key only where it first occurs in answers made with that key (base: all
// answers; an account: its own). A log that is not complete and in order proves nothing, and the verdict is inconclusive.
//
// Two steps, each resumable: probes are evaluated (no key is needed), a frame for every few of them in DIRECTORY/weights-NNN.log; then keys are scored. A second run on the same
// directory with other keys, accounts or alpha evaluates nothing again.
#ifndef COUNTERMARK_AUDIT_MODEL_H_
#define COUNTERMARK_AUDIT_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "countermark/audit/dataset.h"

namespace countermark {

struct ModelOptions {
  std::string suspect, reference;        // GGUF
  std::string control;                   // another model that never saw the marks; empty: none
  std::vector<std::string> probes;       // files of JSON lines
  bool served = false;                   // the complete serving log; else key-independent text
  std::string directory;
  uint64_t evaluate = 0;                 // probes put to the models, evenly spaced over all; 0: all
  uint32_t max_context = 2048;           // tokens; what stands beyond is not asked about
  bool map_vocabulary = false;           // models that read other tokens than ours: by text, where both segmentations agree
  std::vector<std::vector<std::string>> rings;  // each a set of candidate accounts that was named beforehand
  bool search_ring = false;
  uint64_t decoys = 1000;
  int threads = 0;                       // 0: one a core
};

struct ModelResult {
  std::string json;                      // what DIRECTORY/result.json holds
  bool stands = true;                    // else the verdict is inconclusive, and `reasons` say why
  bool evidence = false;
  std::vector<std::string> reasons;
  std::vector<std::string> errors;       // records that could not be read, the first ones, "FILE:LINE: …"
  uint64_t error_count = 0;
};

// Runs or goes on. `keys`: with accounts as candidates, or none; `tokenizer`: the provider's, for text and mapped vocabularies, may be null. InvalidArgument: options or
// vocabularies that do not fit, with what to do. DataLoss: a broken GGUF or run directory. FailedPrecondition: the directory is in use or another run's, or this
// build has no libllama. ResourceExhausted: no memory or disk left; what is done is kept.
absl::StatusOr<ModelResult> RunModelAudit(const AuditKeys& keys, const Tokenizer* tokenizer, const ModelOptions& options, const JudgeOptions& judge,
                                          const AuditObserver& observer);

}  // namespace countermark

#endif  // COUNTERMARK_AUDIT_MODEL_H_
