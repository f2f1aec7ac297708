// The matcher for expressions of sets, alternatives, repeats and a look at the next character: what tokenizers cut words with.
//
// Each alternative of the whole expression is a program of a few instructions, run by backtracking with the work of a repeated set done in one
// loop. The sets of an expression share one table from characters to classes; the class of the next character says which alternatives
// can match at all. Finds what a backtracking engine finds: the first alternative that matches, the longest or shortest repeat first.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_REGEX_PROGRAM_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_REGEX_PROGRAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/tokenize/hf/regex.h"
#include "src/tokenize/hf/regex_syntax.h"

namespace countermark::hf {

class RegexProgram final : public Regex {
 public:
  // nullptr for an expression that has more than this matcher does.
  static std::unique_ptr<RegexProgram> Compile(const RegexNode& root);

  absl::Status FindAll(std::string_view text, std::vector<Match>* matches) const override;
  Engine engine() const override { return kFastest; }

 private:
  struct Step {
    enum Op : uint8_t { kMatch, kSpan, kPeek, kSplit, kJump };
    Op op = kMatch;
    bool flag = false;     // kSpan: nothing after it can take what it gives back; kPeek: negated
    bool lazy = false;     // kSpan
    uint8_t bit = 0;       // of the set
    uint32_t min = 1, max = 1;
    uint32_t first = 0, second = 0;  // kSplit: tried in this order; kJump: first
  };
  struct Held {
    uint32_t step;
    bool lazy;
    size_t low, high;  // a place to go on from; lower, or for lazy higher, ones are tried after it
    uint32_t bit;
  };

  bool Emit(const RegexNode& node, std::vector<CodePointSet>* sets, int* room);
  bool EmitRepeat(const RegexNode& node, std::vector<CodePointSet>* sets, int* room);
  uint8_t SetBit(const CodePointSet& set, std::vector<CodePointSet>* sets);
  // The sets that may take the next character from this step on, as bits; *empty where it may match without one.
  uint64_t FirstSets(uint32_t step, bool* empty, int depth) const;
  void MarkSpans(const std::vector<CodePointSet>& sets);
  bool MatchAt(std::string_view text, size_t at, uint32_t step, std::vector<Held>* held, size_t* end, size_t* budget) const;
  uint64_t SetsOf(std::string_view text, size_t at, size_t* length) const;

  std::vector<Step> steps_;
  std::vector<uint32_t> entries_;              // where each alternative begins, 64 at most
  std::vector<uint64_t> entries_of_class_;     // which of them can begin with a character of the class
  uint64_t entries_of_nothing_ = 0;            // which can match nothing
  std::unique_ptr<CodePointMap> class_of_;
  std::vector<uint64_t> sets_of_class_;
  uint64_t ascii_sets_[128] = {};
  bool can_be_empty_ = false;
};

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_REGEX_PROGRAM_H_
