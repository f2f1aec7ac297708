// {"String": "…"} or {"Regex": "…"}, as Split and Replace have it.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_PATTERN_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_PATTERN_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "src/tokenize/hf/json.h"
#include "src/tokenize/hf/regex.h"

namespace countermark::hf {

absl::StatusOr<std::unique_ptr<Regex>> ReadPattern(const Json& json, const std::string& where);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_PATTERN_H_
