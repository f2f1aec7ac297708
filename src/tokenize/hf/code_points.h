// Sets of code points, and fast tables from code points to small numbers.
//
//   const CodePointSet letters = CategorySet("L");
//   const CodePointMap& space = SpaceMap();        // space[c] is 1 for white space
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_CODE_POINTS_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_CODE_POINTS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace countermark::hf {

inline constexpr char32_t kCodePoints = 0x110000;

// Immutable in use: built by union, intersection and complement.
class CodePointSet {
 public:
  CodePointSet() = default;
  static CodePointSet Range(char32_t first, char32_t last);  // both within
  static CodePointSet Single(char32_t c) { return Range(c, c); }
  static CodePointSet Flips(std::vector<char32_t> flips);    // ascending; inside from an even one to the next odd one
  static CodePointSet All() { return Range(0, kCodePoints - 1); }

  bool Contains(char32_t c) const;
  bool empty() const { return flips_.empty(); }
  CodePointSet operator|(const CodePointSet& other) const { return Merge(other, 0b1110); }
  CodePointSet operator&(const CodePointSet& other) const { return Merge(other, 0b1000); }
  CodePointSet operator~() const { return Merge(All(), 0b0100); }
  bool operator==(const CodePointSet&) const = default;
  const std::vector<char32_t>& flips() const { return flips_; }

 private:
  CodePointSet Merge(const CodePointSet& other, unsigned rule) const;  // bit (inside this) + 2 (inside the other): inside the result
  std::vector<char32_t> flips_;
};

// By blocks of 256, equal blocks shared.
class CodePointMap {
 public:
  // (first code point, value) of each run, ascending, the first at 0.
  explicit CodePointMap(std::span<const std::pair<char32_t, uint8_t>> runs);
  explicit CodePointMap(const CodePointSet& set);  // 1 inside
  uint8_t operator[](char32_t c) const { return bytes_[size_t{block_[c >> 8]} << 8 | (c & 0xFF)]; }

 private:
  std::array<uint16_t, (kCodePoints >> 8)> block_;
  std::vector<uint8_t> bytes_;
};

CodePointSet ReadSet(std::span<const uint8_t> table);
std::vector<std::pair<char32_t, uint8_t>> ReadRuns(std::span<const uint8_t> table);

// By Oniguruma's name of a property: categories ("L", "Lu", "Letter"), scripts ("Han"), "Alphabetic", "White_Space", POSIX names …, without
// regard to case, spaces, '-' and '_'. Nothing for a name not known here.
std::optional<CodePointSet> PropertySet(std::string_view name);
// By the name inside [: :]; "punct" is wider there.
std::optional<CodePointSet> PosixSet(std::string_view name);
// \w and \p{Word} outside of brackets: by a table of Oniguruma's own for Latin-1, also ² ³ ¹ ¼ ½ ¾.
CodePointSet BareWordSet();

const CodePointMap& SpaceMap();        // White_Space
const CodePointMap& RegexWordMap();    // \w of Rust's regex crate
const CodePointMap& NumericMap();
const CodePointMap& PunctuationMap();
const CodePointMap& OtherMap();
const CodePointMap& NonspacingMap();
const CodePointMap& CombiningMap();
const CodePointMap& GraphemeJoinMap();
const CodePointMap& GraphemePrependMap();
const CodePointMap& JoinedScriptMap();

// Rust's char::to_lowercase. U+0130 alone becomes two characters, 'i' and U+0307; this gives 'i'.
char32_t LowerCase(char32_t c);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_CODE_POINTS_H_
