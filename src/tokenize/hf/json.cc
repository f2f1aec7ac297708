#include "src/tokenize/hf/json.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "src/base/strings.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

constexpr size_t kDeepest = 64;

// Builds the tree from the parser's events.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return Put({}); }
  bool boolean(bool value) override { return Put({.kind = value ? Json::kTrue : Json::kFalse}); }
  bool number_integer(number_integer_t value) override { return Put({.kind = Json::kNumber, .text = std::to_string(value)}); }
  bool number_unsigned(number_unsigned_t value) override { return Put({.kind = Json::kNumber, .text = std::to_string(value)}); }
  bool number_float(number_float_t, const string_t& spelled) override { return Put({.kind = Json::kNumber, .text = spelled}); }
  bool string(string_t& value) override { return Put({.kind = Json::kString, .text = std::move(value)}); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return Open(Json::kObject); }
  bool start_array(size_t) override { return Open(Json::kArray); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    if (!names_.back().insert(name).second) {
      error_ = Cat("the name '", name, "' stands twice in one object");
      return false;
    }
    open_.back().names.push_back(std::move(name));
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    error_ = error.what();
    return false;
  }

  const std::string& error() const { return error_; }
  Json Take() { return std::move(root_); }

 private:
  bool Open(Json::Kind kind) {
    if (open_.size() == kDeepest) {
      error_ = Cat("it is nested deeper than ", kDeepest);
      return false;
    }
    open_.push_back({.kind = kind});
    names_.emplace_back();
    return true;
  }
  bool Close() {
    Json done = std::move(open_.back());
    open_.pop_back();
    names_.pop_back();
    return Put(std::move(done));
  }
  bool Put(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  Json root_;
  std::vector<Json> open_;
  std::vector<std::unordered_set<std::string>> names_;
  std::string error_;
};

const std::vector<Json>& NoItems() {
  static const std::vector<Json> none;
  return none;
}

const Json& NoJson() {
  static const Json none;
  return none;
}

}  // namespace

const Json* Json::Find(std::string_view name) const {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return &items[i];
  }
  return nullptr;
}

absl::StatusOr<Json> ParseJson(std::string_view bytes) {
  Builder builder;
  if (!nlohmann::json::sax_parse(bytes.begin(), bytes.end(), &builder)) {
    return absl::DataLossError(builder.error().empty() ? std::string("it is no JSON") : builder.error());
  }
  return builder.Take();
}

std::optional<uint32_t> WholeNumber(const Json& json) {
  uint32_t value = 0;
  const char* end = json.text.data() + json.text.size();
  if (json.kind != Json::kNumber) return std::nullopt;
  const auto [stop, error] = std::from_chars(json.text.data(), end, value);
  return error == std::errc() && stop == end ? std::optional<uint32_t>(value) : std::nullopt;
}

// serde_json's de.rs: parse_number, parse_decimal, parse_exponent, f64_from_parts. Digits past the u64 are dropped.
std::optional<double> Real(const Json& json) {
  if (json.kind != Json::kNumber) return std::nullopt;
  std::string_view rest = json.text;
  const bool negative = rest.starts_with('-');
  if (negative) rest.remove_prefix(1);
  uint64_t digits = 0;
  int exponent = 0;
  bool point = false, full = false;
  while (!rest.empty() && (rest[0] == '.' || (rest[0] >= '0' && rest[0] <= '9'))) {
    if (rest[0] == '.') {
      point = true;
    } else {
      const uint64_t digit = static_cast<uint64_t>(rest[0] - '0');
      full = full || digits > UINT64_MAX / 10 || (digits == UINT64_MAX / 10 && digit > UINT64_MAX % 10);
      if (!full) digits = digits * 10 + digit;
      if (point != full) exponent += full ? 1 : -1;  // a digit kept after the point, or dropped before it
    }
    rest.remove_prefix(1);
  }
  if (!rest.empty() && (rest[0] == 'e' || rest[0] == 'E')) {
    rest.remove_prefix(rest.size() > 1 && rest[1] == '+' ? 2 : 1);
    int written = 0;
    const auto [stop, error] = std::from_chars(rest.data(), rest.data() + rest.size(), written);
    if (error == std::errc::result_out_of_range) written = rest.starts_with('-') ? -100000 : 100000;
    exponent += written;
  }
  double value = static_cast<double>(digits);
  while (value != 0) {
    if (std::abs(exponent) <= 308) {
      const double power = std::strtod(("1e" + std::to_string(std::abs(exponent))).c_str(), nullptr);
      value = exponent >= 0 ? value * power : value / power;
      break;
    }
    if (exponent >= 0) return std::nullopt;  // out of range
    value /= 1e308;
    exponent += 308;
  }
  if (std::isinf(value)) return std::nullopt;
  return negative ? -value : value;
}

absl::Status Broken(std::string_view where, std::string_view what) { return absl::DataLossError(Cat(where.empty() ? "/" : where, ": ", what)); }
absl::Status Unknown(std::string_view where, std::string_view what) { return absl::UnimplementedError(Cat(where.empty() ? "/" : where, ": ", what)); }

std::string_view TypeOf(const Json& object) {
  const Json* type = object.Find("type");
  return type != nullptr && type->kind == Json::kString ? std::string_view(type->text) : std::string_view();
}

Fields::Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)), read_(object.names.size()) {
  if (object.kind != Json::kObject) Fail(Broken(where_, "must be an object"));
}

std::string Fields::Place(std::string_view name) const { return Cat(where_, "/", name); }

void Fields::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

void Fields::Wrong(std::string_view name, std::string_view should) { Fail(Broken(Place(name), Cat("must be ", should))); }

const Json* Fields::Take(std::string_view name, bool required) {
  for (size_t i = 0; i < object_.names.size(); ++i) {
    if (object_.names[i] != name) continue;
    read_[i] = true;
    return &object_.items[i];
  }
  if (required) Fail(Broken(where_, Cat("'", name, "' is missing")));
  return nullptr;
}

std::string Fields::String(std::string_view name) {
  const Json* value = Take(name, true);
  if (value != nullptr && value->kind == Json::kString) return value->text;
  if (value != nullptr) Wrong(name, "a string");
  return "";
}

std::optional<std::string> Fields::OptionalString(std::string_view name) {
  const Json* value = Optional(name);
  if (value == nullptr) return std::nullopt;
  if (value->kind != Json::kString) Wrong(name, "a string or null");
  return value->text;
}

std::string Fields::String(std::string_view name, std::string_view fallback) { return OptionalString(name).value_or(std::string(fallback)); }

bool Fields::Bool(std::string_view name) {
  const Json* value = Take(name, true);
  if (value != nullptr && value->kind != Json::kTrue && value->kind != Json::kFalse) Wrong(name, "true or false");
  return value != nullptr && value->kind == Json::kTrue;
}

bool Fields::Bool(std::string_view name, bool fallback) { return Optional(name) == nullptr ? fallback : Bool(name); }

uint32_t Fields::Whole(std::string_view name) {
  const Json* value = Take(name, true);
  if (value == nullptr) return 0;
  const std::optional<uint32_t> number = WholeNumber(*value);
  if (!number.has_value()) Wrong(name, "a whole number from 0 to 2^32 - 1");
  return number.value_or(0);
}

uint32_t Fields::Whole(std::string_view name, uint32_t fallback) { return Optional(name) == nullptr ? fallback : Whole(name); }

char32_t Fields::Character(std::string_view name) {
  const std::string text = String(name);
  if (text.empty() || CharacterLength(text[0]) != text.size()) {
    Wrong(name, "one character");
    return 0;
  }
  return DecodeCharacter(text.data());
}

const Json& Fields::Any(std::string_view name) {
  const Json* value = Take(name, true);
  return value != nullptr ? *value : NoJson();
}

const Json* Fields::Optional(std::string_view name) {
  const Json* value = Take(name, false);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const std::vector<Json>& Fields::Array(std::string_view name) {
  const Json* value = Take(name, true);
  if (value != nullptr && value->kind == Json::kArray) return value->items;
  if (value != nullptr) Wrong(name, "an array");
  return NoItems();
}

void Fields::Ignore(std::string_view name) { Take(name, false); }

void Fields::Type(std::string_view expected) {
  const std::string type = String("type");
  if (status_.ok() && type != expected) Fail(Unknown(Place("type"), Cat("'", type, "' where '", expected, "' is meant")));
}

absl::Status Fields::Done() {
  for (size_t i = 0; i < read_.size(); ++i) {
    if (!read_[i]) Fail(Unknown(where_, Cat("unknown member '", object_.names[i], "'")));
  }
  return status_;
}

}  // namespace countermark::hf
