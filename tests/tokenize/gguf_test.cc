#include <absl/status/status.h>
#include <gmock/gmock.h>

#include <algorithm>

#include "llama.h"
#include "tests/tokenize/tokenize_testing.h"

namespace countermark {
namespace {

using ::testing::HasSubstr;

constexpr const char* kVocabularies[] = {"gpt-2",        "llama-bpe", "llama-spm", "phi-3",     "qwen2",     "qwen35", "deepseek-coder",
                                         "deepseek-llm", "falcon",    "starcoder", "command-r", "mpt",       "gemma-4"};

bool IsSpm(std::string_view name) { return name == "llama-spm" || name == "phi-3"; }
bool EscapesSpaces(std::string_view name) { return IsSpm(name) || name == "gemma-4"; }

class GgufTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    tokenizer_ = MustOpen(VocabularyPath(GetParam()));
    ASSERT_NE(tokenizer_, nullptr);
  }
  // The bytes of one token of valid text; byte tokens too.
  std::string Piece(uint32_t id) const {
    const uint32_t pair[] = {first_, id};
    return tokenizer_->Decode(pair).substr(tokenizer_->Decode({pair, 1}).size());
  }
  void FindFirst() {
    TokenizedText out;
    ASSERT_TRUE(tokenizer_->Encode("a", &out).ok());
    first_ = out.ids.front();
  }
  // Valid text: the piece of every token is the text under its span, where U+2581 and a space are one if the vocabulary has it so.
  void ExpectPieces(const std::string& text, const TokenizedText& out) {
    EXPECT_TRUE(SpansTile(text, out));
    const bool escapes = EscapesSpaces(GetParam());
    std::string joined;
    for (size_t i = 0; i < out.ids.size(); ++i) {
      std::string piece = Piece(out.ids[i]);
      joined += piece;
      std::string covered = text.substr(out.spans[i].begin, out.spans[i].end - out.spans[i].begin);
      if (escapes) covered = Replaced(covered, "\u2581", " ");
      if (i == 0 && IsSpm(GetParam())) {
        ASSERT_EQ(piece.substr(0, 1), " ") << "the prefix";
        piece.erase(0, 1);
      }
      EXPECT_EQ(piece, covered) << "token " << i << " of " << Shown(text);
    }
    EXPECT_EQ(tokenizer_->Decode(out.ids), escapes ? Replaced(text, "\u2581", " ") : text) << Shown(text);
  }

  void AgreesWithLlamaCppsVectors();
  void PiecesAreTheBytesUnderTheirSpans();
  void SpansTileAnyBytes();
  void LongWords();
  void EmptyNulAndIdsBeyond();

  std::unique_ptr<Tokenizer> tokenizer_;
  uint32_t first_ = 0;
};

// llama.cpp's own vectors, which come from the models' original tokenizers.
void GgufTest::AgreesWithLlamaCppsVectors() {
  const nlohmann::json vectors = ReadVectors("tokenize-gguf.json")[GetParam()];
  ASSERT_GT(vectors["texts"].size(), 30u);
  TokenizedText out;
  for (size_t i = 0; i < vectors["texts"].size(); ++i) {
    const std::string text = Unhex(vectors["texts"][i]);
    ASSERT_TRUE(tokenizer_->Encode(text, &out).ok());
    EXPECT_EQ(out.ids, vectors["ids"][i].get<std::vector<uint32_t>>()) << Shown(text);
    ExpectPieces(text, out);
  }
}

void GgufTest::PiecesAreTheBytesUnderTheirSpans() {
  TokenizedText out;
  for (const std::string& text : RandomTexts(13, 240, 40)) {
    ASSERT_TRUE(tokenizer_->Encode(text, &out).ok());
    ExpectPieces(text, out);
  }
}

void GgufTest::SpansTileAnyBytes() {
  TokenizedText out;
  for (const std::string& text : RandomBytes(14, 400, 60)) {
    const absl::Status status = tokenizer_->Encode(text, &out);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(SpansTile(text, out));
    EXPECT_FALSE(out.ids.empty());
  }
}

// 20,000 letters, signs and spaces in a row: more than std::regex can take on a thread's usual stack.
void GgufTest::LongWords() {
  TokenizedText out;
  for (const char* unit : {"a", "!", " ", "7", "\u4e2d"}) {
    std::string text;
    while (text.size() < 60000) text += unit;
    ASSERT_TRUE(tokenizer_->Encode(text, &out).ok());
    EXPECT_TRUE(SpansTile(text, out));
    EXPECT_EQ(tokenizer_->Decode(out.ids), text) << unit;
  }
}

void GgufTest::EmptyNulAndIdsBeyond() {
  TokenizedText out;
  out.ids = {1};
  ASSERT_TRUE(tokenizer_->Encode("", &out).ok());
  EXPECT_TRUE(out.ids.empty());
  EXPECT_TRUE(out.spans.empty());
  const std::string text("a\0b\0\0", 5);
  ASSERT_TRUE(tokenizer_->Encode(text, &out).ok());
  EXPECT_TRUE(SpansTile(text, out));
  EXPECT_EQ(tokenizer_->Decode(out.ids), text);
  out.ids.push_back(tokenizer_->vocabulary());
  out.ids.push_back(0xFFFFFFFF);
  EXPECT_EQ(tokenizer_->Decode(out.ids), text);
  EXPECT_EQ(tokenizer_->kind(), "gguf");
}

// One test a vocabulary, for opening one takes longer than all that is asked of it.
TEST_P(GgufTest, All) {
  FindFirst();
  AgreesWithLlamaCppsVectors();
  PiecesAreTheBytesUnderTheirSpans();
  SpansTileAnyBytes();
  LongWords();
  EmptyNulAndIdsBeyond();
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, GgufTest, ::testing::ValuesIn(kVocabularies), [](const auto& vocabulary) {
  return Replaced(vocabulary.param, "-", "_");
});

TEST(Gguf, SmolLm2ReadsNoSpecialTokens) {
  const auto tokenizer = MustOpen(ModelPath("SmolLM2-135M-Instruct.Q4_1.gguf"));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocabulary(), 49152u);
  EXPECT_EQ(tokenizer->sha256().size(), 64u);
  TokenizedText out;
  for (const char* text : {"<|im_start|>user\nhi<|im_end|>", "<|endoftext|>"}) {
    ASSERT_TRUE(tokenizer->Encode(text, &out).ok());
    EXPECT_TRUE(SpansTile(text, out));
    EXPECT_GT(out.ids.size(), 4u) << "a special token was read from plain text";
    EXPECT_EQ(tokenizer->Decode(out.ids), text);
  }
  for (const std::string& text : RandomTexts(15, 300, 60)) {
    ASSERT_TRUE(tokenizer->Encode(text, &out).ok());
    EXPECT_TRUE(SpansTile(text, out));
    EXPECT_EQ(tokenizer->Decode(out.ids), text);
  }
}

// An id of invalid UTF-8 that libllama reads as U+FFFD stands for the one byte that it read so.
TEST(Gguf, InvalidBytesOneByOne) {
  const auto tokenizer = MustOpen(VocabularyPath("gpt-2"));
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText valid, out;
  ASSERT_TRUE(tokenizer->Encode("ab\uFFFDcd", &valid).ok());
  ASSERT_TRUE(tokenizer->Encode("ab\xFF" "cd", &out).ok());
  ASSERT_EQ(out.ids, valid.ids);
  for (size_t i = 0; i < out.spans.size(); ++i) {
    EXPECT_EQ(out.spans[i].begin, valid.spans[i].begin - (valid.spans[i].begin > 2 ? (valid.spans[i].begin < 5 ? valid.spans[i].begin - 2 : 2) : 0));
  }
}

// An over-long space gets past the escaping of spaces; unmasked, libllama ends the process at it.
TEST(Gguf, OverLongSpaceWhereSpacesAreEscaped) {
  const auto tokenizer = MustOpen(VocabularyPath("gemma-4"));
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText out;
  for (const std::string text : {"a\xC0\xA0" "b", "\xE0\x80\xA0\xE0\x80\xA0", "x \xF0\x80\x80\xA0 y"}) {
    ASSERT_TRUE(tokenizer->Encode(text, &out).ok());
    EXPECT_TRUE(SpansTile(text, out));
  }
}

// A vocabulary of the T5 kind rewrites text by rules that libllama does not tell: words still end where they end.
TEST(Gguf, T5KindRewritesText) {
  const auto tokenizer = MustOpen(VocabularyPath("nomic-bert-moe"));
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText out;
  const std::string text = "\uFB01ne \u00bd word  and  more";
  ASSERT_TRUE(tokenizer->Encode(text, &out).ok());
  EXPECT_TRUE(SpansTile(text, out));
  ASSERT_FALSE(out.ids.empty());
  EXPECT_EQ(out.spans[0].end, 5u);
  const size_t word = text.find("word");
  EXPECT_TRUE(std::any_of(out.spans.begin(), out.spans.end(), [&](const ByteSpan& span) { return span.end == word + 4; }));
  for (const auto& texts : {RandomTexts(18, 300, 40), RandomBytes(19, 300, 40)}) {
    for (const std::string& other : texts) {
      ASSERT_TRUE(tokenizer->Encode(other, &out).ok());
      EXPECT_TRUE(SpansTile(other, out));
    }
  }
}

TEST(Gguf, BeyondUnicodeIsReadAsReplacementCharacters) {
  const auto tokenizer = MustOpen(VocabularyPath("gpt-2"));
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText expected, out;
  ASSERT_TRUE(tokenizer->Encode("ab\uFFFD\uFFFD\uFFFD\uFFFDcd", &expected).ok());
  const std::string text = "ab\xF4\x90\x80\x80" "cd";
  ASSERT_TRUE(tokenizer->Encode(text, &out).ok());
  EXPECT_EQ(out.ids, expected.ids);
  EXPECT_TRUE(SpansTile(text, out));
}

TEST(Gguf, EndlessWordIsAnErrorWhereTheRuleRecurses) {
  const auto recursing = MustOpen(VocabularyPath("deepseek-coder"));
  ASSERT_NE(recursing, nullptr);
  const std::string text = "some words " + std::string(size_t{2} << 20, 'a');
  TokenizedText out;
  const absl::Status status = recursing->Encode(text, &out);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("byte 11 begins 2097152 bytes without a break"));

  const auto one_pass = MustOpen(VocabularyPath("gpt-2"));
  ASSERT_NE(one_pass, nullptr);
  ASSERT_TRUE(one_pass->Encode(text, &out).ok());
  EXPECT_TRUE(SpansTile(text, out));
}

// A host's logger is its own again once a file is open.
TEST(Gguf, HostKeepsItsLogger) {
  int lines = 0;
  ggml_log_callback before;
  void* before_data;
  llama_log_get(&before, &before_data);
  const ggml_log_callback mine = [](ggml_log_level, const char*, void* count) { ++*static_cast<int*>(count); };
  llama_log_set(mine, &lines);
  EXPECT_NE(MustOpen(VocabularyPath("gpt-2")), nullptr);
  ggml_log_callback after;
  void* after_data;
  llama_log_get(&after, &after_data);
  EXPECT_EQ(after, mine);
  EXPECT_EQ(after_data, &lines);
  EXPECT_EQ(lines, 0) << "opening a vocabulary wrote to the host's log";
  llama_log_set(before, before_data);
}

}  // namespace
}  // namespace countermark
