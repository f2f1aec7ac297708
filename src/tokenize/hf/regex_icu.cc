#include "src/tokenize/hf/regex_icu.h"

#include <unicode/regex.h>
#include <unicode/unistr.h>

#include <cstdio>

#include "src/base/strings.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

constexpr int32_t kTimeLimit = 10000;       // about milliseconds, a search
constexpr int32_t kStackLimit = 512 << 20;  // bytes; ICU's own limit, 8 MB, ends at some 100 kB of one word

std::string Spelled(const CodePointSet& set) {
  std::string spelled = "[";
  char digits[48];
  const auto& flips = set.flips();
  for (size_t i = 0; i < flips.size(); i += 2) {
    std::snprintf(digits, sizeof digits, "\\x{%X}-\\x{%X}", static_cast<unsigned>(flips[i]), static_cast<unsigned>(flips[i + 1] - 1));
    spelled += digits;
  }
  return set.empty() ? "(?!)" : spelled + "]";
}

std::string Written(const RegexNode& node) {
  std::string inside;
  for (const RegexNode& child : node.children) {
    if (node.kind == RegexNode::kAlternate && &child != &node.children[0]) inside += "|";
    inside += Written(child);
  }
  switch (node.kind) {
    case RegexNode::kSet:
      return Spelled(node.set);
    case RegexNode::kConcat:
    case RegexNode::kAlternate:
      return "(?:" + inside + ")";
    case RegexNode::kRepeat: {
      const std::string most = node.max == RegexNode::kUnlimited ? "" : std::to_string(node.max);
      const char* greed = node.greed == RegexNode::kLazy ? "?" : node.greed == RegexNode::kPossessive ? "+" : "";
      return "(?:" + inside + "){" + std::to_string(node.min) + "," + most + "}" + greed;
    }
    case RegexNode::kAhead:
      return (node.negated ? "(?!" : "(?=") + inside + ")";
    case RegexNode::kBehind:
      return (node.negated ? "(?<!" : "(?<=") + inside + ")";
    case RegexNode::kAtomic:
      return "(?>" + inside + ")";
    case RegexNode::kLineBegin:
      return "(?:(?<![\\x{0}-\\x{10FFFF}])|(?<=\\n)(?=[\\x{0}-\\x{10FFFF}]))";
    case RegexNode::kLineEnd:
      return "(?=\\n|(?![\\x{0}-\\x{10FFFF}]))";
    case RegexNode::kTextBegin:
      return "(?<![\\x{0}-\\x{10FFFF}])";
    case RegexNode::kTextEnd:
      return "(?![\\x{0}-\\x{10FFFF}])";
    case RegexNode::kTextEndLine:
      return "(?=\\n?(?![\\x{0}-\\x{10FFFF}]))";
    case RegexNode::kWordBoundary: {
      const std::string word = Spelled(BareWordSet());
      const std::string at = "(?<=" + word + ")(?!" + word + ")", to = "(?<!" + word + ")(?=" + word + ")";
      return node.negated ? "(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))" : "(?:" + at + "|" + to + ")";
    }
  }
  return "";
}

class IcuRegex final : public Regex {
 public:
  explicit IcuRegex(std::unique_ptr<icu::RegexPattern> pattern) : pattern_(std::move(pattern)) {}

  absl::Status FindAll(std::string_view text, std::vector<Match>* matches) const override {
    matches->clear();
    if (text.size() > (size_t{1} << 30)) return absl::ResourceExhaustedError("a text of more than 2^30 bytes is too long for ICU's regular expressions");
    // ICU counts in UTF-16.
    const icu::UnicodeString wide = icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
    std::vector<uint32_t> bytes(static_cast<size_t>(wide.length()) + 1);
    size_t unit = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t length = CharacterLength(text[at]);
      bytes[unit++] = static_cast<uint32_t>(at);
      if (length == 4) bytes[unit++] = static_cast<uint32_t>(at);
      at += length;
    }
    bytes[unit] = static_cast<uint32_t>(text.size());

    UErrorCode error = U_ZERO_ERROR;
    const std::unique_ptr<icu::RegexMatcher> matcher(pattern_->matcher(wide, error));
    if (U_SUCCESS(error)) matcher->setStackLimit(kStackLimit, error);
    if (U_SUCCESS(error)) matcher->setTimeLimit(kTimeLimit, error);
    int32_t from = 0, last_end = -1;
    while (U_SUCCESS(error) && from <= wide.length() && matcher->find(from, error)) {
      const int32_t begin = matcher->start(error), end = matcher->end(error);
      if (begin == end && end == last_end) {  // an empty one where one has just ended
        from = from < wide.length() ? wide.moveIndex32(from, 1) : from + 1;
        continue;
      }
      matches->push_back({bytes[static_cast<size_t>(begin)], bytes[static_cast<size_t>(end)]});
      from = last_end = end;
    }
    if (U_SUCCESS(error)) return absl::OkStatus();
    return absl::ResourceExhaustedError(Cat("ICU gave up on a regular expression in a text of ", text.size(), " bytes: ", u_errorName(error)));
  }
  Engine engine() const override { return kIcu; }

 private:
  std::unique_ptr<icu::RegexPattern> pattern_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Regex>> CompileForIcu(const RegexNode& root, std::string_view pattern) {
  UErrorCode error = U_ZERO_ERROR;
  UParseError place;
  std::unique_ptr<icu::RegexPattern> compiled(icu::RegexPattern::compile(icu::UnicodeString::fromUTF8(Written(root)), 0, place, error));
  if (U_FAILURE(error)) return absl::UnimplementedError(Cat("regular expression '", pattern, "': ICU does not have it: ", u_errorName(error)));
  return std::make_unique<IcuRegex>(std::move(compiled));
}

}  // namespace countermark::hf
