// Words of mixed script, and the one script that all of their letters could be.
#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "src/tokenize/cleaned/stage.h"

namespace countermark::cleaned {
namespace {

constexpr int kTargets = 3;
constexpr std::array<UScriptCode, kTargets> kTargetScripts = {USCRIPT_LATIN, USCRIPT_CYRILLIC, USCRIPT_GREEK};
constexpr int kLatin = 0, kGreek = 2;
constexpr int kOther = kTargets;    // a script that no word becomes
constexpr int kAny = kTargets + 1;  // a letter that every script has
constexpr size_t kFewLetters = 4;

struct Confusable {
  UChar32 letter;
  UChar32 as[kTargets];  // 0: nothing
};
constexpr Confusable kConfusables[] = {
#include "src/tokenize/cleaned/confusables.inc"
};

const UChar32* LookalikesOf(UChar32 letter) {
  static constexpr UChar32 kNone[kTargets] = {};
  const auto* found = std::lower_bound(std::begin(kConfusables), std::end(kConfusables), letter, [](const Confusable& row, UChar32 c) { return row.letter < c; });
  return found != std::end(kConfusables) && found->letter == letter ? found->as : kNone;
}

int ScriptOf(UChar32 letter) {
  if (letter < 0x80) return kLatin;
  UErrorCode error = U_ZERO_ERROR;
  const UScriptCode script = uscript_getScript(letter, &error);
  if (script == USCRIPT_COMMON || script == USCRIPT_INHERITED) return kAny;
  return static_cast<int>(std::find(kTargetScripts.begin(), kTargetScripts.end(), script) - kTargetScripts.begin());
}

struct Letter {
  int32_t begin, end;
  UChar32 c;
  int script;
};

// The letters of a word, and what they allow.
class Word {
 public:
  void Clear() {
    letters_.clear();
    std::fill(std::begin(count_), std::end(count_), 0);
  }
  void Add(const Letter& letter) {
    letters_.push_back(letter);
    ++count_[letter.script];
  }
  const std::vector<Letter>& letters() const { return letters_; }

  // Its one script, of those that words become, where it has a letter that nothing else looks like.
  std::optional<int> Certain() const {
    for (int target = 0; target < kTargets; ++target) {
      if (count_[target] == 0 || count_[target] + count_[kAny] != letters_.size()) continue;
      for (const Letter& letter : letters_) {
        const UChar32* as = LookalikesOf(letter.c);
        if (letter.script == target && std::all_of(as, as + kTargets, [](UChar32 c) { return c == 0; })) return target;
      }
    }
    return std::nullopt;
  }

  // The script it is unified in; nothing where it stays.
  std::optional<int> Target(std::optional<int> context) const {
    const bool mixed = std::count_if(std::begin(count_), std::begin(count_) + kOther + 1, [](size_t n) { return n > 0; }) > 1;
    if (!mixed) return std::nullopt;
    const size_t of_scripts = letters_.size() - count_[kAny];
    if (count_[kLatin] + count_[kGreek] == of_scripts && letters_.size() < kFewLetters) return std::nullopt;
    std::optional<int> best;
    for (int target = 0; target < kTargets; ++target) {
      if (count_[target] == 0 || !CanBe(target)) continue;
      if (target == context) return target;
      if (!best || count_[target] > count_[*best]) best = target;
    }
    return best;
  }

 private:
  bool CanBe(int target) const {
    return std::all_of(letters_.begin(), letters_.end(), [target](const Letter& letter) {
      return letter.script == target || letter.script == kAny || LookalikesOf(letter.c)[target] != 0;
    });
  }

  std::vector<Letter> letters_;
  size_t count_[kAny + 1] = {};
};

// Gives each word in turn: letters with nothing but combining marks between them.
class Words {
 public:
  explicit Words(std::string_view text) : bytes_(reinterpret_cast<const uint8_t*>(text.data())), size_(static_cast<int32_t>(text.size())) {}
  bool Next(Word* word) {
    word->Clear();
    while (at_ < size_) {
      const int32_t begin = at_;
      UChar32 c;
      U8_NEXT_UNSAFE(bytes_, at_, c);
      const uint32_t category = U_GET_GC_MASK(c);
      if ((category & U_GC_L_MASK) != 0) {
        word->Add({begin, at_, c, ScriptOf(c)});
      } else if ((category & U_GC_M_MASK) == 0 && !word->letters().empty()) {
        return true;
      }
    }
    return !word->letters().empty();
  }

 private:
  const uint8_t* bytes_;
  const int32_t size_;
  int32_t at_ = 0;
};

}  // namespace

void UnifyWordsInto(std::string_view text, Stage* stage) {
  Word word;
  std::optional<int> context;  // at the beginning, that of the first certain word
  for (Words words(text); !context && words.Next(&word);) context = word.Certain();
  Words words(text);
  while (words.Next(&word)) {
    if (const std::optional<int> certain = word.Certain()) context = certain;
    const std::optional<int> target = word.Target(context);
    if (!target) continue;
    for (const Letter& letter : word.letters()) {
      if (letter.script == *target || letter.script == kAny) continue;
      char bytes[U8_MAX_LENGTH];
      int32_t length = 0;
      U8_APPEND_UNSAFE(bytes, length, LookalikesOf(letter.c)[*target]);
      stage->Replace(static_cast<size_t>(letter.begin), static_cast<size_t>(letter.end), std::string_view(bytes, static_cast<size_t>(length)));
    }
  }
}

}  // namespace countermark::cleaned
