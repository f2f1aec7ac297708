// The reader of tokenizer.json on files made here: spans, special tokens, bad text, decoding, threads. That ids and offsets are those of the `tokenizers`
// package is shown by hf_oracle.py.
#include <gmock/gmock.h>

#include <thread>

#include "tests/tokenize/hf_testing.h"

namespace countermark {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Parts(std::string_view text, const TokenizedText& out) {
  std::vector<std::string> parts;
  for (const ByteSpan& span : out.spans) parts.emplace_back(text.substr(span.begin, span.end - span.begin));
  return parts;
}

TEST(Hf, MergesByRankFromTheLeft) {
  const auto tokenizer = MustParse(ByteLevelFile({{"b", "c"}, {"a", "b"}, {"a", "bc"}, {" ", "abc"}}));
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText out;
  ASSERT_TRUE(tokenizer->Encode("abc ab abcab", &out).ok());
  EXPECT_THAT(out.ids, ElementsAre(258, ' ', 257, 259, 257));
  EXPECT_THAT(Parts("abc ab abcab", out), ElementsAre("abc", " ", "ab", " abc", "ab"));
  EXPECT_EQ(tokenizer->vocabulary(), 260u);
  EXPECT_EQ(tokenizer->kind(), "hf");
  EXPECT_EQ(tokenizer->Decode(out.ids), "abc ab abcab");
  EXPECT_EQ(tokenizer->Decode(std::vector<uint32_t>{0xE4, 0xB8, 999}), "\uFFFD") << "what is no character, and ids beyond the vocabulary";
}

TEST(Hf, BytesOfOneCharacterHaveEachTheirOwn) {
  const auto tokenizer = MustParse(ByteLevelFile({{"\xE4", "\xB8"}}));
  ASSERT_NE(tokenizer, nullptr);
  const std::string text = "a中";
  TokenizedText out;
  std::vector<ByteSpan> offsets;
  ASSERT_TRUE(tokenizer->Encode(text, {.offsets = &offsets}, &out).ok());
  EXPECT_THAT(out.ids, ElementsAre('a', 256, 0xAD));
  EXPECT_THAT(Parts(text, out), ElementsAre("a", "\xE4\xB8", "\xAD"));
  EXPECT_EQ(offsets[1].begin, 1u);
  EXPECT_EQ(offsets[1].end, 4u) << "the package's offsets are whole characters";
}

TEST(Hf, CharacterThatWasRewrittenBelongsToItsLastToken) {
  nlohmann::json file = ByteLevelFile({});
  file["normalizer"] = {{"type", "NFD"}};
  const auto tokenizer = MustParse(file);
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText out;
  ASSERT_TRUE(tokenizer->Encode("xéy", &out).ok());
  EXPECT_THAT(out.ids, ElementsAre('x', 'e', 0xCC, 0x81, 'y'));
  EXPECT_THAT(Parts("xéy", out), ElementsAre("x", "", "", "é", "y"));
}

TEST(Hf, WhatIsDroppedBelongsToTheTokenAfter) {
  nlohmann::json file = ByteLevelFile({});
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "WhitespaceSplit"}}, file["pre_tokenizer"]}}};
  const auto tokenizer = MustParse(file);
  ASSERT_NE(tokenizer, nullptr);
  for (const bool plain : {true, false}) {
    TokenizedText out;
    ASSERT_TRUE(tokenizer->Encode("  a \n b ", {.plain_path = plain}, &out).ok());
    EXPECT_THAT(Parts("  a \n b ", out), ElementsAre("  a", " \n b "));
    ASSERT_TRUE(tokenizer->Encode(" \n ", {.plain_path = plain}, &out).ok());
    EXPECT_TRUE(out.ids.empty());
    EXPECT_TRUE(out.spans.empty());
  }
}

TEST(Hf, SpecialTokensAreTextAndOtherAddedTokensAreFound) {
  nlohmann::json file = ByteLevelFile({{"e", "n"}});
  file["added_tokens"] = {Added(257, "<end>", true), Added(258, "<mark>", false)};
  const auto tokenizer = MustParse(file);
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText out;
  ASSERT_TRUE(tokenizer->Encode("<end><mark>", &out).ok());
  EXPECT_THAT(out.ids, ElementsAre('<', 256, 'd', '>', 258));
  ASSERT_TRUE(tokenizer->Encode("<end><mark>", {.special_as_text = false}, &out).ok());
  EXPECT_THAT(out.ids, ElementsAre(257, 258));
  EXPECT_EQ(tokenizer->Decode(std::vector<uint32_t>{'a', 257, 258}), "a<mark>");
  EXPECT_EQ(tokenizer->vocabulary(), 259u);
}

TEST(Hf, IllFormedUtf8IsReadAsReplacementCharacters) {
  const auto tokenizer = MustParse(ByteLevelFile({}));
  ASSERT_NE(tokenizer, nullptr);
  const std::string text = "a\xFF\xE4\xB8z\xF0\x9F\x98";
  TokenizedText out;
  ASSERT_TRUE(tokenizer->Encode(text, &out).ok());
  EXPECT_THAT(out.ids, ElementsAre('a', 0xEF, 0xBF, 0xBD, 0xEF, 0xBF, 0xBD, 'z', 0xEF, 0xBF, 0xBD));
  EXPECT_THAT(Parts(text, out), ElementsAre("a", "", "", "\xFF", "", "", "\xE4\xB8", "z", "", "", "\xF0\x9F\x98"));
}

TEST(Hf, NothingForACharacterIsAnError) {
  nlohmann::json file = ByteLevelFile({});
  file["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  file["model"] = {{"type", "WordLevel"}, {"unk_token", "?"}, {"vocab", {{"yes", 0}}}};
  const auto tokenizer = MustParse(file);
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText out;
  EXPECT_TRUE(tokenizer->Encode("yes yes", &out).ok());
  EXPECT_EQ(tokenizer->Encode("yes no", &out).code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(out.ids.empty());
}

// Random text and bytes: spans tile, both ways give the same, and one word of 200 kB is no trouble.
TEST(Hf, BothWaysGiveTheSame) {
  nlohmann::json file = ByteLevelFile({{"t", "h"}, {"th", "e"}, {" ", "the"}, {"\xE4", "\xB8"}, {"\xE4\xB8", "\xAD"}, {"a", "a"}, {"aa", "aa"}, {"i", "n"}, {"in", "g"}});
  file["added_tokens"] = {Added(300, "<s>", true), Added(301, "  ", false)};
  file["normalizer"] = {{"type", "NFC"}};
  const auto tokenizer = MustParse(file);
  ASSERT_NE(tokenizer, nullptr);
  std::vector<std::string> texts = RandomTexts(7, 1500, 60);
  for (const std::string& text : RandomBytes(8, 1500, 60)) texts.push_back(text);
  texts.push_back(std::string(200000, 'a'));
  TokenizedText plain, pieces;
  std::vector<ByteSpan> plain_offsets, pieces_offsets;
  for (const std::string& text : texts) {
    ASSERT_TRUE(tokenizer->Encode(text, {.offsets = &plain_offsets}, &plain).ok());
    ASSERT_TRUE(tokenizer->Encode(text, {.plain_path = false, .offsets = &pieces_offsets}, &pieces).ok());
    ASSERT_TRUE(SpansTile(text, plain));
    ASSERT_EQ(plain.ids, pieces.ids) << Shown(text);
    for (size_t i = 0; i < plain.ids.size(); ++i) {
      ASSERT_EQ(plain.spans[i].end, pieces.spans[i].end) << Shown(text) << " token " << i;
      ASSERT_EQ(plain_offsets[i].begin, pieces_offsets[i].begin) << Shown(text) << " token " << i;
      ASSERT_EQ(plain_offsets[i].end, pieces_offsets[i].end) << Shown(text) << " token " << i;
    }
  }
}

// More different words than the cache holds, from several threads: the results are those of a tokenizer that has seen nothing yet.
TEST(Hf, CacheAndThreadsChangeNothing) {
  const nlohmann::json file = ByteLevelFile({{"1", "2"}, {"12", "3"}, {" ", "9"}, {"4", "5"}});
  const auto used = MustParse(file);
  ASSERT_NE(used, nullptr);
  std::string many;
  for (int i = 0; i < 120000; ++i) many += " " + std::to_string(i * 7);
  TokenizedText out;
  ASSERT_TRUE(used->Encode(many, &out).ok());
  std::vector<std::string> texts;
  for (size_t at = 0; at + 3000 < many.size(); at += 3000) texts.push_back(many.substr(at, 3000));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<TokenizedText> batch;
  ASSERT_TRUE(EncodeBatch(*used, views, 4, &batch).ok());
  for (size_t i = 0; i < texts.size(); i += 9) {
    const auto fresh = MustParse(file);
    ASSERT_TRUE(fresh->Encode(texts[i], &out).ok());
    ASSERT_EQ(out.ids, batch[i].ids) << i;
  }
}

TEST(Hf, OpenedBySuffixOrContent) {
  const TemporaryFile file;
  const std::string path = file.Write("  \n" + ByteLevelFile({}).dump());
  const auto by_content = MustOpen(path);
  ASSERT_NE(by_content, nullptr);
  EXPECT_EQ(by_content->kind(), "hf");
  EXPECT_EQ(by_content->sha256().size(), 64u);
  const std::string named = file.folder() + "/tokenizer.json";
  std::ofstream(named) << "no json";
  const absl::Status status = OpenTokenizer(named).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), ::testing::AllOf(::testing::HasSubstr(named), ::testing::HasSubstr("line 1, column 2")));
}

}  // namespace
}  // namespace countermark
