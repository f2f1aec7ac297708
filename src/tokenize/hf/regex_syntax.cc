#include "src/tokenize/hf/regex_syntax.h"

#include <unicode/uchar.h>

#include <map>
#include <string>

#include "src/base/strings.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

constexpr int kDeepest = 100;
constexpr int kMostRepeats = 1000;

// Characters that are one another's other case, by simple folding.
const std::map<char32_t, CodePointSet>& CaseGroups() {
  static const std::map<char32_t, CodePointSet>& groups = *[] {
    std::map<char32_t, std::vector<char32_t>> by_fold;
    for (char32_t c = 0; c < kCodePoints; ++c) {
      if (u_charType(static_cast<UChar32>(c)) == U_UNASSIGNED) continue;
      const char32_t fold = static_cast<char32_t>(u_foldCase(static_cast<UChar32>(c), U_FOLD_CASE_DEFAULT));
      if (fold != c) by_fold[fold].push_back(c);
    }
    auto* made = new std::map<char32_t, CodePointSet>;
    for (const auto& [fold, others] : by_fold) {
      CodePointSet group = CodePointSet::Single(fold);
      for (char32_t other : others) group = group | CodePointSet::Single(other);
      (*made)[fold] = group;
    }
    return made;
  }();
  return groups;
}

CodePointSet WithOtherCases(CodePointSet set) {
  const CodePointSet before = set;
  for (const auto& [fold, group] : CaseGroups()) {
    if (!(group & before).empty()) set = set | group;
  }
  return set;
}

// Letters whose pairs, or which alone, fold to or from several characters (ß to ss, ﬁ to fi): Oniguruma matches those without regard to case.
constexpr std::u32string_view kSeveral[] = {U"ss", U"ff", U"fi", U"fl", U"st"};

class Parser {
 public:
  explicit Parser(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<RegexNode> Parse() {
    RegexNode node = Alternatives(0);
    if (status_.ok() && at_ < pattern_.size()) Broken("an unmatched ')'");
    if (!status_.ok()) return status_;
    return node;
  }

 private:
  bool AtEnd() const { return at_ >= pattern_.size() || !status_.ok(); }
  char Peek(size_t ahead = 0) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  bool Eat(std::string_view what) {
    if (!pattern_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  char32_t Take() {
    const char32_t c = DecodeCharacter(pattern_.data() + at_);
    at_ += CharacterLength(pattern_[at_]);
    return c;
  }
  void Broken(std::string_view what) {
    if (status_.ok()) status_ = absl::DataLossError(Cat("regular expression '", pattern_, "', byte ", at_, ": ", what));
  }
  void Unknown(std::string_view what) {
    if (status_.ok()) status_ = absl::UnimplementedError(Cat("regular expression '", pattern_, "', byte ", at_, ": ", what, " is not supported"));
  }

  RegexNode Alternatives(int depth) {
    if (depth > kDeepest) Unknown("nesting this deep");
    RegexNode all{.kind = RegexNode::kAlternate};
    const bool ignore_case = ignore_case_;
    do {
      all.children.push_back(Sequence(depth));
    } while (status_.ok() && Eat("|"));
    ignore_case_ = ignore_case;
    return all.children.size() == 1 ? std::move(all.children[0]) : all;
  }

  RegexNode Sequence(int depth) {
    RegexNode sequence{.kind = RegexNode::kConcat};
    std::u32string literals;  // the run of letters just read, of which several may have one other case together
    while (!AtEnd() && Peek() != '|' && Peek() != ')') {
      literal_ = 0;
      RegexNode item = Item(depth);
      literals = literal_ != 0 ? literals + literal_ : std::u32string();
      if (ignore_case_ && literal_ != 0) {
        for (std::u32string_view several : kSeveral) {
          if (literals.ends_with(several)) Unknown("matching without regard to case where letters together have another case (ss, ff, fi, fl, st)");
        }
      }
      sequence.children.push_back(Repeats(std::move(item)));
      if (sequence.children.back().kind == RegexNode::kRepeat) literals.clear();
    }
    return sequence.children.size() == 1 ? std::move(sequence.children[0]) : sequence;
  }

  RegexNode Repeats(RegexNode item) {
    while (!AtEnd()) {
      RegexNode repeat{.kind = RegexNode::kRepeat};
      bool braces = false, exact = false;
      if (Eat("*")) {
        repeat.max = RegexNode::kUnlimited;
      } else if (Eat("+")) {
        repeat.min = 1;
        repeat.max = RegexNode::kUnlimited;
      } else if (Eat("?")) {
        repeat.max = 1;
      } else if (Peek() == '{' && Interval(&repeat, &exact)) {
        braces = true;
      } else {
        return item;
      }
      if (item.kind >= RegexNode::kLineBegin || item.kind == RegexNode::kAhead || item.kind == RegexNode::kBehind) Unknown("a repeat of what takes no character");
      // A possessive or lazy sign; after {n} a '?' makes the whole optional, and after braces a '+' repeats.
      if (!(braces && exact) && Eat("?")) {
        repeat.greed = RegexNode::kLazy;
      } else if (!braces && Eat("+")) {
        repeat.greed = RegexNode::kPossessive;
      }
      repeat.children.push_back(std::move(item));
      item = std::move(repeat);
    }
    return item;
  }

  // {n}, {n,}, {,m}, {n,m}; anything else is a literal brace, which is left where it is.
  bool Interval(RegexNode* repeat, bool* exact) {
    size_t at = at_ + 1;
    const auto number = [&](int* value) {
      const size_t begin = at;
      for (*value = 0; at < pattern_.size() && pattern_[at] >= '0' && pattern_[at] <= '9'; ++at) *value = std::min(*value * 10 + (pattern_[at] - '0'), 1 << 20);
      return at > begin;
    };
    int low = 0, high = 0;
    const bool has_low = number(&low);
    const bool comma = at < pattern_.size() && pattern_[at] == ',';
    if (comma) ++at;
    const bool has_high = comma && number(&high);
    if (at >= pattern_.size() || pattern_[at] != '}' || (!has_low && !has_high)) return false;
    *exact = !comma;
    repeat->min = has_low ? low : 0;
    repeat->max = !comma ? low : has_high ? high : RegexNode::kUnlimited;
    if (repeat->max != RegexNode::kUnlimited && repeat->min > repeat->max) Unknown("an interval that runs backward");
    if (repeat->min > kMostRepeats || repeat->max > kMostRepeats) Unknown("an interval of more than 1000");
    at_ = at + 1;
    return true;
  }

  RegexNode Item(int depth) {
    switch (Peek()) {
      case '(':
        return Group(depth);
      case '[':
        return OfSet(Class(depth));
      case '.':
        ++at_;
        return OfSet(dot_all_ ? CodePointSet::All() : ~CodePointSet::Single('\n'));
      case '^':
        ++at_;
        return {.kind = RegexNode::kLineBegin};
      case '$':
        ++at_;
        return {.kind = RegexNode::kLineEnd};
      case '\\':
        return Escape();
      case '*':
      case '+':
      case '?':
        Broken("a repeat of nothing");
        return {};
      default:
        return Literal(Take());
    }
  }

  RegexNode OfSet(CodePointSet set) const { return {.kind = RegexNode::kSet, .set = std::move(set)}; }

  RegexNode Literal(char32_t c) {
    literal_ = ignore_case_ ? static_cast<char32_t>(u_foldCase(static_cast<UChar32>(c), U_FOLD_CASE_DEFAULT)) : c;
    if (ignore_case_ && c >= 0x80) Unknown("a letter beyond ASCII without regard to case");
    return OfSet(ignore_case_ ? WithOtherCases(CodePointSet::Single(c)) : CodePointSet::Single(c));
  }

  RegexNode Group(int depth) {
    Eat("(");
    const bool ignore_case = ignore_case_, dot_all = dot_all_;
    RegexNode node;
    if (!Eat("?")) {
      node = Alternatives(depth + 1);
    } else if (Eat("#")) {
      while (!AtEnd() && Peek() != ')') ++at_;
    } else if (Eat(":")) {
      node = Alternatives(depth + 1);
    } else if (Eat(">")) {
      node = {.kind = RegexNode::kAtomic, .children = {Alternatives(depth + 1)}};
    } else if (Peek() == '=' || Peek() == '!') {
      node.negated = Take() == '!';
      node.kind = RegexNode::kAhead;
      node.children.push_back(Alternatives(depth + 1));
    } else if (Peek() == '<' && (Peek(1) == '=' || Peek(1) == '!')) {
      node.negated = Peek(1) == '!';
      at_ += 2;
      node.kind = RegexNode::kBehind;
      node.children.push_back(Alternatives(depth + 1));
    } else if (Peek() == '<' || Peek() == '\'') {
      const char close = Take() == '<' ? '>' : '\'';
      while (!AtEnd() && Peek() != close) ++at_;
      Eat(std::string_view(&close, 1));
      node = Alternatives(depth + 1);
    } else {
      bool on = true;
      for (; !AtEnd() && Peek() != ')' && Peek() != ':'; ++at_) {
        if (Peek() == '-') {
          on = false;
        } else if (Peek() == 'i') {
          ignore_case_ = on;
        } else if (Peek() == 'm') {
          dot_all_ = on;
        } else {
          Unknown(Cat("the group (?", std::string(1, Peek())));
          return {};
        }
      }
      if (Peek() == ')') {  // to the end of the group around, its later alternatives too
        ++at_;
        RegexNode rest = Alternatives(depth + 1);
        dot_all_ = dot_all;
        ignore_case_ = ignore_case;
        return rest;
      }
      Eat(":");
      node = Alternatives(depth + 1);
    }
    ignore_case_ = ignore_case;
    dot_all_ = dot_all;
    if (!Eat(")")) Broken("a group without its ')'");
    return node;
  }

  // The set that \s, \d, \p{…} and the like stand for; nothing, and the place unmoved, where no such thing stands.
  bool ClassEscape(bool bare, CodePointSet* set) {
    const char kind = Peek(1);
    switch (kind) {
      case 's':
      case 'S':
        *set = *PropertySet("space");
        break;
      case 'd':
      case 'D':
        *set = *PropertySet("nd");
        break;
      case 'h':
      case 'H':
        *set = *PropertySet("xdigit");
        break;
      case 'w':
      case 'W':
        *set = bare ? BareWordSet() : *PropertySet("word");
        break;
      case 'p':
      case 'P':
        return Property(bare, set);
      default:
        return false;
    }
    if (kind < 'a') *set = ~*set;
    at_ += 2;
    return true;
  }

  bool Property(bool bare, CodePointSet* set) {
    bool negated = Peek(1) == 'P';
    const size_t close = pattern_.find('}', at_);
    if (Peek(2) != '{' || close == std::string_view::npos) {
      Unknown("\\p without braces");
      return true;
    }
    std::string_view name = pattern_.substr(at_ + 3, close - at_ - 3);
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const std::optional<CodePointSet> known = PropertySet(name);
    if (!known.has_value()) {
      Unknown(Cat("the property \\p{", name, "}"));
      return true;
    }
    *set = bare && *known == *PropertySet("word") ? BareWordSet() : *known;
    if (negated) *set = ~*set;
    at_ = close + 1;
    return true;
  }

  RegexNode Escape() {
    CodePointSet set;
    if (ClassEscape(/*bare=*/true, &set)) return OfSet(std::move(set));
    switch (Peek(1)) {
      case 'A':
        at_ += 2;
        return {.kind = RegexNode::kTextBegin};
      case 'z':
        at_ += 2;
        return {.kind = RegexNode::kTextEnd};
      case 'Z':
        at_ += 2;
        return {.kind = RegexNode::kTextEndLine};
      case 'b':
      case 'B': {
        const bool negated = Peek(1) == 'B';
        at_ += 2;
        return {.kind = RegexNode::kWordBoundary, .negated = negated};
      }
      default:
        return Literal(EscapedCharacter());
    }
  }

  char32_t EscapedCharacter() {
    ++at_;
    if (AtEnd()) {
      Broken("a '\\' at the end");
      return 0;
    }
    const char32_t c = Take();
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'f':
        return '\f';
      case 'v':
        return '\v';
      case 'a':
        return 7;
      case 'e':
        return 27;
      case 'x':
        return Eat("{") ? Hex(1, 8, true) : Hex(1, 2, false);
      case 'u':
        return Hex(4, 4, false);
      default:
        if (c < 0x80 && ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) Unknown(Cat("\\", std::string(1, static_cast<char>(c))));
        return c;
    }
  }

  char32_t Hex(int least, int most, bool braced) {
    char32_t value = 0;
    int digits = 0;
    for (; digits < most; ++digits, ++at_) {
      const char c = Peek();
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<char32_t>(c - '0');
      } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
        value = value * 16 + static_cast<char32_t>((c | 32) - 'a' + 10);
      } else {
        break;
      }
    }
    if (digits < least || (braced && !Eat("}")) || value >= kCodePoints || (value >= 0xD800 && value < 0xE000)) Broken("a number that is no character");
    if (!braced && most == 2 && value >= 0x80) Unknown("a byte of UTF-8 by number");
    return value;
  }

  // From '[' to its ']'. With other cases where case is ignored, before the negation.
  CodePointSet Class(int depth) {
    if (depth > kDeepest) Unknown("nesting this deep");
    Eat("[");
    const bool negated = Eat("^");
    CodePointSet whole = CodePointSet::All(), part;
    bool first = true;
    for (;; first = false) {
      if (AtEnd()) {
        Broken("a '[' without its ']'");
        return {};
      }
      if (Peek() == ']' && !first) break;
      if (Eat("&&")) {
        whole = whole & part;
        part = {};
        continue;
      }
      part = part | ClassItem(depth);
    }
    Eat("]");
    whole = whole & part;
    if (ignore_case_) whole = WithOtherCases(std::move(whole));
    return negated ? ~whole : whole;
  }

  CodePointSet ClassItem(int depth) {
    if (Eat("[:")) {
      const bool negated = Eat("^");
      const size_t close = pattern_.find(":]", at_);
      const std::optional<CodePointSet> set = close == std::string_view::npos ? std::nullopt : PosixSet(pattern_.substr(at_, close - at_));
      if (!set.has_value()) {
        Unknown("this class in [: :]");
        return {};
      }
      at_ = close + 2;
      return negated ? ~*set : *set;
    }
    if (Peek() == '[') return Class(depth + 1);
    CodePointSet set;
    if (Peek() == '\\' && ClassEscape(/*bare=*/false, &set)) {
      if (Peek() == '-' && Peek(1) != ']') Unknown("a range from a class");
      return set;
    }
    const char32_t low = ClassCharacter();
    if (Peek() != '-' || Peek(1) == ']' || Peek(1) == '\0') return CodePointSet::Single(low);
    Eat("-");
    if (Peek() == '[' || (Peek() == '\\' && std::string_view("sSdDhHwWpP").find(Peek(1)) != std::string_view::npos) || pattern_.substr(at_).starts_with("&&")) {
      Unknown("a range to a class");
      return {};
    }
    const char32_t high = ClassCharacter();
    if (high < low) {
      Broken("a range that runs backward");
      return {};
    }
    return CodePointSet::Range(low, high);
  }

  char32_t ClassCharacter() {
    if (Peek() != '\\') return Take();
    if (Peek(1) != 'b') return EscapedCharacter();
    at_ += 2;
    return 8;
  }

  std::string_view pattern_;
  size_t at_ = 0;
  bool ignore_case_ = false;
  bool dot_all_ = false;
  char32_t literal_ = 0;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<RegexNode> ParseRegex(std::string_view pattern) { return Parser(pattern).Parse(); }

}  // namespace countermark::hf
