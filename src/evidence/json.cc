#include "src/evidence/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <optional>
#include <unordered_set>

#include "src/base/strings.h"

namespace countermark {
namespace {

constexpr size_t kNameShown = 64;  // bytes of a hostile member's name in an error

const nlohmann::json& EmptyArray() {
  static const nlohmann::json* const empty = new nlohmann::json(nlohmann::json::array());
  return *empty;
}

// Brackets and commas outside strings, counted without building anything: nesting or sheer number must not be able to exhaust a
// reader's memory. Whether the text is JSON at all is the parser's affair.
absl::Status CheckLimits(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return absl::DataLossError(Cat("too large: ", text.size(), " bytes, at most ", limits.max_bytes, " are read"));
  }
  int depth = 0;
  size_t values = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    switch (c) {
      case '"': in_string = true; break;
      case '[':
      case '{':
        if (++depth > limits.max_depth) return absl::DataLossError(Cat("nested deeper than ", limits.max_depth, " levels at byte ", i));
        ++values;
        break;
      case ']':
      case '}': --depth; break;
      case ',': ++values; break;
      default: break;
    }
    if (values > limits.max_values) return absl::DataLossError(Cat("more than ", limits.max_values, " values by byte ", i));
  }
  return absl::OkStatus();
}

// Notes where the parser gave up; builds nothing.
class ErrorPosition : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    position_ = position;
    return false;
  }
  size_t position() const { return position_; }

 private:
  size_t position_ = 0;
};

// nlohmann keeps the last of two members of one name; other readers keep the first. Notes the first name that an object has twice.
class NamesSeen {
 public:
  bool operator()(int, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    switch (event) {
      case nlohmann::json::parse_event_t::object_start: open_.emplace_back(); break;
      case nlohmann::json::parse_event_t::object_end: open_.pop_back(); break;
      case nlohmann::json::parse_event_t::key:
        if (!open_.back().insert(parsed.get_ref<const std::string&>()).second && !twice_) twice_ = parsed.get<std::string>();
        break;
      default: break;
    }
    return true;
  }
  const std::optional<std::string>& twice() const { return twice_; }

 private:
  std::vector<std::unordered_set<std::string>> open_;  // of every object not yet closed
  std::optional<std::string> twice_;
};

void AppendCanonical(const nlohmann::json& value, std::string* out) {
  switch (value.type()) {
    case nlohmann::json::value_t::object: {
      *out += '{';
      bool first = true;
      for (auto it = value.begin(); it != value.end(); ++it) {
        if (!first) *out += ',';
        first = false;
        AppendCanonical(nlohmann::json(it.key()), out);
        *out += ':';
        AppendCanonical(it.value(), out);
      }
      *out += '}';
      break;
    }
    case nlohmann::json::value_t::array: {
      *out += '[';
      bool first = true;
      for (const nlohmann::json& element : value) {
        if (!first) *out += ',';
        first = false;
        AppendCanonical(element, out);
      }
      *out += ']';
      break;
    }
    case nlohmann::json::value_t::number_float: *out += CanonicalNumber(value.get<double>()); break;
    default:
      // Strings: nlohmann escapes as RFC 8785 does (\b \t \n \f \r \" \\, other control characters as \u00xx). Integers and words need no care.
      *out += value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, const JsonLimits& limits) {
  if (absl::Status status = CheckLimits(text, limits); !status.ok()) return status;
  NamesSeen names;
  nlohmann::json value = nlohmann::json::parse(text, std::ref(names), /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    ErrorPosition where;
    nlohmann::json::sax_parse(text, &where);
    if (where.position() > text.size()) return absl::DataLossError(Cat("cut off: the JSON is not complete after ", text.size(), " bytes"));
    return absl::DataLossError(Cat("not JSON at byte ", where.position()));
  }
  if (names.twice()) return absl::DataLossError(Cat("the member '", names.twice()->substr(0, kNameShown), "' stands twice in one object"));
  return value;
}

std::string CanonicalNumber(double x) {
  if (x == 0) return "0";  // both zeros
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, std::fabs(x), std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));  // d.ddde±xx, the shortest that reads back
  const size_t e = text.find('e');
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);
  const int n = std::atoi(std::string(text.substr(e + 1)).c_str()) + 1;  // the value is 0.digits · 10ⁿ
  const int k = static_cast<int>(digits.size());
  std::string out = x < 0 ? "-" : "";
  // ECMAScript, Number::toString.
  if (k <= n && n <= 21) {
    out += digits + std::string(static_cast<size_t>(n - k), '0');
  } else if (0 < n && n <= 21) {
    out += digits.substr(0, static_cast<size_t>(n)) + "." + digits.substr(static_cast<size_t>(n));
  } else if (-6 < n && n <= 0) {
    out += "0." + std::string(static_cast<size_t>(-n), '0') + digits;
  } else {
    out += digits[0];
    if (k > 1) out += "." + digits.substr(1);
    out += n > 0 ? "e+" : "e-";
    out += std::to_string(std::abs(n - 1));
  }
  return out;
}

std::string CanonicalJson(const nlohmann::json& value) {
  std::string out;
  AppendCanonical(value, &out);
  return out;
}

JsonObject::JsonObject(const nlohmann::json& value, std::string path, absl::Status* status)
    : value_(value), path_(std::move(path)), status_(status) {
  if (!value_.is_object() && status_->ok()) *status_ = absl::InvalidArgumentError(Cat(path_, ": an object is expected"));
}

void JsonObject::Fail(std::string_view name, std::string_view what) {
  if (status_->ok()) *status_ = absl::InvalidArgumentError(Cat(path_, ".", name, ": ", what));
}

const nlohmann::json* JsonObject::Find(std::string_view name) {
  if (!value_.is_object()) return nullptr;
  seen_.emplace_back(name);
  const auto it = value_.find(seen_.back());
  if (it == value_.end()) {
    Fail(name, "missing");
    return nullptr;
  }
  return &*it;
}

void JsonObject::Get(std::string_view name, std::string* out) {
  const nlohmann::json* member = Find(name);
  if (member == nullptr) return;
  if (!member->is_string()) return Fail(name, "a string is expected");
  *out = member->get_ref<const std::string&>();
}

void JsonObject::Get(std::string_view name, uint64_t* out) {
  const nlohmann::json* member = Find(name);
  if (member == nullptr) return;
  if (!member->is_number_unsigned() || member->get<uint64_t>() > kMaxJsonInteger) {
    return Fail(name, "an integer from 0 to 2^53 is expected");
  }
  *out = member->get<uint64_t>();
}

void JsonObject::Get(std::string_view name, double* out) {
  const nlohmann::json* member = Find(name);
  if (member == nullptr) return;
  if (!member->is_number() || !std::isfinite(member->get<double>())) return Fail(name, "a finite number is expected");
  *out = member->get<double>();
}

void JsonObject::Get(std::string_view name, bool* out) {
  const nlohmann::json* member = Find(name);
  if (member == nullptr) return;
  if (!member->is_boolean()) return Fail(name, "true or false is expected");
  *out = member->get<bool>();
}

const nlohmann::json& JsonObject::Array(std::string_view name) {
  const nlohmann::json* member = Find(name);
  if (member == nullptr) return EmptyArray();
  if (!member->is_array()) {
    Fail(name, "an array is expected");
    return EmptyArray();
  }
  return *member;
}

const nlohmann::json& JsonObject::Object(std::string_view name) {
  const nlohmann::json* member = Find(name);
  if (member == nullptr || !member->is_object()) Fail(name, "an object is expected");
  return member == nullptr ? EmptyArray() : *member;
}

void JsonObject::Finish() {
  if (!value_.is_object()) return;
  for (auto it = value_.begin(); it != value_.end(); ++it) {
    if (std::find(seen_.begin(), seen_.end(), it.key()) == seen_.end()) Fail(it.key(), "unknown member");
  }
}

}  // namespace countermark
