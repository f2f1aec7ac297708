// Which bytes of a text each of its tokens stands for, found by walking the text along the tokens' own bytes.
//
// Takes: the text, the ids its tokenizer gave, the bytes of every token, and how the tokenizer rewrites a text before it cuts it. Gives
// one span an id: ascending, each beginning where the one before ends, from byte 0 to the text's end.
//
//   WalkSpans("a b", ids, table, {.dummy_prefix = true, .escape_spaces = true}, &spans);
//
// A tokenizer's library reports ids alone, but each token's bytes are known, and their concatenation is the *rewritten* text. The rewrites
// known here are walked exactly:
//   - a space put before the text, or before what follows a token found in the raw text (dummy_prefix);
//   - U+0020 and U+2581 taken as the same character, U+2581 (escape_spaces);
//   - a byte that is no part of UTF-8 read as U+FFFD, an over-long form as its code point (replace_invalid).
// Where one character of the text is shared by several byte tokens of its rewritten form, the last of them has its bytes and the others are
// empty, as SentencePiece does it. Anything else (white space swallowed by a token, text normalised, an unknown token, bytes for which the
// vocabulary has nothing) is found again within a short distance: what was skipped belongs to the token after it. Linear in the text.
#ifndef COUNTERMARK_SRC_TOKENIZE_SPAN_WALKER_H_
#define COUNTERMARK_SRC_TOKENIZE_SPAN_WALKER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "countermark/tokenize/tokenizer.h"

namespace countermark {

// The bytes of every token of a vocabulary, in one block.
class TokenTable {
 public:
  enum Kind : uint8_t {
    kPlain,    // its bytes stand in the rewritten text
    kRaw,      // found in the raw text before any rewriting (a user-defined token)
    kUnknown,  // stands for some text that the vocabulary does not have
  };
  void Add(std::string_view bytes, Kind kind);
  std::string_view bytes(uint32_t id) const { return std::string_view(bytes_).substr(begin_[id], begin_[id + 1] - begin_[id]); }
  Kind kind(uint32_t id) const { return kind_[id]; }
  uint32_t size() const { return static_cast<uint32_t>(kind_.size()); }

 private:
  std::string bytes_;
  std::vector<uint64_t> begin_ = {0};
  std::vector<Kind> kind_;
};

struct RewriteRules {
  bool dummy_prefix = false;     // needs escape_spaces
  bool escape_spaces = false;    // the table's spaces are then U+2581
  bool replace_invalid = false;
};

// Every id must be below table.size().
void WalkSpans(std::string_view text, std::span<const uint32_t> ids, const TokenTable& table, const RewriteRules& rules,
               std::vector<ByteSpan>* spans);

// U+2581, the mark that stands for a space inside a token.
inline constexpr std::string_view kBlockMark = "\xE2\x96\x81";
// `text` with every space replaced by U+2581.
std::string EscapeSpaces(std::string_view text);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_TOKENIZE_SPAN_WALKER_H_
