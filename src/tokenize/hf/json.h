// A tokenizer.json as a tree, and its objects read member by member: what is not asked for is an error, with its place in the file.
//
//   CM_ASSIGN_OR_RETURN(Json file, ParseJson(bytes));
//   Fields fields(file, "");                       // the place so far, as a JSON pointer
//   const bool left = fields.Bool("strip_left");
//   CM_RETURN_IF_ERROR(fields.Done());             // the first error: "/normalizer: 'strip_left' is missing", "/normalizer: unknown member 'strip'"
//
// Numbers keep their spelling, since the library whose results are wanted has its own way to make doubles of them.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_JSON_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_JSON_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace countermark::hf {

struct Json {
  enum Kind : uint8_t { kNull, kFalse, kTrue, kNumber, kString, kArray, kObject };
  Kind kind = kNull;
  std::string text = {};           // of a string, or a number as it is spelled
  std::vector<Json> items = {};    // of an array, or an object's values
  std::vector<std::string> names = {};  // an object's, one a value

  bool is_null() const { return kind == kNull; }
  const Json* Find(std::string_view name) const;  // nullptr if this is no object or has no such member
};

// DataLoss, with line and column: no JSON, deeper than 64, a name twice in an object, or text that is no UTF-8.
absl::StatusOr<Json> ParseJson(std::string_view bytes);

// A whole number from 0 to 2^32 − 1 as JSON spells it.
std::optional<uint32_t> WholeNumber(const Json& json);
// As serde_json 1 reads it without its float_roundtrip feature: 19 digits times or over a power of ten, one rounding each.
std::optional<double> Real(const Json& json);

// The status of a file whose content is wrong, or of one that this reader does not know.
absl::Status Broken(std::string_view where, std::string_view what);
absl::Status Unknown(std::string_view where, std::string_view what);

class Fields {
 public:
  Fields(const Json& object, std::string where);

  // Each gives the member's value and marks it as read; the first that is missing or of another type becomes the error of Done().
  // The second form, with a fallback, also takes a member that is missing or null.
  std::string String(std::string_view name);
  std::string String(std::string_view name, std::string_view fallback);
  bool Bool(std::string_view name);
  bool Bool(std::string_view name, bool fallback);
  uint32_t Whole(std::string_view name);
  uint32_t Whole(std::string_view name, uint32_t fallback);
  char32_t Character(std::string_view name);                 // a string of one character
  std::optional<std::string> OptionalString(std::string_view name);
  const Json& Any(std::string_view name);                    // must be there
  const Json* Optional(std::string_view name);               // nullptr where missing or null
  const std::vector<Json>& Array(std::string_view name);     // must be there
  void Ignore(std::string_view name);
  void Type(std::string_view expected);                      // the member "type"

  std::string Place(std::string_view name) const;            // of a member
  void Fail(absl::Status status);
  absl::Status Done();                                       // also an error if a member is left

 private:
  const Json* Take(std::string_view name, bool required);
  void Wrong(std::string_view name, std::string_view should);

  const Json& object_;
  std::string where_;
  std::vector<bool> read_;
  absl::Status status_;
};

// What an object's "type" says; empty where it has none.
std::string_view TypeOf(const Json& object);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_JSON_H_
