// The regular expressions of a tokenizer.json, which are Oniguruma's (ONIG_SYNTAX_ONIGURUMA, UTF-8), found as its find_iter finds them.
//
//   CM_ASSIGN_OR_RETURN(std::unique_ptr<Regex> regex, Regex::Compile(R"(\s+(?!\S)|\s+)"));
//   std::vector<Match> matches;
//   CM_RETURN_IF_ERROR(regex->FindAll(text, &matches));      // valid UTF-8; byte offsets
//
// The syntax is read here (regex_syntax.h) and every class of characters becomes an explicit set by the tables of unicode_tables.h, so
// that no engine's own idea of \s, \w, \p{L} or case comes in. An expression of sets, alternatives, repeats and a look at the next character is run
// by a small matcher (regex_program.h), any other by ICU's regular expressions (regex_icu.h). What neither has is Unimplemented, by name.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_REGEX_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_REGEX_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace countermark::hf {

struct Match {
  size_t begin = 0, end = 0;
  bool operator==(const Match&) const = default;
};

class Regex {
 public:
  enum Engine { kFastest, kIcu };
  static absl::StatusOr<std::unique_ptr<Regex>> Compile(std::string_view pattern, Engine engine = kFastest);
  // This text, character by character.
  static std::unique_ptr<Regex> Literal(std::string_view text);
  virtual ~Regex() = default;

  // All matches from the left, none overlapping; an empty one only where none has ended. Replaces *matches. ResourceExhausted where ICU
  // gives up on a text. Safe to use from several threads at once.
  virtual absl::Status FindAll(std::string_view text, std::vector<Match>* matches) const = 0;
  virtual Engine engine() const = 0;
};

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_REGEX_H_
