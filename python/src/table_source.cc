#include "python/src/table_source.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python/src/errors.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/detect/utf8.h"

namespace countermark::python {
namespace {

absl::Status TakeText(const Column& column, size_t row, size_t most_bytes, std::string* text, std::vector<uint32_t>* ids) {
  std::string_view view;
  CM_RETURN_IF_ERROR(column.Take(row, &view, ids));
  if (view.size() + 4 * ids->size() > most_bytes) {
    ids->clear();
    return absl::OutOfRangeError(Cat("the record is longer than ", most_bytes, " bytes"));
  }
  if (!column.is_text()) return absl::OkStatus();
  if (const size_t fault = Utf8FaultAt(view); fault != std::string_view::npos) {
    return absl::InvalidArgumentError(Cat("byte ", fault, " of the text is ", view[fault] == 0 ? "NUL" : "no UTF-8"));
  }
  *text = view;
  return absl::OkStatus();
}

}  // namespace

RawRecord RowRecord(const Column& contents, const Column* prompts, const std::vector<std::optional<std::string>>& names, size_t row, uint32_t file, const std::string& path,
                    uint64_t line, size_t most_bytes) {
  RawRecord record;
  record.file = file;
  record.line = line;
  record.ready = std::make_shared<InputRecord>();
  InputRecord& ready = *record.ready;
  if (!names.empty() && names[row]) ready.id = *names[row];
  if (ready.id.empty()) ready.id = Cat(path, ":", line);
  ready.has_ids = !contents.is_text();
  record.error = TakeText(contents, row, most_bytes, &ready.text, &ready.ids);
  if (record.error.ok() && prompts != nullptr) {
    ready.has_prompt = true;
    record.error = TakeText(*prompts, row, most_bytes, &ready.prompt_text, &ready.prompt_ids);
    if (!record.error.ok() && record.error.message().empty()) {  // null: no prompt
      record.error = absl::OkStatus();
      ready.has_prompt = false;
    }
    if (!record.error.ok()) record.error = absl::InvalidArgumentError(Cat("the prompt: ", std::string(record.error.message())));
  }
  return record;
}

bool TableSource::Fetch() {
  nb::gil_scoped_acquire locked;
  try {
    item_ = nb::steal(PyIter_Next(batches_.ptr()));
    if (!item_.is_valid()) {
      if (PyErr_Occurred() != nullptr) nb::raise_python_error();
      return false;
    }
    const nb::tuple item = nb::cast<nb::tuple>(item_);
    file_ = nb::cast<uint32_t>(item[0]);
    if (file_ >= paths_.size()) Raise("InternalError", "a batch of a file that was not named");
    if (item.size() == 1) {
      reader_ = std::make_unique<InputReader>(std::vector<std::string>{paths_[file_]}, options_);
      return true;
    }
    first_row_ = nb::cast<uint64_t>(item[1]);
    if (item.size() == 3) {
      lost_.emplace();
      lost_->file = file_;
      lost_->line = first_row_ + 1;
      lost_->error = absl::DataLossError(nb::cast<std::string>(item[2]));
      lost_->ends_file = true;
      groups_[paths_[file_]];
      return true;
    }
    std::map<uint64_t, int64_t>& groups = groups_[paths_[file_]];
    const auto group = nb::cast<int64_t>(item[2]);
    if (groups.empty() || groups.rbegin()->second != group) groups.emplace(first_row_, group);
    contents_ = nb::cast<const Column*>(item[3]);
    prompts_ = item[4].is_none() ? nullptr : nb::cast<const Column*>(item[4]);
    names_.clear();
    if (!item[5].is_none()) names_ = nb::cast<std::vector<std::optional<std::string>>>(item[5]);
    if ((prompts_ != nullptr && prompts_->size() != contents_->size()) || (!names_.empty() && names_.size() != contents_->size())) {
      Raise("InternalError", "the columns of a batch are not of one length");
    }
    row_ = 0;
    return true;
  } catch (nb::python_error& error) {
    status_ = absl::InternalError(Cat("the input cannot be read: ", nb::cast<std::string>(nb::str(error.value()))));
    raised_.emplace(std::move(error));
    return false;
  }
}

bool TableSource::Next(RawRecord* record) {
  *record = RawRecord();
  while (status_.ok()) {
    if (reader_ != nullptr) {
      const bool more = reader_->Next(record);
      record->file = file_;
      if (more) return true;
      reader_.reset();
    }
    if (contents_ != nullptr && row_ < contents_->size()) {
      const size_t row = row_++;
      *record = RowRecord(*contents_, prompts_, names_, row, file_, paths_[file_], first_row_ + row + 1, options_.max_record_bytes);
      return true;
    }
    if (!Fetch()) return false;
    if (lost_) {
      *record = *std::move(lost_);
      lost_.reset();
      contents_ = nullptr;
      return true;
    }
  }
  return false;
}

std::string TableSource::Place(const std::string& path, uint64_t line, uint64_t byte) const {
  const auto file = groups_.find(path);
  if (file == groups_.end()) return RecordSource::Place(path, line, byte);
  int64_t group = -1;
  for (const auto& [first_row, number] : file->second) {
    if (first_row < line) group = number;
  }
  return Cat(path, ": ", group < 0 ? "" : Cat("row group ", group, ", "), "row ", line);
}

void TableSource::Rethrow() {
  if (raised_) throw *std::move(raised_);
}

}  // namespace countermark::python
