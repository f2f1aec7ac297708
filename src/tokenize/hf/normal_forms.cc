#include "src/tokenize/hf/normal_forms.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <memory>

#include "src/tokenize/hf/code_points.h"

namespace countermark::hf {
namespace {

// Normal forms of assigned characters never change; those assigned after this version have none in that library.
constexpr uint8_t kUnicode[] = {9, 0};

const icu::Normalizer2& Canonical() {
  static const icu::Normalizer2& form = *[] {
    UErrorCode error = U_ZERO_ERROR;
    return icu::Normalizer2::getNFCInstance(error);
  }();
  return form;
}

const icu::Normalizer2& Compatible() {
  static const icu::Normalizer2& form = *[] {
    UErrorCode error = U_ZERO_ERROR;
    return icu::Normalizer2::getNFKCInstance(error);
  }();
  return form;
}

bool IsKnown(char32_t c) {
  if (c < 0x300) return true;
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(c), age);
  return age[0] != 0 && (age[0] < kUnicode[0] || (age[0] == kUnicode[0] && age[1] <= kUnicode[1]));
}

// Per character: 1 has a combining class, 2 decomposes, 4 decomposes compatibly, 8 may compose with what is before it, 16 never stands in
// NFC, 32 never stands in NFKC.
const CodePointMap& Facts() {
  static const CodePointMap& facts = *[] {
    std::vector<std::pair<char32_t, uint8_t>> runs = {{0, 0}};
    icu::UnicodeString ignored;
    for (char32_t c = 0; c < kCodePoints; ++c) {
      uint8_t fact = 0;
      const UChar32 point = static_cast<UChar32>(c);
      if (IsKnown(c)) {
        if (Canonical().getCombiningClass(point) != 0) fact |= 1;
        if (Canonical().getDecomposition(point, ignored)) fact |= 2;
        if (Compatible().getDecomposition(point, ignored)) fact |= 4;
        if (u_getIntPropertyValue(point, UCHAR_NFC_QUICK_CHECK) == UNORM_MAYBE) fact |= 8;
        if (u_getIntPropertyValue(point, UCHAR_NFC_QUICK_CHECK) == UNORM_NO) fact |= 16;
        if (u_getIntPropertyValue(point, UCHAR_NFKC_QUICK_CHECK) == UNORM_NO) fact |= 32;
      }
      if (fact != runs.back().second) runs.emplace_back(c, fact);
    }
    return new CodePointMap(runs);
  }();
  return facts;
}

uint8_t CombiningClass(char32_t c) { return (Facts()[c] & 1) != 0 ? Canonical().getCombiningClass(static_cast<UChar32>(c)) : uint8_t{0}; }

char32_t Compose(char32_t a, char32_t b) {
  if ((Facts()[b] & 8) == 0) return 0;
  const UChar32 composed = Canonical().composePair(static_cast<UChar32>(a), static_cast<UChar32>(b));
  return composed >= 0 && IsKnown(static_cast<char32_t>(composed)) ? static_cast<char32_t>(composed) : 0;
}

// decompose.rs: characters in order, those with a combining class sorted by it between two without.
std::vector<Change> Decomposed(std::string_view text, bool compatible) {
  std::vector<Change> changes;
  std::vector<std::pair<uint8_t, Change>> pending;
  const auto flush = [&] {
    std::stable_sort(pending.begin(), pending.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [combining, change] : pending) changes.push_back(change);
    pending.clear();
  };
  const auto add = [&](char32_t c, int change) {
    const uint8_t combining = CombiningClass(c);
    if (combining == 0) flush();
    pending.push_back({combining, {c, change}});
  };
  const uint8_t decomposes = compatible ? 6 : 2;
  icu::UnicodeString parts;
  for (size_t at = 0; at < text.size(); at += CharacterLength(text[at])) {
    const char32_t c = DecodeCharacter(text.data() + at);
    const bool whole = (Facts()[c] & decomposes) == 0 || !(compatible ? Compatible() : Canonical()).getDecomposition(static_cast<UChar32>(c), parts);
    if (whole) {
      add(c, 0);
      continue;
    }
    for (int32_t i = 0; i < parts.length(); i = parts.moveIndex32(i, 1)) add(static_cast<char32_t>(parts.char32At(i)), i == 0 ? 0 : 1);
  }
  flush();
  return changes;
}

// recompose.rs
std::vector<Change> Composed(const std::vector<Change>& decomposed) {
  std::vector<Change> changes, buffer;
  bool has_base = false;
  Change base{};
  int last_class = -1;  // none
  const auto release = [&] {
    changes.push_back(base);
    changes.insert(changes.end(), buffer.begin(), buffer.end());
    buffer.clear();
    last_class = -1;
  };
  for (const Change& next : decomposed) {
    const int combining = CombiningClass(next.character);
    if (!has_base) {
      if (combining != 0) {
        changes.push_back(next);
      } else {
        has_base = true;
        base = next;
      }
      continue;
    }
    const bool blocked = last_class >= combining;
    if (!blocked || last_class < 0) {
      if (const char32_t composed = Compose(base.character, next.character); composed != 0) {
        base = {composed, base.change + next.change - 1};
        continue;
      }
    }
    if (combining == 0) {
      release();
      base = next;
      continue;
    }
    buffer.push_back(next);
    last_class = combining;
  }
  if (has_base) release();
  return changes;
}

}  // namespace

std::vector<Change> Normalize(std::string_view text, NormalForm form) {
  std::vector<Change> decomposed = Decomposed(text, form.compatible);
  return form.composed ? Composed(decomposed) : decomposed;
}

bool IsPlainlyNormal(std::string_view text, NormalForm form) {
  // What a character decomposes to composes again, as the change 0, where nothing after it may compose.
  const uint8_t not_plain = form.composed ? (form.compatible ? 1 | 8 | 16 | 32 : 1 | 8 | 16) : (form.compatible ? 1 | 2 | 4 : 1 | 2);
  const CodePointMap& facts = Facts();
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    if ((facts[DecodeCharacter(text.data() + at)] & not_plain) != 0) return false;
    at += CharacterLength(text[at]);
  }
  return true;
}

}  // namespace countermark::hf
