// JSON as evidence needs it: read with limits, written in the one canonical form (RFC 8785).
//
//   CM_ASSIGN_OR_RETURN(nlohmann::json value, ParseJson(text, {.max_bytes = 1 << 20, .max_depth = 4, .max_values = 1000}));
//   std::string bytes = CanonicalJson(value);
#ifndef COUNTERMARK_SRC_EVIDENCE_JSON_H_
#define COUNTERMARK_SRC_EVIDENCE_JSON_H_

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace countermark {

struct JsonLimits {
  size_t max_bytes = 0;
  int max_depth = 0;      // of arrays and objects within one another
  size_t max_values = 0;  // commas and brackets, an upper bound of what a reader would have to hold
};

// DataLoss with the byte where reading ended, or with the name that an object has twice: two readers could take different ones.
// The limits are looked at before anything is built.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, const JsonLimits& limits);

// RFC 8785: members sorted, no space, numbers as ECMAScript writes them, strings in UTF-8 (what is not UTF-8 becomes U+FFFD). Member names must be
// ASCII. Numbers must be finite.
std::string CanonicalJson(const nlohmann::json& value);

// The shortest decimal that reads back as x, in ECMAScript's form: 0.5, 1e-7, 1e+21. x must be finite.
std::string CanonicalNumber(double x);

// Reads the members of one object, names what is missing, ill-typed or unknown, and keeps the first error.
//
//   JsonObject object(value, "ledger", &status);
//   object.Get("records", &ledger.records);  …  object.Finish();
class JsonObject {
 public:
  JsonObject(const nlohmann::json& value, std::string path, absl::Status* status);

  void Get(std::string_view name, std::string* out);
  void Get(std::string_view name, uint64_t* out);  // an integer from 0 to 2⁵³
  void Get(std::string_view name, double* out);
  void Get(std::string_view name, bool* out);
  // The member as it is, an array; an empty one after an error.
  const nlohmann::json& Array(std::string_view name);
  const nlohmann::json& Object(std::string_view name);
  // An error where the object has members nobody asked for.
  void Finish();

 private:
  const nlohmann::json* Find(std::string_view name);
  void Fail(std::string_view name, std::string_view what);

  const nlohmann::json& value_;
  std::string path_;
  absl::Status* status_;
  std::vector<std::string> seen_;
};

inline constexpr uint64_t kMaxJsonInteger = uint64_t{1} << 53;

}  // namespace countermark

#endif  // COUNTERMARK_SRC_EVIDENCE_JSON_H_
