// The same expressions by ICU's regular expressions: every set spelled out, Oniguruma's meanings of ^, $ and \b written in ICU's terms.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_REGEX_ICU_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_REGEX_ICU_H_

#include <memory>

#include "src/tokenize/hf/regex.h"
#include "src/tokenize/hf/regex_syntax.h"

namespace countermark::hf {

// Unimplemented, with ICU's reason, for what ICU has not (a look behind of no bounded length).
absl::StatusOr<std::unique_ptr<Regex>> CompileForIcu(const RegexNode& root, std::string_view pattern);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_REGEX_ICU_H_
