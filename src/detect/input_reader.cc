// Cuts streams into records: whole texts, lines of JSON, rows of CSV.
#include <algorithm>
#include <cstring>

#include "countermark/detect/input.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/detect/byte_source.h"

namespace countermark {
namespace {

constexpr size_t kChunk = 1 << 18;
constexpr size_t kMostColumns = 1 << 14;  // a cell takes more than the comma behind it

std::string LowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// The format a name stands for; kAuto if it says nothing.
InputFormat FormatOfName(std::string_view path, char* separator) {
  std::string name = LowerCase(path);
  for (std::string_view packed : {".gz", ".zst"}) {
    if (name.ends_with(packed)) name.resize(name.size() - packed.size());
  }
  *separator = name.ends_with(".tsv") ? '\t' : ',';
  for (std::string_view end : {".jsonl", ".ndjson", ".json"}) {
    if (name.ends_with(end)) return InputFormat::kJsonl;
  }
  for (std::string_view end : {".csv", ".tsv"}) {
    if (name.ends_with(end)) return InputFormat::kCsv;
  }
  for (std::string_view end : {".txt", ".md"}) {
    if (name.ends_with(end)) return InputFormat::kText;
  }
  return InputFormat::kAuto;
}

// The name of an encoding that is not ours to read, told by the byte order mark; empty for none.
std::string_view OtherEncoding(std::string_view bytes) {
  using std::string_view_literals::operator""sv;
  if (bytes.starts_with("\xFF\xFE\0\0"sv) || bytes.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32";
  if (bytes.starts_with("\xFF\xFE"sv) || bytes.starts_with("\xFE\xFF"sv)) return "UTF-16";
  return "";
}

bool IsBlank(std::string_view line) { return line.find_first_not_of(" \t\r\n") == std::string_view::npos; }

}  // namespace

// One open file: a buffer over its decompressed bytes, and where in it we stand.
class InputReader::File {
 public:
  File(std::unique_ptr<ByteSource> source, const InputOptions& options) : source_(std::move(source)), options_(options) {}

  // Chooses the format and skips a byte order mark.
  absl::Status Begin(const std::string& path) {
    CM_RETURN_IF_ERROR(Fill());
    empty_ = buffer_.empty();
    while (!at_end_ && buffer_.size() < 4) CM_RETURN_IF_ERROR(Fill());
    if (const std::string_view encoding = OtherEncoding(buffer_); !encoding.empty()) {
      return absl::InvalidArgumentError(Cat("the file is ", encoding, ", by its byte order mark; convert it first: iconv -f ", encoding, " -t UTF-8"));
    }
    format_ = options_.format;
    const InputFormat by_name = FormatOfName(path, &separator_);
    if (format_ == InputFormat::kAuto) format_ = by_name;
    if (format_ == InputFormat::kAuto) {
      const size_t first = buffer_.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
      const bool named = !options_.text_field.empty() || !options_.token_ids_field.empty();
      format_ = named || (first != std::string::npos && buffer_[first] == '{') ? InputFormat::kJsonl : InputFormat::kText;
    }
    if (format_ != InputFormat::kText && buffer_.starts_with("\xEF\xBB\xBF")) position_ = 3;
    return absl::OkStatus();
  }

  bool empty() const { return empty_; }
  const ByteSource& source() const { return *source_; }

  // False at the end. A fault of the stream comes as record->error with ends_file.
  bool Next(RawRecord* record) {
    if (over_) return false;
    record->format = format_;
    switch (format_) {
      case InputFormat::kCsv:
        return NextRow(record);
      case InputFormat::kJsonl:
        return NextLine(record);
      default:
        return WholeText(record);
    }
  }

 private:
  absl::Status Fill() {
    if (position_ > 0) {
      buffer_.erase(0, position_);
      base_ += position_;
      position_ = 0;
    }
    const size_t have = buffer_.size();
    buffer_.resize(have + kChunk);
    absl::StatusOr<size_t> n = source_->Read(std::span<char>(buffer_.data() + have, kChunk));
    buffer_.resize(have + (n.ok() ? *n : 0));
    if (!n.ok()) return n.status();
    at_end_ = *n == 0;
    return absl::OkStatus();
  }

  bool Broken(RawRecord* record, const absl::Status& status) {
    over_ = true;
    record->line = line_;
    record->byte = base_ + buffer_.size();
    record->error = status;
    record->ends_file = true;
    return true;
  }

  absl::Status TooLong() const {
    return absl::OutOfRangeError(Cat("the record is longer than ", options_.max_record_bytes, " bytes"));
  }

  bool WholeText(RawRecord* record) {
    record->line = 1;
    record->byte = 0;
    while (!at_end_ && buffer_.size() <= options_.max_record_bytes) {
      if (absl::Status status = Fill(); !status.ok()) return Broken(record, status);
    }
    over_ = true;
    if (buffer_.size() > options_.max_record_bytes) {
      record->error = TooLong();
      return true;
    }
    record->bytes = std::move(buffer_);
    buffer_.clear();
    return true;
  }

  bool NextLine(RawRecord* record) {
    while (true) {
      size_t searched = position_;
      const char* newline = nullptr;
      bool too_long = false;
      record->line = line_;
      record->byte = base_ + position_;
      while (true) {
        newline = static_cast<const char*>(std::memchr(buffer_.data() + searched, '\n', buffer_.size() - searched));
        if (newline != nullptr || at_end_) break;
        if (buffer_.size() - position_ > options_.max_record_bytes) {  // let go of what was read, and find the line's end
          too_long = true;
          position_ = buffer_.size();
        }
        searched = buffer_.size() - position_;  // Fill moves position_ to 0
        if (absl::Status status = Fill(); !status.ok()) return Broken(record, status);
      }
      const size_t end = newline != nullptr ? static_cast<size_t>(newline - buffer_.data()) : buffer_.size();
      const std::string_view line(buffer_.data() + position_, end - position_);
      const bool blank = !too_long && IsBlank(line);
      if (!blank) {
        if (too_long || line.size() > options_.max_record_bytes) {
          record->error = TooLong();
        } else {
          record->bytes.assign(line);
        }
      }
      position_ = newline != nullptr ? end + 1 : end;
      ++line_;
      if (newline == nullptr && blank) {
        over_ = true;
        return false;
      }
      if (newline == nullptr) over_ = true;
      if (!blank) return true;
    }
  }

  // Whether the buffer holds a byte at *at, which moves with the buffer; reads on if it does not. Keeps all from position_ on.
  absl::StatusOr<bool> Has(size_t* at) {
    while (*at == buffer_.size() && !at_end_) {
      const size_t offset = *at - position_;
      CM_RETURN_IF_ERROR(Fill());  // moves position_ to 0
      *at = offset;
    }
    return *at < buffer_.size();
  }

  // To the beginning of the next line; lets go of what it passes.
  absl::Status SkipLine() {
    while (true) {
      const size_t newline = buffer_.find('\n', position_);
      position_ = newline != std::string::npos ? newline + 1 : buffer_.size();
      if (newline != std::string::npos || at_end_) break;
      CM_RETURN_IF_ERROR(Fill());
    }
    ++line_;
    return absl::OkStatus();
  }

  // A row: RFC 4180, cells between separators; a cell in double quotes may hold separators, line ends and doubled quotes. `*count` cells, of which the first `keep` are
  // kept. `*wrong`: the row is not well formed, or too long. Then its first line alone is passed, so that a quote that nobody closes costs a line and not the rest of
  // the file. Returns faults of the stream.
  absl::Status ReadRow(size_t keep, std::vector<std::string>* cells, size_t* count, absl::Status* wrong) {
    cells->clear();
    *count = 0;
    std::string cell;
    size_t at = position_;
    uint64_t line_ends = 0;
    enum { kStart, kPlain, kQuoted, kQuoteInQuoted } state = kStart;
    const auto end_cell = [&] {
      if (++*count <= keep) cells->push_back(std::move(cell));
      cell.clear();
      state = kStart;
    };
    while (wrong->ok()) {
      CM_ASSIGN_OR_RETURN(const bool more, Has(&at));
      if (!more) {
        if (state == kQuoted) {
          *wrong = absl::InvalidArgumentError(Cat("cell ", *count + 1, ": its quote is not closed before the end of the file"));
          break;
        }
        end_cell();
        break;
      }
      if (at - position_ >= options_.max_record_bytes) {
        *wrong = state != kQuoted ? TooLong()
                                  : absl::OutOfRangeError(Cat("cell ", *count + 1, ": its quote is not closed, or the record is longer than ", options_.max_record_bytes, " bytes"));
        break;
      }
      const char c = buffer_[at++];
      line_ends += c == '\n';
      if (state == kQuoted) {
        if (c == '"') {
          state = kQuoteInQuoted;
        } else {
          cell += c;
        }
      } else if (c == '\n') {
        if (cell.ends_with('\r') && state == kPlain) cell.pop_back();
        end_cell();
        break;
      } else if (c == separator_) {
        end_cell();
      } else if (state == kQuoteInQuoted) {
        if (c == '"') {
          cell += c;
          state = kQuoted;
        } else if (c != '\r') {
          *wrong = absl::InvalidArgumentError(Cat("cell ", *count + 1, ": text follows a closed quote"));
        }
      } else if (c == '"' && state == kStart) {
        state = kQuoted;
      } else if (c == '"') {
        *wrong = absl::InvalidArgumentError(Cat("cell ", *count + 1, ": a quote stands inside a cell that is not quoted"));
      } else {
        cell += c;
        state = kPlain;
      }
    }
    if (!wrong->ok()) return SkipLine();
    position_ = at;
    line_ += std::max<uint64_t>(line_ends, 1);
    return absl::OkStatus();
  }

  bool NextRow(RawRecord* record) {
    while (true) {
      if (position_ == buffer_.size() && !at_end_) {
        if (absl::Status status = Fill(); !status.ok()) return Broken(record, status);
      }
      if (position_ == buffer_.size() && at_end_) {
        over_ = true;
        return false;
      }
      record->line = line_;
      record->byte = base_ + position_;
      size_t count = 0;
      if (absl::Status status = ReadRow(columns_ != nullptr ? columns_->size() : kMostColumns, &record->cells, &count, &record->error); !status.ok()) return Broken(record, status);
      if (count == 1 && record->cells.size() == 1 && IsBlank(record->cells[0]) && record->error.ok()) continue;
      if (columns_ == nullptr) {
        if (record->error.ok() && count > kMostColumns) record->error = absl::InvalidArgumentError(Cat("the first row names more than ", kMostColumns, " columns"));
        if (!record->error.ok()) return Broken(record, record->error);
        columns_ = std::make_shared<const std::vector<std::string>>(std::move(record->cells));
        continue;
      }
      if (record->error.ok() && count != columns_->size()) {
        record->error = absl::InvalidArgumentError(Cat("the row has ", count, " cells, and the first row names ", columns_->size(), " columns"));
      }
      record->columns = columns_;
      return true;
    }
  }

  std::unique_ptr<ByteSource> source_;
  const InputOptions& options_;
  InputFormat format_ = InputFormat::kText;
  char separator_ = ',';
  std::string buffer_;
  size_t position_ = 0;   // in buffer_
  uint64_t base_ = 0;     // of buffer_[0] in the stream
  uint64_t line_ = 1;
  bool at_end_ = false;   // of the source
  bool over_ = false;     // no further record
  bool empty_ = false;
  std::shared_ptr<const std::vector<std::string>> columns_;
};

InputReader::InputReader(std::vector<std::string> files, InputOptions options) : paths_(std::move(files)), options_(std::move(options)) {}
InputReader::~InputReader() = default;

// Opens the next file. False if it is one of which only an error can be given, which *record then holds.
bool InputReader::OpenNext(RawRecord* record) {
  FileSummary& summary = summaries_.emplace_back();
  summary.path = paths_[summaries_.size() - 1];
  record->file = static_cast<uint32_t>(summaries_.size() - 1);
  absl::StatusOr<std::unique_ptr<ByteSource>> source = OpenByteSource(summary.path, options_.hash);
  absl::Status status = source.status();
  if (status.ok()) {
    current_ = std::make_unique<File>(*std::move(source), options_);
    status = current_->Begin(summary.path);
    if (status.ok() && current_->empty()) status = absl::InvalidArgumentError("the file is empty");
    summary.bytes = current_->source().bytes_on_disk();
    summary.sha256 = current_->source().Sha256Hex();
  }
  if (status.ok()) return true;
  current_.reset();
  record->line = 1;
  record->error = status;
  record->ends_file = true;
  return false;
}

bool InputReader::Next(RawRecord* record) {
  while (true) {
    *record = RawRecord();
    if (current_ == nullptr) {
      if (summaries_.size() == paths_.size()) return false;
      if (!OpenNext(record)) return true;
    }
    record->file = static_cast<uint32_t>(summaries_.size() - 1);
    FileSummary& summary = summaries_.back();
    const bool more = current_->Next(record);
    if (!more || record->ends_file) {
      summary.bytes = current_->source().bytes_on_disk();
      summary.sha256 = current_->source().Sha256Hex();
      current_.reset();
    }
    if (!more) continue;
    if (!record->ends_file) ++summary.records;
    return true;
  }
}

}  // namespace countermark
