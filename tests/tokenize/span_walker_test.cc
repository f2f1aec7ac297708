#include "src/tokenize/span_walker.h"

#include <gmock/gmock.h>

#include <utility>

#include "src/tokenize/utf8_repair.h"
#include "tests/tokenize/tokenize_testing.h"

namespace countermark {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using Spans = std::vector<std::pair<uint64_t, uint64_t>>;
using Kind = TokenTable::Kind;

struct Token {
  std::string bytes;
  Kind kind = TokenTable::kPlain;
};

Spans Walk(std::string_view text, const std::vector<Token>& tokens, const RewriteRules& rules) {
  TokenTable table;
  std::vector<uint32_t> ids;
  for (const Token& token : tokens) {
    ids.push_back(table.size());
    table.Add(token.bytes, token.kind);
  }
  std::vector<ByteSpan> spans;
  WalkSpans(text, ids, table, rules, &spans);
  Spans out;
  for (const ByteSpan& span : spans) out.emplace_back(span.begin, span.end);
  return out;
}

constexpr RewriteRules kSpm = {.dummy_prefix = true, .escape_spaces = true, .replace_invalid = false};
constexpr RewriteRules kBpe = {.dummy_prefix = false, .escape_spaces = false, .replace_invalid = true};

TEST(SpanWalker, PlainBytes) {
  EXPECT_EQ(Walk("hello world", {{"hel"}, {"lo"}, {" world"}}, kBpe), (Spans{{0, 3}, {3, 5}, {5, 11}}));
  EXPECT_EQ(Walk("", {}, kBpe), Spans{});
  EXPECT_EQ(Walk(std::string_view("a\0b", 3), {{"a"}, {std::string(1, '\0')}, {"b"}}, kBpe), (Spans{{0, 1}, {1, 2}, {2, 3}}));
}

TEST(SpanWalker, DummyPrefixHasNoBytes) {
  EXPECT_EQ(Walk("hi", {{"\u2581hi"}}, kSpm), (Spans{{0, 2}}));
  EXPECT_EQ(Walk("hi", {{"\u2581"}, {"hi"}}, kSpm), (Spans{{0, 0}, {0, 2}}));
  EXPECT_EQ(Walk(" hi", {{"\u2581"}, {"\u2581hi"}}, kSpm), (Spans{{0, 0}, {0, 3}}));
  EXPECT_EQ(Walk("  hi", {{"\u2581\u2581"}, {"\u2581hi"}}, kSpm), (Spans{{0, 1}, {1, 4}}));
}

TEST(SpanWalker, BlockMarkInTheTextIsThreeBytes) {
  EXPECT_EQ(Walk("a \u2581b", {{"\u2581a"}, {"\u2581\u2581"}, {"b"}}, kSpm), (Spans{{0, 1}, {1, 5}, {5, 6}}));
}

TEST(SpanWalker, LastByteTokenOfARewrittenSpaceHasIt) {
  EXPECT_EQ(Walk("a b", {{"\u2581a"}, {"\xE2"}, {"\x96"}, {"\x81"}, {"b"}}, kSpm), (Spans{{0, 1}, {1, 1}, {1, 1}, {1, 2}, {2, 3}}));
}

TEST(SpanWalker, PrefixAgainAfterARawToken) {
  EXPECT_EQ(Walk("a<x>b", {{"\u2581a"}, {"<x>", TokenTable::kRaw}, {"\u2581b"}}, kSpm), (Spans{{0, 1}, {1, 4}, {4, 5}}));
  EXPECT_EQ(Walk("<x><x> b", {{"<x>", TokenTable::kRaw}, {"<x>", TokenTable::kRaw}, {"\u2581"}, {"\u2581b"}}, kSpm), (Spans{{0, 3}, {3, 6}, {6, 6}, {6, 8}}));
}

TEST(SpanWalker, WhatARawTokenSwallowedBelongsToTheNext) {
  EXPECT_EQ(Walk("a<x>  \n b", {{"\u2581a"}, {"<x>", TokenTable::kRaw}, {"\u2581b"}}, kSpm), (Spans{{0, 1}, {1, 4}, {4, 9}}));
  EXPECT_EQ(Walk("ab<x>  ", {{"ab"}, {"<x>", TokenTable::kRaw}}, kBpe), (Spans{{0, 2}, {2, 7}}));
}

TEST(SpanWalker, InvalidBytesAreReplaced) {
  EXPECT_EQ(Walk("a\xFF\xFE" "b", {{"a"}, {"\uFFFD"}, {"\uFFFD" "b"}}, kBpe), (Spans{{0, 1}, {1, 2}, {2, 4}}));
  EXPECT_EQ(Walk("\xE2\x96", {{"\xEF"}, {"\xBF"}, {"\xBD"}, {"\uFFFD"}}, kBpe), (Spans{{0, 0}, {0, 0}, {0, 1}, {1, 2}}));
  EXPECT_EQ(Walk("\xC0\x80", {{std::string(1, '\0')}}, kBpe), (Spans{{0, 2}}));
}

TEST(SpanWalker, UnknownTokenTakesWhatTheNextOnesLeave) {
  EXPECT_EQ(Walk("abc\u4e2d\u6587def", {{"abc"}, {"<unk>", TokenTable::kUnknown}, {"def"}}, kBpe), (Spans{{0, 3}, {3, 9}, {9, 12}}));
  EXPECT_EQ(Walk("abc\u4e2d", {{"abc"}, {"<unk>", TokenTable::kUnknown}}, kBpe), (Spans{{0, 3}, {3, 6}}));
}

TEST(SpanWalker, NormalisedTextIsFoundAgain) {
  EXPECT_EQ(Walk("\uFB01nal word", {{"fi"}, {"nal"}, {" word"}}, kBpe), (Spans{{0, 3}, {3, 6}, {6, 11}}));
  EXPECT_EQ(Walk("\uFB01ne \u00bd ab", {{"\u2581fine"}, {"\u25811/2"}, {"\u2581" "ab"}}, kSpm), (Spans{{0, 5}, {5, 8}, {8, 11}}));
}

// Whatever the tokens, the spans tile the text.
TEST(SpanWalker, AlwaysTiles) {
  std::mt19937 random(4);
  const auto texts = RandomBytes(5, 3000, 80);
  for (size_t i = 0; i < texts.size(); ++i) {
    TokenTable table;
    std::vector<uint32_t> ids;
    const std::string other = i % 3 == 0 ? texts[(i + 1) % texts.size()] : texts[i];
    for (size_t at = 0; at < other.size();) {
      const size_t length = 1 + random() % 4;
      if (random() % 8 != 0) {
        ids.push_back(table.size());
        const std::string bytes = other.substr(at, length);
        table.Add(i % 2 == 0 ? EscapeSpaces(bytes) : bytes, static_cast<Kind>(random() % 3));
      }
      at += length;
    }
    TokenizedText out;
    out.ids = ids;
    WalkSpans(texts[i], ids, table, i % 2 == 0 ? kSpm : kBpe, &out.spans);
    EXPECT_TRUE(SpansTile(texts[i], out));
  }
}

TEST(Utf8Repair, ValidTextIsNotCopied) {
  for (const std::string& text : RandomTexts(6, 500, 60)) {
    EXPECT_FALSE(RepairUtf8(text).changed) << Shown(text);
    std::string masked;
    EXPECT_FALSE(MaskUnreadable(text, true, &masked)) << Shown(text);
  }
}

TEST(Utf8Repair, SourceNamesTheByte) {
  const RepairedText repaired = RepairUtf8("\u00e9\xFFz");
  EXPECT_TRUE(repaired.changed);
  EXPECT_EQ(repaired.text, "\u00e9\uFFFDz");
  EXPECT_THAT(repaired.source, ElementsAre(0, 1, 2, 2, 2, 3, 4));
  EXPECT_EQ(RepairUtf8("\xED\xA0\x80").changed, false) << "a surrogate is read and written as it is";
}

TEST(Utf8Repair, MaskKeepsEveryOffset) {
  std::string masked;
  ASSERT_TRUE(MaskUnreadable("a\xF4\x90\x80\x80" "b\xF7\xBF\xBF\xBF", false, &masked));
  EXPECT_EQ(masked, "a\xFF\xFF\xFF\xFF" "b\xFF\xFF\xFF\xFF");
  EXPECT_FALSE(MaskUnreadable("a\xF4\x8F\xBF\xBF\xF4\x90 \xC0\xA0", false, &masked));
  ASSERT_TRUE(MaskUnreadable("\xC0\xA0 \xE0\x80\xA0\xC0\xA1", true, &masked));
  EXPECT_EQ(masked, "\xFF\xFF \xFF\xFF\xFF\xC0\xA1");
  ASSERT_TRUE(MaskUnreadable("\xF4\x90\x80\xF4\x90\x80\x80", false, &masked));
  EXPECT_FALSE(MaskUnreadable(masked, false, &masked)) << "a form cut short is not ended by the mask of the next";
}

}  // namespace
}  // namespace countermark
