#include "src/tokenize/hf/pattern.h"

#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::hf {

absl::StatusOr<std::unique_ptr<Regex>> ReadPattern(const Json& json, const std::string& where) {
  if (json.kind != Json::kObject || json.names.size() != 1) return Broken(where, "must be an object of one member, \"String\" or \"Regex\"");
  Fields fields(json, where);
  if (json.Find("String") != nullptr) {
    const std::string text = fields.String("String");
    CM_RETURN_IF_ERROR(fields.Done());
    return Regex::Literal(text);
  }
  const std::string pattern = fields.String("Regex");
  CM_RETURN_IF_ERROR(fields.Done());
  absl::StatusOr<std::unique_ptr<Regex>> regex = Regex::Compile(pattern);
  if (!regex.ok()) return absl::Status(regex.status().code(), Cat(where, ": ", std::string(regex.status().message())));
  return regex;
}

}  // namespace countermark::hf
