#include "tests/tokenize/tokenize_testing.h"

#include <openssl/sha.h>

namespace countermark {
namespace {

class SentencePieceTest : public ::testing::TestWithParam<const char*> {};

void ExpectEncoded(const Tokenizer& tokenizer, const nlohmann::json& texts, const nlohmann::json& encoded) {
  ASSERT_EQ(texts.size(), encoded.size());
  TokenizedText out;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text = Unhex(texts[i]);
    ASSERT_TRUE(tokenizer.Encode(text, &out).ok());
    EXPECT_EQ(out.ids, encoded[i]["ids"].get<std::vector<uint32_t>>()) << Shown(text);
    std::vector<uint64_t> begin, end;
    for (const ByteSpan& span : out.spans) {
      begin.push_back(span.begin);
      end.push_back(span.end);
    }
    EXPECT_EQ(begin, encoded[i]["begin"].get<std::vector<uint64_t>>()) << Shown(text);
    EXPECT_EQ(end, encoded[i]["end"].get<std::vector<uint64_t>>()) << Shown(text);
    EXPECT_TRUE(SpansTile(text, out));
  }
}

// The ids and byte spans that the Python package gives for more than 200 texts, nasty and plain (tests/vectors/make_tokenize.py).
TEST_P(SentencePieceTest, AgreesWithThePythonPackage) {
  const auto tokenizer = MustOpen(ModelPath(std::string(GetParam()) + ".model"));
  ASSERT_NE(tokenizer, nullptr);
  const nlohmann::json vectors = ReadVectors("tokenize-sentencepiece.json");
  const nlohmann::json& model = vectors["models"][GetParam()];
  EXPECT_EQ(tokenizer->kind(), "sentencepiece");
  EXPECT_EQ(tokenizer->vocabulary(), model["pieces"].get<uint32_t>());
  ASSERT_GT(vectors["texts"].size(), 200u);
  ExpectEncoded(*tokenizer, vectors["texts"], model["encoded"]);
}

// Models that rewrite the text (ligatures, fractions, capitals, white space dropped) before they cut it: spans into what was written.
TEST(SentencePiece, SpansGoThroughNormalisation) {
  const nlohmann::json vectors = ReadVectors("tokenize-sentencepiece.json");
  for (const char* name : {"small-unigram", "small-bpe"}) {
    const TemporaryFile file;
    const auto tokenizer = MustOpen(file.Write(Unbase64(vectors["models"][name]["content"])));
    ASSERT_NE(tokenizer, nullptr);
    ExpectEncoded(*tokenizer, vectors["small_texts"], vectors["models"][name]["encoded"]);
    TokenizedText out;
    for (const std::string& text : RandomBytes(17, 500, 40)) {
      ASSERT_TRUE(tokenizer->Encode(text, &out).ok());
      EXPECT_TRUE(SpansTile(text, out));
    }
  }
}

TEST_P(SentencePieceTest, SpansTileAnyBytes) {
  const auto tokenizer = MustOpen(ModelPath(std::string(GetParam()) + ".model"));
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText out;
  for (const std::string& text : RandomBytes(1, 2000, 60)) {
    ASSERT_TRUE(tokenizer->Encode(text, &out).ok());
    EXPECT_TRUE(SpansTile(text, out));
    EXPECT_FALSE(out.ids.empty());
  }
}

// Of valid text every piece is the bytes under its span, U+2581 standing for a space, and decoding gives the text back.
TEST_P(SentencePieceTest, PiecesAreTheBytesUnderTheirSpans) {
  const auto tokenizer = MustOpen(ModelPath(std::string(GetParam()) + ".model"));
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText out;
  for (const std::string& text : RandomTexts(2, 1500, 40)) {
    ASSERT_TRUE(tokenizer->Encode(text, &out).ok());
    EXPECT_TRUE(SpansTile(text, out));
    EXPECT_EQ(tokenizer->Decode(out.ids), Replaced(text, "\u2581", " ")) << Shown(text);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SentencePieceTest, ::testing::Values("mistral-v1", "mistral-v3"), [](const auto& model) { return std::string(model.param + 8); });

TEST(SentencePiece, HashIsOfTheFilesContent) {
  const std::string path = ModelPath("mistral-v3.model");
  const auto tokenizer = MustOpen(path);
  ASSERT_NE(tokenizer, nullptr);
  const std::string content = ReadBytes(path);
  uint8_t digest[32];
  SHA256(reinterpret_cast<const uint8_t*>(content.data()), content.size(), digest);
  EXPECT_EQ(Unhex(tokenizer->sha256()), std::string(reinterpret_cast<const char*>(digest), 32));
}

TEST(SentencePiece, LeavesOutIdsBeyondTheVocabulary) {
  const auto tokenizer = MustOpen(ModelPath("mistral-v1.model"));
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText out;
  ASSERT_TRUE(tokenizer->Encode("some text", &out).ok());
  out.ids.insert(out.ids.begin() + 1, {tokenizer->vocabulary(), 0xFFFFFFFF});
  EXPECT_EQ(tokenizer->Decode(out.ids), "some text");
  EXPECT_EQ(tokenizer->Decode({}), "");
}

// Half a megabyte without a space: a tokenizer that is quadratic in a word would take hours.
TEST(SentencePiece, LongWordIsNotQuadratic) {
  const auto tokenizer = MustOpen(ModelPath("mistral-v1.model"));
  ASSERT_NE(tokenizer, nullptr);
  std::string text(size_t{1} << 19, 'a');
  std::mt19937 random(3);
  for (char& c : text) c = static_cast<char>('a' + random() % 26);
  TokenizedText out;
  ASSERT_TRUE(tokenizer->Encode(text, &out).ok());
  EXPECT_TRUE(SpansTile(text, out));
}

}  // namespace
}  // namespace countermark
