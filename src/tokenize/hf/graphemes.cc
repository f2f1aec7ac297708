#include "src/tokenize/hf/graphemes.h"

#include <unicode/uchar.h>

#include "src/tokenize/hf/code_points.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

// ICU's class, but what joins and what prepends by the tables, which know characters that ICU may not.
int Break(char32_t c) {
  const int kind = u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_GRAPHEME_CLUSTER_BREAK);
  const bool joins = GraphemeJoinMap()[c] != 0, extends = kind == U_GCB_EXTEND || kind == U_GCB_SPACING_MARK || kind == U_GCB_ZWJ;
  if (joins != extends) return joins ? U_GCB_EXTEND : U_GCB_OTHER;
  if ((GraphemePrependMap()[c] != 0) != (kind == U_GCB_PREPEND)) return kind == U_GCB_PREPEND ? U_GCB_OTHER : U_GCB_PREPEND;
  return kind;
}

bool IsPictographic(char32_t c) { return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_EXTENDED_PICTOGRAPHIC) != 0; }
bool IsControl(int kind) { return kind == U_GCB_CONTROL || kind == U_GCB_CR || kind == U_GCB_LF; }

// GB9c: viramas that join the consonant after them, and what may stand between.
bool IsIndicConsonant(char32_t c) {
  switch (c >> 7) {  // Devanagari, Bengali, Gujarati, Oriya, Telugu, Malayalam: the scripts of Indic_Conjunct_Break
    case 0x0900 >> 7:
    case 0x0980 >> 7:
    case 0x0A80 >> 7:
    case 0x0B00 >> 7:
    case 0x0C00 >> 7:
    case 0x0D00 >> 7:
      break;
    default:
      return false;
  }
  const bool script = (c >= 0x0900 && c < 0x0A00) || (c >= 0x0A80 && c < 0x0B80) || (c >= 0x0C00 && c < 0x0C80) || (c >= 0x0D00 && c < 0x0D80);
  const int place = u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_INDIC_SYLLABIC_CATEGORY);
  return script && place == U_INSC_CONSONANT;
}

bool IsIndicLinker(char32_t c) {
  return c == 0x094D || c == 0x09CD || c == 0x0ACD || c == 0x0B4D || c == 0x0C4D || c == 0x0D4D;
}

}  // namespace

size_t GraphemeEnd(std::string_view text, size_t begin) {
  char32_t last = DecodeCharacter(text.data() + begin);
  int last_kind = Break(last);
  size_t at = begin + CharacterLength(text[begin]);
  int indicators = last_kind == U_GCB_REGIONAL_INDICATOR ? 1 : 0;
  bool pictograph = IsPictographic(last);      // one, then only Extend, then perhaps a joiner
  bool consonant = IsIndicConsonant(last);     // one, then only Extend or linkers
  bool linked = false;
  while (at < text.size()) {
    const char32_t c = DecodeCharacter(text.data() + at);
    const int kind = Break(c);
    bool joins;
    if (last_kind == U_GCB_CR && kind == U_GCB_LF) {
      joins = true;
    } else if (IsControl(last_kind) || IsControl(kind)) {
      joins = false;
    } else if (last_kind == U_GCB_L && (kind == U_GCB_L || kind == U_GCB_V || kind == U_GCB_LV || kind == U_GCB_LVT)) {
      joins = true;
    } else if ((last_kind == U_GCB_LV || last_kind == U_GCB_V) && (kind == U_GCB_V || kind == U_GCB_T)) {
      joins = true;
    } else if ((last_kind == U_GCB_LVT || last_kind == U_GCB_T) && kind == U_GCB_T) {
      joins = true;
    } else if (kind == U_GCB_EXTEND || kind == U_GCB_ZWJ || kind == U_GCB_SPACING_MARK || last_kind == U_GCB_PREPEND) {
      joins = true;
    } else if (consonant && linked && IsIndicConsonant(c)) {
      joins = true;
    } else if (pictograph && last_kind == U_GCB_ZWJ && IsPictographic(c)) {
      joins = true;
    } else {
      joins = last_kind == U_GCB_REGIONAL_INDICATOR && kind == U_GCB_REGIONAL_INDICATOR && indicators % 2 == 1;
    }
    if (!joins) return at;
    indicators = kind == U_GCB_REGIONAL_INDICATOR ? indicators + 1 : 0;
    if (IsIndicConsonant(c)) {
      consonant = true;
      linked = false;
    } else if (kind == U_GCB_EXTEND || kind == U_GCB_ZWJ) {
      linked = linked || IsIndicLinker(c);
    } else {
      consonant = false;
    }
    if (IsPictographic(c)) {
      pictograph = true;
    } else if (kind != U_GCB_EXTEND && (kind != U_GCB_ZWJ || last_kind == U_GCB_ZWJ)) {
      pictograph = false;
    }
    last = c;
    last_kind = kind;
    at += CharacterLength(text[at]);
  }
  return at;
}

}  // namespace countermark::hf
