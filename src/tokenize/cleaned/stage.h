// One stage of cleaning: a text read once from its beginning, parts of it replaced.
#ifndef COUNTERMARK_SRC_TOKENIZE_CLEANED_STAGE_H_
#define COUNTERMARK_SRC_TOKENIZE_CLEANED_STAGE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "countermark/tokenize/cleaned_text.h"

namespace countermark::cleaned {

class Stage {
 public:
  explicit Stage(std::string_view text) : in_(text) {}

  // Bytes [begin, end) of the text, none of them before the last call's end.
  void Replace(size_t begin, size_t end, std::string_view with) {
    out_.append(in_, copied_, begin - copied_);
    const size_t to = out_.size();
    out_ += with;
    copied_ = end;
    const auto place = [](size_t at) { return static_cast<uint32_t>(at); };
    if (with.empty() && !changes_.empty() && changes_.back().from_end == begin && changes_.back().to_end == to && changes_.back().to == to) {
      changes_.back().from_end = place(end);  // removed in one with what stood before it
    } else {
      changes_.push_back({place(begin), place(end), place(to), place(out_.size())});
    }
  }

  bool changed() const { return !changes_.empty(); }
  // The whole of the new text, where anything changed.
  std::string Finish() {
    out_.append(in_, copied_);
    return std::move(out_);
  }
  std::vector<CleanedText::Change>& changes() { return changes_; }

 private:
  std::string_view in_;
  size_t copied_ = 0;
  std::string out_;
  std::vector<CleanedText::Change> changes_;
};

void RepairInto(std::string_view text, Stage* stage);                // any bytes
absl::Status NormalizeInto(std::string_view text, Stage* stage);     // from here on, well-formed UTF-8
void RemoveUnseenInto(std::string_view text, Stage* stage);
void UnifyWordsInto(std::string_view text, Stage* stage);

}  // namespace countermark::cleaned

#endif  // COUNTERMARK_SRC_TOKENIZE_CLEANED_STAGE_H_
