// A data set of any size in; pooled, sparse, listed and account tests out, in bounded memory, from a run directory that survives a kill at any moment.
//
//   CM_ASSIGN_OR_RETURN(AuditKeys keys, AuditKeys::Create(epoch_keys, accounts, "", {}));
//   DatasetOptions options;  options.files = files;  options.directory = "run";
//   CM_ASSIGN_OR_RETURN(DatasetResult result, RunDataset(keys, tokenizer, options, observer));
//
// Four phases, each resumable by itself: the input is cut into segments of about 1 MiB, tokenised, each document tested on its own distinct
// pairs, and the pairs spilled by hash into partitions; in each partition the first document of every pair is found; documents get the scores of the
// pairs they are first to hold, and candidates theirs; the results are put together. All counts are integers, and all real numbers are formed from them in the order
// of the input: threads, kills and memory change no byte of the result.
#ifndef COUNTERMARK_AUDIT_DATASET_H_
#define COUNTERMARK_AUDIT_DATASET_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/detect/input.h"
#include "countermark/detect/pairs.h"
#include "countermark/keys/epoch.h"
#include "countermark/tokenize/tokenizer.h"

namespace countermark {

// Candidates that are tested beside the base channel: accounts, or the requests of one account.
struct CandidateFamily {
  std::string name;   // "accounts", "requests"
  std::string of;     // requests: the account
  int channel = 0;
  std::vector<std::string> labels;
  std::vector<Secret32> keys;
  std::string Digest() const;  // SHA-256 of name, account and labels in order, hex
};

// The keys of an audit, derived once.
class AuditKeys {
 public:
  // InvalidArgument: a record out of range, a candidate named twice, candidates for a channel the epoch has not got. Threads: 0 is one a core.
  static absl::StatusOr<AuditKeys> Create(const EpochKeys& keys, std::vector<std::string> accounts, std::string requests_of,
                                          std::vector<std::string> requests, int threads = 0);

  EpochRecord record;
  std::vector<uint32_t> weights;
  Secret32 epoch_key, base, route;
  std::vector<CandidateFamily> families;
  uint32_t id_limit() const { return record.vocabulary != 0 ? record.vocabulary : kTokenLimit; }
  // A pseudorandom function of the key: says whether two runs used the same one, and nothing else of it.
  std::string Fingerprint() const;

 private:
  AuditKeys(const EpochKeys& keys);
};

struct DatasetOptions {
  std::vector<std::string> files;       // from ListInputs; with a source, its paths
  RecordSource* source = nullptr;       // read in place of the files, on the calling thread
  std::string directory;
  InputOptions input;
  uint64_t limit = 0;                   // records; 0: all
  uint32_t part = 0, parts = 1;         // this run takes the pairs whose hash falls into part `part` of `parts`
  int threads = 0;                      // 0: one a core
  uint64_t memory = uint64_t{1} << 30;  // bytes, kept to as nearly as can be told; a record's length is the other bound
};

// What is chosen for the verdict, and may be chosen anew over a finished run.
struct JudgeOptions {
  double alpha = 1e-6;
  double fdr = 0.01;
  double confidence = 0.99;
  double min_coverage = 0.95;
  uint64_t top = 100;  // candidates shown; those that are named are shown in any case
};

// Called from one thread at a time.
struct AuditObserver {
  std::function<void(std::string_view phase, std::string_view unit, uint64_t total)> begin;  // total 0: not known
  std::function<void(uint64_t done)> add;
  std::function<void(std::string_view text)> note;
};

struct DatasetResult {
  std::string json;      // what DIRECTORY/result.json holds
  bool complete = true;  // no file broke off
  double coverage = 1;
  bool decided = false;  // there was something to test
  bool evidence = false;
  std::vector<std::string> errors;  // the first ones, "FILE:LINE: byte B: …"
  uint64_t error_count = 0;
};

// Runs or goes on. FailedPrecondition: another process has the directory, or it belongs to other options, another key, input or version, which the
// message names. ResourceExhausted: the disk is full; what is done is kept. DataLoss: a damaged file, with its byte.
absl::StatusOr<DatasetResult> RunDataset(const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options, const JudgeOptions& judge,
                                         const AuditObserver& observer);

// What a run would do: the first segment is looked into, nothing is written.
struct DatasetPlan {
  uint64_t files = 0;
  uint64_t bytes_on_disk = 0;
  bool compressed = false;      // one at least, so that the estimates are low
  double tokens_per_byte = 0;
  double bytes_per_second = 0;  // one thread, cutting, tokenising and scoring
  double spill_per_byte = 0;
  uint64_t sample_bytes = 0;
};
absl::StatusOr<DatasetPlan> PlanDataset(const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options);

// Puts finished runs together into a new directory, as the runs themselves say: parts of one input (every part once), or runs over different
// documents, by their pairs. Their order does not hang on that of `runs`: parts stand by their number, documents by the checksums of the runs' inputs, so that the order the sparse
// test needs is decided by the texts and by nobody. `keys` with the same candidates as the runs had.
absl::StatusOr<DatasetResult> MergeRuns(const AuditKeys& keys, const std::vector<std::string>& runs, const std::string& directory, int threads, uint64_t memory,
                                        const JudgeOptions& judge, const AuditObserver& observer);

}  // namespace countermark

#endif  // COUNTERMARK_AUDIT_DATASET_H_
