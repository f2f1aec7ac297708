// Characters that are not seen, and where writing needs them.
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include "src/tokenize/cleaned/stage.h"

namespace countermark::cleaned {
namespace {

constexpr UChar32 kSpace = 0x200B, kNonJoiner = 0x200C, kJoiner = 0x200D;  // zero-width
constexpr UChar32 kTextStyle = 0xFE0E, kEmojiStyle = 0xFE0F;
constexpr UChar32 kFlag = 0x1F3F4, kFirstTag = 0xE0020, kEndOfTags = 0xE007F;
constexpr UChar32 kKeycap = 0x20E3;

// Default_Ignorable_Code_Point (its reserved places too, so that no version of ICU matters) and the interlinear annotation controls.
bool IsUnseen(UChar32 c) {
  if (c < 0x300) return c == 0xAD;
  if (c < 0x2000) return c == 0x34F || c == 0x61C || c == 0x115F || c == 0x1160 || c == 0x17B4 || c == 0x17B5 || (c >= 0x180B && c <= 0x180F);
  if (c < 0x3000) return (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F);
  if (c < 0x10000) return c == 0x3164 || (c >= 0xFE00 && c <= 0xFE0F) || c == 0xFEFF || c == 0xFFA0 || (c >= 0xFFF0 && c <= 0xFFFB);
  return (c >= 0x1BCA0 && c <= 0x1BCA3) || (c >= 0x1D173 && c <= 0x1D17A) || (c >= 0xE0000 && c <= 0xE0FFF);
}

bool IsPictograph(UChar32 c) { return c > 0xFF ? u_hasBinaryProperty(c, UCHAR_EXTENDED_PICTOGRAPHIC) : c == 0xA9 || c == 0xAE; }
bool IsSkinTone(UChar32 c) { return c >= 0x1F3FB && c <= 0x1F3FF; }
bool IsTag(UChar32 c) { return c >= kFirstTag && c < kEndOfTags; }
bool IsMongolian(UChar32 c) { return c >= 0x1800 && c <= 0x18AF; }
bool IsMongolianSelector(UChar32 c) { return c >= 0x180B && c <= 0x180F; }
// Of a script that does not space its words.
bool IsUnspaced(UChar32 c) { return c >= 0xE00 && u_getIntPropertyValue(c, UCHAR_LINE_BREAK) == U_LB_COMPLEX_CONTEXT; }
bool IsVirama(UChar32 c) { return c >= 0x900 && u_getCombiningClass(c) == 9; }

bool JoinsForward(UChar32 c) {
  const int type = c < 0x600 ? U_JT_NON_JOINING : u_getIntPropertyValue(c, UCHAR_JOINING_TYPE);
  return type == U_JT_DUAL_JOINING || type == U_JT_LEFT_JOINING;
}
bool JoinsBackward(UChar32 c) {
  const int type = c < 0x600 ? U_JT_NON_JOINING : u_getIntPropertyValue(c, UCHAR_JOINING_TYPE);
  return type == U_JT_DUAL_JOINING || type == U_JT_RIGHT_JOINING;
}

bool IsMark(UChar32 c) { return c >= 0x300 && (U_GET_GC_MASK(c) & U_GC_M_MASK) != 0; }

// What stands before a run of unseen characters.
struct Before {
  UChar32 last = 0;     // the character
  UChar32 base = 0;     // the last that is no combining mark
  bool virama = false;  // among the marks behind the base

  void Take(UChar32 c) {
    last = c;
    if (IsMark(c)) {
      virama = virama || IsVirama(c);
    } else {
      base = c;
      virama = false;
    }
  }
};

// What stands behind it. Marks may change places when a character between them goes, so that what is asked of them does not hang on their order.
struct After {
  UChar32 first = 0;
  bool virama = false;  // among the marks it begins with
};

class Run {
 public:
  Run(const Before& before, const After& after, bool flag) : before_(before), after_(after), flag_(flag) {}

  // Whether the next one of the run stays.
  bool Keeps(UChar32 c) {
    const bool keeps = Needs(c);
    if (keeps) kept_ = c;
    return keeps;
  }

 private:
  bool Needs(UChar32 c) const {
    if (flag_ && (IsTag(c) || c == kEndOfTags)) return kept_ == 0 || IsTag(kept_);
    if (c == kJoiner && (kept_ == 0 || kept_ == kEmojiStyle || kept_ == kTextStyle) && (IsPictograph(before_.last) || IsSkinTone(before_.last)) && IsPictograph(after_.first)) {
      return true;
    }
    if (kept_ != 0) return false;
    if (c == kTextStyle || c == kEmojiStyle) {
      const bool key = (before_.last >= '0' && before_.last <= '9') || before_.last == '#' || before_.last == '*';
      return IsPictograph(before_.last) || (key && after_.first == kKeycap);
    }
    if (c == kNonJoiner) return before_.virama || ((JoinsForward(before_.base) || JoinsBackward(before_.base)) && (JoinsForward(after_.first) || JoinsBackward(after_.first)));
    // Between two letters that join it does nothing, and at a word's end it asks for a form.
    if (c == kJoiner) return before_.virama || after_.virama || JoinsForward(before_.base) != JoinsBackward(after_.first);
    if (c == kSpace) return IsUnspaced(before_.base) || (IsUnspaced(after_.first) && !IsMark(after_.first));
    if (IsMongolianSelector(c)) return IsMongolian(before_.base);
    return false;
  }

  const Before& before_;
  const After& after_;
  const bool flag_;  // the run begins with the tags of a flag, and their end
  UChar32 kept_ = 0;
};

}  // namespace

void RemoveUnseenInto(std::string_view text, Stage* stage) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int32_t>(text.size());
  Before before;
  for (int32_t at = 0; at < size;) {
    const int32_t begin = at;
    UChar32 c;
    U8_NEXT_UNSAFE(bytes, at, c);
    if (!IsUnseen(c)) {
      before.Take(c);
      continue;
    }
    // All of the run, for what comes after it.
    After after;
    UChar32 last_tag = 0;
    bool tags = before.last == kFlag;  // so far
    bool flag = false;
    int32_t end = begin;
    while (end < size) {
      int32_t behind = end;
      U8_NEXT_UNSAFE(bytes, behind, c);
      if (!IsUnseen(c)) {
        after.first = c;
        while (IsMark(c) && !after.virama) {
          after.virama = IsVirama(c);
          if (behind == size) break;
          U8_NEXT_UNSAFE(bytes, behind, c);
        }
        break;
      }
      if (tags && c == kEndOfTags && last_tag != 0) flag = true;
      tags = tags && IsTag(c);
      if (tags) last_tag = c;
      end = behind;
    }
    Run run(before, after, flag);
    for (int32_t one = begin; one < end;) {
      const int32_t from = one;
      U8_NEXT_UNSAFE(bytes, one, c);
      if (!run.Keeps(c)) stage->Replace(static_cast<size_t>(from), static_cast<size_t>(one), "");
    }
    at = end;
  }
}

}  // namespace countermark::cleaned
