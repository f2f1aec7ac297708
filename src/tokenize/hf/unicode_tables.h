// Properties of characters as the `tokenizers` package has them, in bytes; tools/unicode-tables writes them. code_points.h reads them.
//
// A set is the distances between the code points where membership changes, the first from 0, each as a varint (seven bits a byte, the
// lowest first, the eighth bit set where more follow). Runs are such distances, each followed by the value from there on, also a varint.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_UNICODE_TABLES_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_UNICODE_TABLES_H_

#include <cstdint>
#include <span>
#include <string_view>

namespace countermark::hf {

extern const std::span<const uint8_t> kCategory;          // runs: Oniguruma's general categories, numbered from 1 as kCategoryNames
extern const std::span<const uint8_t> kScript;            // runs: Oniguruma's scripts, numbered from 1 as kScriptNames
extern const std::span<const uint8_t> kSpace;             // set: White_Space
extern const std::span<const uint8_t> kAlphabetic;        // sets of Oniguruma
extern const std::span<const uint8_t> kUppercase;
extern const std::span<const uint8_t> kLowercase;
extern const std::span<const uint8_t> kWord;              // [[:word:]]
extern const std::span<const uint8_t> kRegexWord;         // set: \w of Rust's regex crate
extern const std::span<const uint8_t> kNumeric;           // set: Rust's char::is_numeric
extern const std::span<const uint8_t> kPunctuation;       // set: what the pre-tokenizers Punctuation and BertPreTokenizer cut at
extern const std::span<const uint8_t> kOther;             // set: what BertNormalizer drops as control characters
extern const std::span<const uint8_t> kNonspacing;        // set: what it drops as accents
extern const std::span<const uint8_t> kCombining;         // set: what StripAccents drops
extern const std::span<const uint8_t> kGraphemeJoins;     // set: what joins to the character before it in a grapheme cluster
extern const std::span<const uint8_t> kGraphemePrepends;  // set: what joins to the character after it
extern const std::span<const uint8_t> kJoinedScripts;     // runs: classes of the pre-tokenizer UnicodeScripts; 0 joins to any
// Pairs of varints: the distance from the last character that has another lower case, and the zigzag of the difference. Without U+0130.
extern const std::span<const uint8_t> kLower;

extern const std::span<const std::string_view> kCategoryNames;
extern const std::span<const std::string_view> kScriptNames;

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_UNICODE_TABLES_H_
