// What a preload library counts, in a file that the program which answers /metrics reads (python/countermark/serving/metrics.py has the format and sums
// the files of all processes, those that have ended among them).
//
//   CM_ASSIGN_OR_RETURN(std::unique_ptr<Counters> counters, Counters::Open("/run/countermark"));
//   counters->Add(Counters::Of(Cause::kMarked));                     // countermark_tokens_total{cause="marked"}
//
// The file llama-PID-RANDOM.counters, little-endian: 8 bytes "CMCNT001", u32 number of entries, zero to byte 64; then 254 entries of 192 bytes: u64 value, the
// series' name padded with NUL. The process holds flock(LOCK_EX) on it as long as it lives.
#ifndef COUNTERMARK_SRC_LLAMA_PRELOAD_COUNTERS_H_
#define COUNTERMARK_SRC_LLAMA_PRELOAD_COUNTERS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "countermark/sampling/request.h"
#include "src/base/file.h"

namespace countermark {

class Counters {
 public:
  enum Series : int {
    kTokens = 0,  // and one for each further cause
    kSigned = kCauses,
    kPort,
    kUnsigned,
    kStale,
    kForged,
    kUnknownAccounts,
    kEndedEpochs,
    kBundleFailures,
    kDraftTokens,      // chosen for a draft, by chains that no prompt went through
    kFloored,          // requests that were raised to the entropy floor
    kMirostat,         // requests whose terminal sampler gave way to the mark
    kMirostatV2,
    kAdaptiveP,
    kSeriesCount,
  };
  static Series Of(Cause cause) { return static_cast<Series>(kTokens + static_cast<int>(cause)); }

  // Makes the process's file in a folder that is there. Errors name the folder.
  static absl::StatusOr<std::unique_ptr<Counters>> Open(const std::string& folder);
  ~Counters();
  Counters(const Counters&) = delete;
  Counters& operator=(const Counters&) = delete;

  // From any thread; no lock and no system call.
  void Add(Series series, uint64_t n = 1) noexcept;
  uint64_t Value(Series series) const noexcept;

 private:
  Counters(FileDescriptor file, unsigned char* map) : file_(std::move(file)), map_(map) {}
  uint64_t* ValueOf(Series series) const noexcept;

  FileDescriptor file_;  // holds the lock
  unsigned char* map_;
};

}  // namespace countermark

#endif  // COUNTERMARK_SRC_LLAMA_PRELOAD_COUNTERS_H_
