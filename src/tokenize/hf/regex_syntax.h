// Oniguruma's syntax of regular expressions as a tree whose classes of characters are sets.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_REGEX_SYNTAX_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_REGEX_SYNTAX_H_

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "src/tokenize/hf/code_points.h"

namespace countermark::hf {

struct RegexNode {
  enum Kind {
    kSet,          // one character of `set`
    kConcat,       // the children in order; none: empty
    kAlternate,    // the first child that lets the rest match
    kRepeat,       // the one child min to max times
    kAhead,        // (?= ), (?! ) where negated
    kBehind,       // (?<= ), (?<! )
    kAtomic,       // (?> )
    kLineBegin,    // ^
    kLineEnd,      // $
    kTextBegin,    // \A
    kTextEnd,      // \z
    kTextEndLine,  // \Z
    kWordBoundary  // \b, \B where negated
  };
  enum Greed { kGreedy, kLazy, kPossessive };
  static constexpr int kUnlimited = -1;

  Kind kind = kConcat;
  bool negated = false;
  Greed greed = kGreedy;
  int min = 0, max = 0;
  CodePointSet set = {};
  std::vector<RegexNode> children = {};
};

// DataLoss for what is no expression; Unimplemented for what this reader does not have; both with the byte.
absl::StatusOr<RegexNode> ParseRegex(std::string_view pattern);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_REGEX_SYNTAX_H_
