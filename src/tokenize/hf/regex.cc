#include "src/tokenize/hf/regex.h"

#include "src/base/status_macros.h"
#include "src/tokenize/hf/regex_icu.h"
#include "src/tokenize/hf/regex_program.h"
#include "src/tokenize/hf/regex_syntax.h"

namespace countermark::hf {
namespace {

class LiteralRegex final : public Regex {
 public:
  explicit LiteralRegex(std::string_view text) : text_(text) {}

  absl::Status FindAll(std::string_view text, std::vector<Match>* matches) const override {
    matches->clear();
    for (size_t at = 0; (at = text.find(text_, at)) != std::string_view::npos; at += text_.size()) matches->push_back({at, at + text_.size()});
    return absl::OkStatus();
  }
  Engine engine() const override { return kFastest; }

 private:
  std::string text_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Regex>> Regex::Compile(std::string_view pattern, Engine engine) {
  CM_ASSIGN_OR_RETURN(const RegexNode root, ParseRegex(pattern));
  if (engine == kFastest) {
    if (std::unique_ptr<RegexProgram> program = RegexProgram::Compile(root)) return program;
  }
  return CompileForIcu(root, pattern);
}

std::unique_ptr<Regex> Regex::Literal(std::string_view text) {
  // Of nothing: an empty match at every character, which the program finds.
  if (text.empty()) return RegexProgram::Compile(RegexNode{});
  return std::make_unique<LiteralRegex>(text);
}

}  // namespace countermark::hf
