// Rows of tables that Python holds, as the audit's records, beside files that the library reads itself.
//
//   TableSource source(paths, batches, options);      // `batches`: an iterator of Python's, asked for its next item as the records run out
//   RunDataset(keys, tokenizer, {.files = source.paths(), .source = &source, …}, …);
//
// An item is one of
//   (file, first row, row group or −1, contents, prompts or None, names or None)     a stretch of rows: Columns, and a list of str or None
//   (file, row, message)                                                             the file is lost from that row on
//   (file,)                                                                          a file for InputReader
// file: an index into `paths`; files and rows in ascending order, rows from 0.
#ifndef COUNTERMARK_PYTHON_SRC_TABLE_SOURCE_H_
#define COUNTERMARK_PYTHON_SRC_TABLE_SOURCE_H_

#include <nanobind/nanobind.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "countermark/detect/input.h"
#include "python/src/detect_run.h"

namespace countermark::python {

namespace nb = nanobind;

// One row of a batch as a record, looked into already. `names` may be empty; a row without a name is called PATH:LINE. A text, or ids of four bytes each, longer than most_bytes is an error.
RawRecord RowRecord(const Column& contents, const Column* prompts, const std::vector<std::optional<std::string>>& names, size_t row, uint32_t file, const std::string& path,
                    uint64_t line, size_t most_bytes);

class TableSource : public RecordSource {
 public:
  TableSource(std::vector<std::string> paths, nb::object batches, InputOptions options) : paths_(std::move(paths)), batches_(std::move(batches)), options_(std::move(options)) {}
  ~TableSource() override {
    nb::gil_scoped_acquire locked;
    batches_.reset();
    item_.reset();
    raised_.reset();
  }

  // Takes the GIL when it needs another batch.
  bool Next(RawRecord* record) override;
  const std::vector<std::string>& paths() const override { return paths_; }
  std::string Place(const std::string& path, uint64_t line, uint64_t byte) const override;
  absl::Status status() const override { return status_; }
  // Raises again what the iterator raised. Needs the GIL.
  void Rethrow();

 private:
  bool Fetch();

  std::vector<std::string> paths_;
  nb::object batches_, item_;
  InputOptions options_;
  absl::Status status_;
  std::optional<nb::python_error> raised_;

  uint32_t file_ = 0;
  const Column* contents_ = nullptr;
  const Column* prompts_ = nullptr;
  std::vector<std::optional<std::string>> names_;
  uint64_t first_row_ = 0;
  size_t row_ = 0;
  std::optional<RawRecord> lost_;
  std::unique_ptr<InputReader> reader_;
  // Of tables met so far: where row groups begin; −1: there are none.
  std::map<std::string, std::map<uint64_t, int64_t>> groups_;
};

}  // namespace countermark::python

#endif  // COUNTERMARK_PYTHON_SRC_TABLE_SOURCE_H_
