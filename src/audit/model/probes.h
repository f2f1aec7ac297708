// Probes: the answers a suspect is asked about, from files of JSON lines, in the order their requests began.
//
//   CM_ASSIGN_OR_RETURN(ProbeSource source, ProbeSource::Open(paths, served));
//   ModelProbe probe;
//   for (uint64_t i = 0; i < source.size(); ++i) CM_RETURN_IF_ERROR(source.Read(i, &probe));
//
// Open reads every line once and keeps some 40 bytes a probe; Read reads the line again.
#ifndef COUNTERMARK_SRC_AUDIT_MODEL_PROBES_H_
#define COUNTERMARK_SRC_AUDIT_MODEL_PROBES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "src/base/file.h"

namespace countermark::audit {

struct ModelProbe {
  std::string account;  // may be empty
  bool prompt_is_ids = false, answer_is_ids = false;
  std::string prompt, answer;
  std::vector<uint32_t> prompt_ids, answer_ids;
};

struct ProbeCounts {
  uint64_t records = 0;     // answers with something in them, and what could not be read
  uint64_t unreadable = 0;
  uint64_t torn = 0;        // lines that a server's end cut short: an answer each that is not known
  uint64_t without_ids = 0; // logged as a hash, or not at all
};

class ProbeSource {
 public:
  // NotFound and the like for files; InvalidArgument for compressed ones, and where some records say when they began and others do not.
  static absl::StatusOr<ProbeSource> Open(const std::vector<std::string>& paths, bool served);

  uint64_t size() const { return entries_.size(); }
  // DataLoss where the file has changed meanwhile.
  absl::Status Read(uint64_t index, ModelProbe* probe) const;
  std::string Place(uint64_t index) const;  // "FILE:LINE"
  const ProbeCounts& counts() const { return counts_; }
  const std::vector<std::string>& errors() const { return errors_; }
  uint64_t error_count() const { return error_count_; }
  // Where a server's clock went back, or files tell two starts by the same second alone, which leaves the order of the log unknown; empty if nowhere.
  const std::string& clock() const { return clock_; }
  const std::string& sha256() const { return sha256_; }  // of the files' own digests, in order

 private:
  struct Entry {
    int64_t start = 0;   // milliseconds since 1970; 0 throughout where no record says it
    uint32_t file = 0, choice = 0;
    uint64_t line = 0, byte = 0;
    uint32_t bytes = 0;
    bool whole_second = false;  // its start is told without a fraction
  };
  ProbeSource() = default;
  absl::Status Scan(uint32_t file, bool served);
  void Error(const std::string& text);

  std::vector<std::string> paths_;
  std::vector<FileDescriptor> files_;
  std::vector<Entry> entries_;
  ProbeCounts counts_;
  std::vector<std::string> errors_;
  uint64_t error_count_ = 0;
  uint64_t timed_ = 0, untimed_ = 0;
  std::string clock_, sha256_;
};

// Milliseconds since 1970 of "2026-11-24T18:19:12.123Z" (any number of decimals, or none). False for any other form.
bool ParseUtcMillis(std::string_view text, int64_t* millis);

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_MODEL_PROBES_H_
