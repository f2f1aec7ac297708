#include "src/detect/foreign/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

// The length of the well-formed UTF-8 sequence at the beginning of `text`; 0 if there is none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto follows = [&](size_t i, unsigned low = 0x80, unsigned high = 0xBF) { return byte(i) >= low && byte(i) <= high; };
  const unsigned b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xC2 && b <= 0xDF) return follows(1) ? 2 : 0;
  if (b >= 0xE0 && b <= 0xEF) return follows(1, b == 0xE0 ? 0xA0 : 0x80, b == 0xED ? 0x9F : 0xBF) && follows(2) ? 3 : 0;
  if (b >= 0xF0 && b <= 0xF4) return follows(1, b == 0xF0 ? 0x90 : 0x80, b == 0xF4 ? 0x8F : 0xBF) && follows(2) && follows(3) ? 4 : 0;
  return 0;
}

void AppendUtf8(uint32_t c, std::string* out) {
  const auto put = [&](uint32_t b) { *out += static_cast<char>(b); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      put(0xE0 | c >> 12);
    } else {
      put(0xF0 | c >> 18);
      put(0x80 | (c >> 12 & 0x3F));
    }
    put(0x80 | (c >> 6 & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

// A member's name in an error: cut short, and without what a terminal would act on.
std::string Shown(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, 64)) out += static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7F ? '?' : c;
  return name.size() > 64 ? out + "…" : out;
}

}  // namespace

class ConfigObject::Parser {
 public:
  explicit Parser(ConfigObject* into) : into_(*into), text_(into->text_) {}

  absl::Status Run() {
    Space();
    if (Next() != '{') return Fail("a JSON object is expected");
    ++at_;
    Space();
    if (Next() == '}') {
      ++at_;
    } else {
      while (true) {
        CM_RETURN_IF_ERROR(OneMember());
        Space();
        if (Next() == '}') {
          ++at_;
          break;
        }
        if (Next() != ',') return Fail("',' or '}' is expected");
        ++at_;
        Space();
      }
    }
    Space();
    return at_ == text_.size() ? absl::OkStatus() : Fail("something stands behind the object");
  }

 private:
  int Next() const { return at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : -1; }
  void Space() {
    while (Next() == ' ' || Next() == '\n' || Next() == '\r' || Next() == '\t') ++at_;
  }
  absl::Status Fail(std::string_view what) const { return absl::InvalidArgumentError(Cat(into_.Place(at_), ": ", at_ == text_.size() ? "the text ends where " : "", what)); }

  absl::Status OneMember() {
    Member member;
    member.at = at_;
    if (Next() != '"') return Fail("a member's name is expected");
    CM_RETURN_IF_ERROR(Text(&member.name));
    for (const Member& other : into_.members_) {
      if (other.name == member.name) return absl::InvalidArgumentError(Cat(into_.Place(member.at), ": member '", Shown(member.name), "': stands there twice"));
    }
    Space();
    if (Next() != ':') return Fail("':' is expected");
    ++at_;
    Space();
    CM_RETURN_IF_ERROR(Value(&member));
    into_.members_.push_back(std::move(member));
    if (into_.members_.size() > 256) return Fail("there are more than 256 members");
    return absl::OkStatus();
  }

  absl::Status Value(Member* member) {
    switch (Next()) {
      case '"':
        member->kind = Kind::kString;
        return Text(&member->text);
      case '[':
        member->kind = Kind::kIntegers;
        return Integers(member);
      case '{':
        return Fail(Cat("member '", Shown(member->name), "': an object inside the object is no part of any of these configurations"));
      case 't':
        member->kind = Kind::kTrue;
        return Word("true");
      case 'f':
        member->kind = Kind::kFalse;
        return Word("false");
      case 'n':
        member->kind = Kind::kNull;
        return Word("null");
      default:
        member->kind = Kind::kNumber;
        return Number(&member->text);
    }
  }

  absl::Status Word(std::string_view word) {
    if (std::string_view(text_).substr(at_, word.size()) != word) return Fail("a value is expected");
    at_ += word.size();
    return absl::OkStatus();
  }

  absl::Status Number(std::string* out) {
    const size_t begin = at_;
    const auto digits = [&] {
      const size_t from = at_;
      while (Next() >= '0' && Next() <= '9') ++at_;
      return at_ - from;
    };
    if (Next() == '-') ++at_;
    const bool zero = Next() == '0';
    const size_t whole = digits();
    if (whole == 0) {
      at_ = begin;
      return Fail("a value is expected");
    }
    if (zero && whole > 1) return Fail("a number begins with 0");
    if (Next() == '.') {
      ++at_;
      if (digits() == 0) return Fail("a digit is expected");
    }
    if (Next() == 'e' || Next() == 'E') {
      ++at_;
      if (Next() == '+' || Next() == '-') ++at_;
      if (digits() == 0) return Fail("a digit is expected");
    }
    out->assign(text_, begin, at_ - begin);
    return absl::OkStatus();
  }

  absl::Status Integers(Member* member) {
    ++at_;
    Space();
    if (Next() == ']') {
      ++at_;
      return absl::OkStatus();
    }
    while (true) {
      const size_t begin = at_;
      std::string digits;
      if (Next() != '-' && (Next() < '0' || Next() > '9')) return Fail(Cat("member '", Shown(member->name), "': an integer is expected"));
      CM_RETURN_IF_ERROR(Number(&digits));
      int64_t value = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (error != std::errc() || end != digits.data() + digits.size()) {
        at_ = begin;
        return Fail(Cat("member '", Shown(member->name), "': entry ", member->integers.size(), " must be an integer of 64 bits"));
      }
      member->integers.push_back(value);
      Space();
      if (Next() == ']') break;
      if (Next() != ',') return Fail("',' or ']' is expected");
      ++at_;
      Space();
    }
    ++at_;
    return absl::OkStatus();
  }

  absl::Status Text(std::string* out) {
    ++at_;
    while (true) {
      const int c = Next();
      if (c < 0) return Fail("'\"' is expected");
      if (c == '"') break;
      if (c < 0x20) return Fail("a control character stands in a string");
      if (c == '\\') {
        CM_RETURN_IF_ERROR(Escape(out));
        continue;
      }
      const size_t length = Utf8Length(std::string_view(text_).substr(at_));
      if (length == 0) return Fail("bytes that are not UTF-8");
      out->append(text_, at_, length);
      at_ += length;
    }
    ++at_;
    return absl::OkStatus();
  }

  absl::Status Escape(std::string* out) {
    static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    ++at_;
    if (const size_t which = Next() < 0 ? std::string_view::npos : kFrom.find(static_cast<char>(Next())); which != std::string_view::npos) {
      *out += kTo[which];
      ++at_;
      return absl::OkStatus();
    }
    uint32_t unit = 0;
    CM_RETURN_IF_ERROR(Unit(&unit));
    if (unit >= 0xDC00 && unit <= 0xDFFF) return Fail("half of a surrogate pair");
    if (unit >= 0xD800 && unit <= 0xDBFF) {
      if (Next() != '\\') return Fail("half of a surrogate pair");
      ++at_;
      uint32_t low = 0;
      CM_RETURN_IF_ERROR(Unit(&low));
      if (low < 0xDC00 || low > 0xDFFF) return Fail("half of a surrogate pair");
      unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    AppendUtf8(unit, out);
    return absl::OkStatus();
  }

  absl::Status Unit(uint32_t* out) {
    if (Next() != 'u' || text_.size() - at_ < 5) return Fail("an escape that JSON does not have");
    const char* const begin = text_.data() + at_ + 1;
    const auto [end, error] = std::from_chars(begin, begin + 4, *out, 16);
    if (error != std::errc() || end != begin + 4) return Fail("an escape that JSON does not have");
    at_ += 5;
    return absl::OkStatus();
  }

  ConfigObject& into_;
  const std::string& text_;
  size_t at_ = 0;
};

absl::StatusOr<ConfigObject> ConfigObject::Parse(std::string_view text, std::string_view where) {
  if (text.size() > kMaxBytes) return absl::InvalidArgumentError(Cat(where, ": the configuration has more than ", kMaxBytes, " bytes"));
  ConfigObject object;
  object.where_ = where;
  object.text_ = text;
  CM_RETURN_IF_ERROR(Parser(&object).Run());
  return object;
}

std::string ConfigObject::Place(size_t at) const {
  const std::string_view before = std::string_view(text_).substr(0, at);
  const size_t line_begin = before.rfind('\n');
  return Cat(where_, ":", 1 + std::count(before.begin(), before.end(), '\n'), ":", at - (line_begin == std::string_view::npos ? 0 : line_begin + 1) + 1);
}

absl::Status ConfigObject::Error(std::string_view name, std::string_view what) const {
  for (const Member& member : members_) {
    if (member.name == name) return absl::InvalidArgumentError(Cat(Place(member.at), ": member '", Shown(name), "': ", what));
  }
  return absl::InvalidArgumentError(Cat(where_, ": member '", Shown(name), "': ", what));
}

absl::Status ConfigObject::Missing(std::string_view name) const { return absl::InvalidArgumentError(Cat(where_, ": member '", name, "' is missing")); }

absl::Status ConfigObject::Finish() const {
  for (const Member& member : members_) {
    if (!member.taken) return absl::InvalidArgumentError(Cat(Place(member.at), ": member '", Shown(member.name), "': this format has no such member"));
  }
  return absl::OkStatus();
}

ConfigObject::Member* ConfigObject::Take(std::string_view name) {
  for (Member& member : members_) {
    if (member.name != name) continue;
    member.taken = true;
    return &member;
  }
  return nullptr;
}

bool ConfigObject::Has(std::string_view name) const {
  return std::any_of(members_.begin(), members_.end(), [&](const Member& member) { return member.name == name; });
}

bool ConfigObject::TakeNull(std::string_view name) {
  for (Member& member : members_) {
    if (member.name == name && member.kind == Kind::kNull) return member.taken = true;
  }
  return false;
}

void ConfigObject::Ignore(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) Take(name);
}

absl::StatusOr<int64_t> ConfigObject::Integer(std::string_view name, int64_t low, int64_t high, std::optional<int64_t> otherwise) {
  const Member* member = Take(name);
  if (member == nullptr) return otherwise ? absl::StatusOr<int64_t>(*otherwise) : Missing(name);
  int64_t value = 0;
  const char* const last = member->text.data() + member->text.size();
  const auto [end, error] = std::from_chars(member->text.data(), last, value);
  if (member->kind != Kind::kNumber || error != std::errc() || end != last || value < low || value > high) {
    return Error(name, Cat("must be an integer from ", low, " to ", high));
  }
  return value;
}

absl::StatusOr<uint64_t> ConfigObject::Unsigned(std::string_view name, uint64_t low, uint64_t high, std::optional<uint64_t> otherwise) {
  const Member* member = Take(name);
  if (member == nullptr) return otherwise ? absl::StatusOr<uint64_t>(*otherwise) : Missing(name);
  uint64_t value = 0;
  const char* const last = member->text.data() + member->text.size();
  const auto [end, error] = std::from_chars(member->text.data(), last, value);
  if (member->kind != Kind::kNumber || error != std::errc() || end != last || value < low || value > high) {
    return Error(name, Cat("must be an integer from ", low, " to ", high));
  }
  return value;
}

absl::StatusOr<double> ConfigObject::Number(std::string_view name, double low, double high, bool closed, std::string_view requirement, std::optional<double> otherwise) {
  const Member* member = Take(name);
  if (member == nullptr) return otherwise ? absl::StatusOr<double>(*otherwise) : Missing(name);
  double value = 0;
  const char* const last = member->text.data() + member->text.size();
  const auto [end, error] = std::from_chars(member->text.data(), last, value);
  const bool inside = closed ? value >= low && value <= high : value > low && value < high;
  if (member->kind != Kind::kNumber || error != std::errc() || end != last || !inside) return Error(name, Cat("must be a number ", requirement));
  return value;
}

absl::StatusOr<std::string> ConfigObject::String(std::string_view name, std::optional<std::string> otherwise) {
  const Member* member = Take(name);
  if (member == nullptr) return otherwise ? absl::StatusOr<std::string>(*std::move(otherwise)) : Missing(name);
  if (member->kind != Kind::kString) return Error(name, "must be a string");
  return member->text;
}

absl::StatusOr<bool> ConfigObject::Boolean(std::string_view name, std::optional<bool> otherwise) {
  const Member* member = Take(name);
  if (member == nullptr) return otherwise ? absl::StatusOr<bool>(*otherwise) : Missing(name);
  if (member->kind != Kind::kTrue && member->kind != Kind::kFalse) return Error(name, "must be true or false");
  return member->kind == Kind::kTrue;
}

absl::StatusOr<std::vector<int64_t>> ConfigObject::Integers(std::string_view name, size_t least, size_t most) {
  const Member* member = Take(name);
  if (member == nullptr) return Missing(name);
  if (member->kind != Kind::kIntegers || member->integers.size() < least || member->integers.size() > most) {
    return Error(name, Cat("must be an array of ", least, " to ", most, " integers"));
  }
  return member->integers;
}

}  // namespace countermark
