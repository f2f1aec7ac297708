// What is to be examined: files, folders and standard input in; records out, one by one, in order, each with the place it stood.
//
//   InputOptions options;  options.token_ids_field = "token_ids";
//   CM_ASSIGN_OR_RETURN(std::vector<std::string> files, ListInputs(arguments));
//   InputReader reader(files, options);
//   RawRecord raw;  InputRecord record;
//   while (reader.Next(&raw)) {
//     absl::Status status = ParseRecord(raw, options, &record);   // may run on another thread
//     …
//   }
//
// Formats: plain text (one file, one record), JSON lines (one object a line; blank lines are no records) and CSV or TSV (RFC 4180, the first
// row names the columns). Each may be gzip or Zstandard, told by its first bytes. Memory is bounded by the longest record. Places are
// lines from 1 and bytes from 0 of the decompressed stream.
#ifndef COUNTERMARK_DETECT_INPUT_H_
#define COUNTERMARK_DETECT_INPUT_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace countermark {

// kAuto: by the name (.jsonl .ndjson .json; .csv .tsv; .txt .md), a .gz or .zst behind it left out. Any other name, and standard input:
// JSON lines where a field was named or the first character is '{', else text.
enum class InputFormat { kAuto, kText, kJsonl, kCsv };

struct InputOptions {
  InputFormat format = InputFormat::kAuto;
  // Member or column with the text, or with the token ids (an array; in CSV integers between spaces or commas, brackets allowed). One of
  // them at most; both empty: `token_ids` or `text`, as default_ids says.
  std::string text_field;
  std::string token_ids_field;
  bool default_ids = false;       // no field is named: look for token ids, not text
  std::string id_field = "id";    // a string or an integer; a record without it is called FILE:LINE
  std::string prompt_field;       // the prompt's text, or its ids, whose windows are not scored; null is no prompt
  std::string prompt_ids_field;
  size_t max_record_bytes = size_t{256} << 20;
  bool hash = false;              // SHA-256 of each file's bytes as they are on the disk

  bool wants_ids() const { return !token_ids_field.empty() || (text_field.empty() && default_ids); }
  std::string content_field() const {
    return !token_ids_field.empty() ? token_ids_field : !text_field.empty() ? text_field : default_ids ? "token_ids" : "text";
  }
};

struct InputRecord;

// A record as it was cut out of its file, not yet looked into.
struct RawRecord {
  uint32_t file = 0;   // index into the reader's paths
  uint64_t line = 0;   // where it begins
  uint64_t byte = 0;
  InputFormat format = InputFormat::kText;
  std::string bytes;                                           // a line of JSON, or a text
  std::vector<std::string> cells;                              // of a CSV row
  std::shared_ptr<const std::vector<std::string>> columns;     // of its CSV file
  std::shared_ptr<InputRecord> ready;                          // of a source of tables, which has looked into it already
  absl::Status error;        // the record could not be cut out; `bytes` is then empty. Message without the place
  bool ends_file = false;    // the error is the file's: what follows in it is lost. Not a record
};

struct InputRecord {
  std::string id;
  bool has_ids = false;               // ids, else text
  std::string text;
  std::vector<uint32_t> ids;
  bool has_prompt = false;
  std::string prompt_text;            // one of the two, as the options name it
  std::vector<uint32_t> prompt_ids;
  uint64_t error_byte = 0;            // where a record that cannot be read goes wrong, as exactly as is known
};

// The files behind the arguments: a folder gives every regular file below it, by name, hidden ones left out; "-" is standard input. Each is
// opened once to see that it can be. NotFound, PermissionDenied, InvalidArgument for a folder without files or an input named twice.
absl::StatusOr<std::vector<std::string>> ListInputs(std::span<const std::string> arguments);

// True if the records of every file can be counted beforehand: regular files all of them.
bool InputsAreCountable(std::span<const std::string> files);
// How many records a reader will give, unreadable ones among them. Reads every file once; DataLoss where one breaks off.
absl::StatusOr<uint64_t> CountRecords(std::span<const std::string> files, const InputOptions& options);

// Records one by one, in an order that is always the same: files that InputReader cuts up, or tables that the Python package holds.
class RecordSource {
 public:
  virtual ~RecordSource() = default;
  // The next record, or an error in place of one; false after the last, and where status() is not OK.
  virtual bool Next(RawRecord* record) = 0;
  virtual const std::vector<std::string>& paths() const = 0;  // all of them; RawRecord::file is an index here
  // How a place is said to people.
  virtual std::string Place(const std::string& path, uint64_t line, uint64_t byte) const { return path + ":" + std::to_string(line) + ": byte " + std::to_string(byte); }
  // Not OK: the source was stopped. No record is at fault, and what comes behind is not known.
  virtual absl::Status status() const { return absl::OkStatus(); }
};

class InputReader : public RecordSource {
 public:
  struct FileSummary {
    std::string path;
    uint64_t bytes = 0;      // on the disk
    uint64_t records = 0;
    std::string sha256;      // with options.hash, once the file was read to its end
  };

  InputReader(std::vector<std::string> files, InputOptions options);
  ~InputReader() override;
  InputReader(const InputReader&) = delete;
  InputReader& operator=(const InputReader&) = delete;

  // An empty file is an error with ends_file.
  bool Next(RawRecord* record) override;
  const std::vector<std::string>& paths() const override { return paths_; }
  // Of the files met so far.
  const std::vector<FileSummary>& files() const { return summaries_; }

 private:
  class File;
  bool OpenNext(RawRecord* record);
  std::vector<std::string> paths_;
  InputOptions options_;
  std::vector<FileSummary> summaries_;
  std::unique_ptr<File> current_;
};

// Looks into a raw record. An error says what is wrong (the member's name, the position of an id that is not one) and leaves its byte in
// record->error_byte. `path` names the record where it has no id.
absl::Status ParseRecord(const RawRecord& raw, std::string_view path, const InputOptions& options, InputRecord* record);

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_INPUT_H_
