// A project's configuration: one flat JSON object, read strictly. Text in; members with their places out, each asked for by name and type.
//
//   CM_ASSIGN_OR_RETURN(ConfigObject config, ConfigObject::Parse(text, "config.json"));
//   CM_ASSIGN_OR_RETURN(int64_t width, config.Integer("context_width", 1, 64, 1));      // the last: where the member is not there
//   CM_RETURN_IF_ERROR(config.Finish());                                                 // a member nobody asked for is an error
//
// RFC 8259 and no more: UTF-8, no NaN, no comment, no name twice, nothing behind the object. Values are strings, numbers, true, false, null and arrays of
// integers; at most 1 MiB. Errors are InvalidArgument, "config.json:3:7: member 'keys': …", and hold no value, as any value may be a key.
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_CONFIG_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace countermark {

class ConfigObject {
 public:
  static constexpr size_t kMaxBytes = size_t{1} << 20;
  static absl::StatusOr<ConfigObject> Parse(std::string_view text, std::string_view where);

  bool Has(std::string_view name) const;  // null counts as a member that is there

  // A member within [low, high]. Without a default it must be there; null is the default where a format says so by asking for IsNull first.
  absl::StatusOr<int64_t> Integer(std::string_view name, int64_t low, int64_t high, std::optional<int64_t> otherwise = std::nullopt);
  absl::StatusOr<uint64_t> Unsigned(std::string_view name, uint64_t low, uint64_t high, std::optional<uint64_t> otherwise = std::nullopt);
  // A finite number; `requirement` says of the range what an error then says. In range: low < x < high, or the ends as well if `closed`.
  absl::StatusOr<double> Number(std::string_view name, double low, double high, bool closed, std::string_view requirement, std::optional<double> otherwise = std::nullopt);
  absl::StatusOr<std::string> String(std::string_view name, std::optional<std::string> otherwise = std::nullopt);
  absl::StatusOr<bool> Boolean(std::string_view name, std::optional<bool> otherwise = std::nullopt);
  // Integers of 64 bits with a sign, from `least` to `most` of them.
  absl::StatusOr<std::vector<int64_t>> Integers(std::string_view name, size_t least, size_t most);

  // Takes a null member: true if it was there and null.
  bool TakeNull(std::string_view name);
  // Members that do not matter to detection, of whatever type.
  void Ignore(std::initializer_list<std::string_view> names);
  // Error for a member: "…: member 'NAME': WHAT".
  absl::Status Error(std::string_view name, std::string_view what) const;
  // Error if a member was not asked for.
  absl::Status Finish() const;

 private:
  enum class Kind { kString, kNumber, kTrue, kFalse, kNull, kIntegers };
  struct Member {
    std::string name;
    Kind kind = Kind::kNull;
    std::string text;              // of a string, decoded; of a number, as it stands
    std::vector<int64_t> integers;
    size_t at = 0;                 // byte of its name
    bool taken = false;
  };
  class Parser;

  Member* Take(std::string_view name);
  std::string Place(size_t at) const;
  absl::Status Missing(std::string_view name) const;

  std::string where_;
  std::string text_;
  std::vector<Member> members_;
};

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_CONFIG_H_
