// A text as it was before someone disguised it: the "cleaned" view. Takes any bytes; gives UTF-8 and where each part of it came from.
//
//   CM_ASSIGN_OR_RETURN(const CleanedText cleaned, CleanText("p\u0430y\u200Bpal"));   // Cyrillic а, a zero-width space
//   cleaned.text();                            // "paypal"
//   cleaned.Original({1, 3});                  // {1, 7}: bytes 1 to 7 of the original became bytes 1 to 3
//
// A mark lives in the exact tokens. Letters of another script that look alike, zero-width characters, full-width letters and the like leave what
// people read and change every token; this undoes them, so that the text is tokenised as it was served. In this order:
//   1. ill-formed UTF-8 becomes U+FFFD, one for each longest part that could begin a character (as WHATWG and Python's errors="replace" have it)
//   2. NFKC: full-width and mathematical letters, ligatures, odd spaces (no-break, thin, ideographic, …) become the plain ones. A run of more than
//      kMostMarks combining marks stays as it stands
//   3. characters that are not seen go: soft hyphens, zero-width characters, byte order marks, bidirectional controls, variation selectors, tags and
//      fillers. Those stay that the writing of a living language or an emoji needs where they stand: U+200C and U+200D in joining scripts and beside a
//      virama, U+200B beside scripts without spaces between words (Thai, Lao, Khmer, Burmese), Mongolian's selectors, U+FE0E and U+FE0F behind a
//      pictograph, U+200D between two, tags of a flag
//   4. in words of mixed script, letters that look like a letter of the word's own script become that letter (UTS #39's data). The word's script
//      is Latin, Cyrillic or Greek, one of which the word has a letter, such that every other letter has such a counterpart; if none is, the word
//      stays. If several are, it is that of the last word before that could be of one script alone, else the most frequent, else the first named. Latin
//      with Greek alone is left where the word has fewer than four letters (formulas mix them). A word wholly of one script stays, whatever it looks like
//   5. NFKC again, where 3 or 4 brought together what composes
//
// It is a function of the text alone: the same on every machine (but for characters that a machine's ICU does not yet know), and applying it twice changes
// nothing more. Time and memory are linear in the text, whatever the text. What it cannot undo: words replaced whole by look-alikes, letters moved by
// bidirectional controls, look-alikes within one script (docs/cleaned-view.md).
#ifndef COUNTERMARK_TOKENIZE_CLEANED_TEXT_H_
#define COUNTERMARK_TOKENIZE_CLEANED_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/tokenize/tokenizer.h"

namespace countermark {

class CleanedText {
 public:
  // Bytes [from, from_end) became bytes [to, to_end); what lies between two changes stands as it was.
  struct Change {
    uint32_t from = 0, from_end = 0, to = 0, to_end = 0;
  };

  const std::string& text() const { return text_; }
  bool changed() const { return !stages_.empty(); }
  // The bytes of the original that bytes [begin, end) of text() stand for; 0 ≤ begin ≤ end ≤ text().size(). All of a character that was rewritten, and
  // what was removed inside; what was removed at either end is left out.
  ByteSpan Original(ByteSpan span) const;

 private:
  friend absl::StatusOr<CleanedText> CleanText(std::string_view text);
  std::string text_;
  std::vector<std::vector<Change>> stages_;  // each from the text before it, ascending; none is empty
};

// More combining marks than this on end are no writing; Unicode's own limit for streams is 30.
inline constexpr int kMostMarks = 256;

// InvalidArgument: more than 512 MiB, which no tokenizer takes. Internal: ICU has no NFKC data.
absl::StatusOr<CleanedText> CleanText(std::string_view text);

}  // namespace countermark

#endif  // COUNTERMARK_TOKENIZE_CLEANED_TEXT_H_
