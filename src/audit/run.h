// A run directory: what its files are called, what a run was made with, and a lock on it.
//
//   run.json             options, key fingerprint, mark; its SHA-256 is in every other file's head
//   lock                 held by the process at work
//   pairs-NNN.log        segments: documents and spilled pairs
//   input.json           when the input has been read to its end: how much it was
//   firsts-NNN.log       a frame a partition: which pairs stand in no earlier document
//   sums-NNN.log         a frame a segment: the documents' scores on the pairs they are first to hold
//   candidates.state     the candidates' sums so far
//   documents.jsonl, result.json
#ifndef COUNTERMARK_SRC_AUDIT_RUN_H_
#define COUNTERMARK_SRC_AUDIT_RUN_H_

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "countermark/audit/dataset.h"
#include "src/audit/frame_log.h"
#include "src/audit/segment.h"
#include "src/base/file.h"

namespace countermark::audit {

// A file of the input as it was when reading began; not known (0, 0) of what is no regular file.
struct FileOnDisk {
  uint64_t bytes = 0;
  int64_t written = 0;  // nanoseconds since 1970
  bool operator==(const FileOnDisk&) const = default;
};
std::vector<FileOnDisk> LookAtFiles(const std::vector<std::string>& files);

// The end of the input, in input.json.
struct InputEnd {
  uint64_t segments = 0;
  uint64_t records = 0;
  uint64_t raw_bytes = 0;
  uint32_t raw_crc = 0;
  std::vector<FileOnDisk> disk;  // a file each
};

struct RunDirectory {
  std::string path;
  std::string options;   // run.json
  Digest32 digest{};
  FileDescriptor lock;

  std::string File(std::string_view name) const;
  // Makes the directory, or opens it. FailedPrecondition: in use, or made with other options; the message names the first that differs.
  static absl::StatusOr<RunDirectory> CreateOrResume(const std::string& path, const std::string& options);
  // One that another command has made; not locked.
  static absl::StatusOr<RunDirectory> OpenFinished(const std::string& path);
};

// Canonical JSON (keys sorted, no blanks) of everything the integers of a run hang on.
std::string OptionsJson(const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options);
std::string MergeOptionsJson(const AuditKeys& keys, const std::vector<Digest32>& runs);
// run.json of another's making, held to its form: format, kind, part (of, index), input.files, tokenizer_sha256 and what two runs are compared by are there and of their kinds.
absl::StatusOr<nlohmann::json> ParseRunOptions(const RunDirectory& run);

// NotFound while the input has not been read to its end.
absl::StatusOr<InputEnd> ReadInputEnd(const RunDirectory& run);
absl::Status WriteInputEnd(const RunDirectory& run, const InputEnd& end);
// FailedPrecondition where a file has another length than when it was read, to whose bytes no checksum is held any more; a note where it was written to since.
absl::Status CheckFilesAreAsRead(const InputEnd& end, const std::vector<std::string>& files, const AuditObserver& observer);

// Segments of one run, or of several one after the other.
class SegmentSource {
 public:
  // `log` must outlive the source. files: how many paths this run has.
  void Add(const FrameLog* log, const InputEnd& end, std::vector<std::string> files);
  uint64_t segments() const { return segments_; }
  uint64_t records() const { return records_; }
  const std::vector<std::string>& files() const { return files_; }
  // Head and index of a segment, verified; first_document as counted over all runs.
  absl::Status Head(uint64_t segment, SegmentHead* head, std::vector<SectionIndex>* index) const;
  absl::StatusOr<SegmentView> Read(uint64_t segment) const;
  // The documents alone, their file numbers as in files().
  absl::Status Documents(uint64_t segment, SegmentHead* head, std::vector<DocumentRow>* rows) const;
  // A section, verified. `at`: the section's place in the payload.
  absl::Status Section(uint64_t segment, uint64_t at, const SectionIndex& index, std::string* bytes) const;
  std::string Place(uint64_t segment) const;

 private:
  struct Run {
    const FrameLog* log;
    uint64_t first_segment, first_record;
    uint32_t first_file;
  };
  const Run& RunOf(uint64_t segment) const;
  std::vector<Run> runs_;
  uint64_t segments_ = 0, records_ = 0;
  std::vector<std::string> files_;
};

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_RUN_H_
