// Looks into a record: the members of a JSON object, the cells of a row, or a text as it is.
#include <charconv>
#include <nlohmann/json.hpp>

#include "countermark/detect/input.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/detect/utf8.h"

namespace countermark {
namespace {

// Which of the record's parts a member is.
enum class Part { kNone, kText, kIds, kId, kPrompt, kPromptIds };
constexpr int kParts = 6;

Part PartOf(std::string_view name, const InputOptions& options) {
  if (name == options.content_field()) return options.wants_ids() ? Part::kIds : Part::kText;
  if (!options.prompt_field.empty() && name == options.prompt_field) return Part::kPrompt;
  if (!options.prompt_ids_field.empty() && name == options.prompt_ids_field) return Part::kPromptIds;
  if (name == options.id_field) return Part::kId;
  return Part::kNone;
}

// Takes the events of one line of JSON and keeps what the options name. Returning false ends the parse; `wrong` says why.
class Handler : public nlohmann::json_sax<nlohmann::json> {
 public:
  Handler(const InputOptions& options, const RawRecord& raw, InputRecord* record)
      : options_(options), content_(options.content_field()), raw_(raw), record_(record) {}

  std::string wrong;
  bool has(Part part) const { return seen_[static_cast<int>(part)]; }

  bool null() override {
    if (array_ != Part::kNone) return NotAnId("null");
    if (depth_ == 0) return NotAnObject();
    if (depth_ == 1 && (part_ == Part::kText || part_ == Part::kIds)) return Fail(Cat("'", name_, "' is null"));
    return true;
  }
  bool boolean(bool) override { return array_ != Part::kNone ? NotAnId("a boolean") : Other("a boolean"); }
  bool number_integer(number_integer_t value) override {
    if (array_ != Part::kNone) return NotAnId(Cat(value));
    if (depth_ == 1 && part_ == Part::kId) {
      record_->id = Cat(value);
      return true;
    }
    return Other("a number");
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (array_ != Part::kNone) {
      if (value > UINT32_MAX) return NotAnId(Cat(value));
      ids_->push_back(static_cast<uint32_t>(value));
      return true;
    }
    if (depth_ == 1 && part_ == Part::kId) {
      record_->id = Cat(value);
      return true;
    }
    return Other("a number");
  }
  bool number_float(number_float_t, const string_t& text) override { return array_ != Part::kNone ? NotAnId(text) : Other("a number"); }
  bool string(string_t& value) override {
    if (array_ != Part::kNone) return NotAnId("a string");
    if (depth_ == 1) {
      switch (part_) {
        case Part::kText:
          record_->text = std::move(value);
          return true;
        case Part::kPrompt:
          record_->prompt_text = std::move(value);
          record_->has_prompt = true;
          return true;
        case Part::kId:
          record_->id = std::move(value);
          return true;
        default:
          break;
      }
    }
    return Other("a string");
  }
  bool binary(binary_t&) override { return Other("binary"); }
  bool start_object(size_t) override {
    if (array_ != Part::kNone) return NotAnId("an object");
    if (depth_ == 1 && part_ != Part::kNone) return Other("an object");
    ++depth_;
    part_ = Part::kNone;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (array_ != Part::kNone) return NotAnId("an array");
    if (depth_ == 0) return NotAnObject();
    if (depth_ == 1 && part_ == Part::kIds) {
      ids_ = &record_->ids;
      ids_->reserve(raw_.bytes.size() / 8);  // about six digits an id
    } else if (depth_ == 1 && part_ == Part::kPromptIds) {
      ids_ = &record_->prompt_ids;
      record_->has_prompt = true;
    } else if (depth_ == 1 && part_ != Part::kNone) {
      return Other("an array");
    }
    if (depth_ == 1) array_ = part_;
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    array_ = Part::kNone;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    part_ = name == content_ ? (options_.wants_ids() ? Part::kIds : Part::kText) : PartOf(name, options_);
    if (part_ == Part::kNone) return true;
    name_ = name;
    bool& seen = seen_[static_cast<int>(part_)];
    if (seen) return Fail(Cat("'", name, "' stands in the object twice"));
    seen = true;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 9: WHAT; last read: 'THE LINE SO FAR'": WHAT is of use.
    std::string what = error.what();
    if (size_t at = what.find("column "); at != std::string::npos && what.find(": ", at) != std::string::npos) what.erase(0, what.find(": ", at) + 2);
    if (size_t at = what.find("; last read"); at != std::string::npos) what.erase(at);
    wrong = Cat("not JSON: ", what);
    record_->error_byte = raw_.byte + (position > 0 ? position - 1 : 0);
    return false;
  }

 private:
  bool Fail(std::string message) {
    wrong = std::move(message);
    return false;
  }
  bool NotAnObject() { return Fail("the line is not a JSON object"); }
  bool NotAnId(std::string_view value) { return Fail(Cat("'", name_, "': position ", ids_->size(), ": ", value, " is not a token id")); }
  // A value of the wrong kind, unless it is of no interest.
  bool Other(std::string_view kind) {
    if (depth_ == 0) return NotAnObject();
    if (depth_ != 1 || part_ == Part::kNone) return true;
    static constexpr std::string_view kWanted[kParts] = {"", "a string", "an array of token ids", "a string or an integer", "a string", "an array of token ids"};
    return Fail(Cat("'", name_, "' is ", kind, ", not ", kWanted[static_cast<int>(part_)]));
  }

  const InputOptions& options_;
  const std::string content_;
  const RawRecord& raw_;
  InputRecord* record_;
  int depth_ = 0;
  Part part_ = Part::kNone;   // of the member at depth 1
  Part array_ = Part::kNone;  // the ids that are being read
  std::vector<uint32_t>* ids_ = nullptr;
  std::string name_;
  bool seen_[kParts] = {};
};

absl::Status ParseJson(const RawRecord& raw, const InputOptions& options, InputRecord* record) {
  Handler handler(options, raw, record);
  if (!nlohmann::json::sax_parse(raw.bytes.data(), raw.bytes.data() + raw.bytes.size(), &handler)) {
    return absl::InvalidArgumentError(handler.wrong.empty() ? "not JSON" : handler.wrong);
  }
  if (!handler.has(options.wants_ids() ? Part::kIds : Part::kText)) {
    return absl::InvalidArgumentError(Cat("no member '", options.content_field(), "'"));
  }
  for (const auto& [field, part] : {std::pair(&options.prompt_field, Part::kPrompt), std::pair(&options.prompt_ids_field, Part::kPromptIds)}) {
    if (!field->empty() && !handler.has(part)) return absl::InvalidArgumentError(Cat("no member '", *field, "'"));
  }
  return absl::OkStatus();
}

// Text that is UTF-8, without NUL; else what is wrong, with the byte in *at. JSON is held to the same by its own rules.
absl::Status CheckText(std::string_view text, std::string_view where, size_t* at) {
  *at = Utf8FaultAt(text);
  if (*at == std::string_view::npos) return absl::OkStatus();
  if (text[*at] == '\0') return absl::InvalidArgumentError(Cat(where, "a NUL byte: this is no text in UTF-8, but UTF-16 without a byte order mark, or no text at all"));
  return absl::InvalidArgumentError(Cat(where, "not UTF-8; convert it first, from Latin-1 for one: iconv -f ISO-8859-1 -t UTF-8"));
}

// "[1, 2, 3]", "1 2 3", "1,2,3" or nothing.
absl::Status ParseIdsCell(std::string_view name, std::string_view cell, std::vector<uint32_t>* ids) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ','; };
  while (!cell.empty() && blank(cell.front())) cell.remove_prefix(1);
  while (!cell.empty() && blank(cell.back())) cell.remove_suffix(1);
  if (cell.starts_with('[') != cell.ends_with(']')) return absl::InvalidArgumentError(Cat("'", name, "': a bracket is missing"));
  if (cell.starts_with('[')) cell = cell.substr(1, cell.size() - 2);
  const char* at = cell.data();
  const char* const end = at + cell.size();
  while (true) {
    while (at != end && blank(*at)) ++at;
    if (at == end) return absl::OkStatus();
    uint32_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || (next != end && !blank(*next))) {
      const char* stop = at;
      while (stop != end && !blank(*stop) && stop - at < 32) ++stop;
      return absl::InvalidArgumentError(
          Cat("'", name, "': position ", ids->size(), ": '", std::string_view(at, static_cast<size_t>(stop - at)), "' is not a token id"));
    }
    ids->push_back(value);
    at = next;
  }
}

absl::Status ParseRow(const RawRecord& raw, const InputOptions& options, InputRecord* record) {
  bool seen[kParts] = {};
  for (size_t i = 0; i < raw.cells.size(); ++i) {
    const std::string& name = (*raw.columns)[i];
    const Part part = PartOf(name, options);
    if (part == Part::kNone) continue;
    if (seen[static_cast<int>(part)]) return absl::InvalidArgumentError(Cat("two columns are called '", name, "'"));
    seen[static_cast<int>(part)] = true;
    if (part == Part::kText || part == Part::kPrompt) {
      size_t at = 0;
      if (absl::Status status = CheckText(raw.cells[i], Cat("'", name, "': "), &at); !status.ok()) {
        return absl::InvalidArgumentError(Cat(std::string(status.message()), " (byte ", at, " of the cell)"));
      }
    }
    switch (part) {
      case Part::kText:
        record->text = raw.cells[i];
        break;
      case Part::kIds:
        CM_RETURN_IF_ERROR(ParseIdsCell(name, raw.cells[i], &record->ids));
        break;
      case Part::kId:
        record->id = raw.cells[i];
        break;
      case Part::kPrompt:
        record->prompt_text = raw.cells[i];
        record->has_prompt = !raw.cells[i].empty();
        break;
      case Part::kPromptIds:
        CM_RETURN_IF_ERROR(ParseIdsCell(name, raw.cells[i], &record->prompt_ids));
        record->has_prompt = true;
        break;
      case Part::kNone:
        break;
    }
  }
  if (!seen[static_cast<int>(options.wants_ids() ? Part::kIds : Part::kText)]) {
    return absl::InvalidArgumentError(Cat("no column '", options.content_field(), "'"));
  }
  for (const auto& [field, part] : {std::pair(&options.prompt_field, Part::kPrompt), std::pair(&options.prompt_ids_field, Part::kPromptIds)}) {
    if (!field->empty() && !seen[static_cast<int>(part)]) return absl::InvalidArgumentError(Cat("no column '", *field, "'"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ParseRecord(const RawRecord& raw, std::string_view path, const InputOptions& options, InputRecord* record) {
  *record = InputRecord();
  record->error_byte = raw.byte;
  record->has_ids = options.wants_ids();
  absl::Status status = raw.error;
  if (status.ok() && raw.format == InputFormat::kText) {
    record->has_ids = false;
    record->id = std::string(path);
    size_t at = 0;
    status = CheckText(raw.bytes, "", &at);
    if (status.ok()) {
      record->text = raw.bytes;
    } else {
      record->error_byte = raw.byte + at;
    }
  } else if (status.ok()) {
    status = raw.format == InputFormat::kCsv ? ParseRow(raw, options, record) : ParseJson(raw, options, record);
  }
  if (record->id.empty()) record->id = raw.format == InputFormat::kText ? std::string(path) : Cat(path, ":", raw.line);
  return status;
}

}  // namespace countermark
