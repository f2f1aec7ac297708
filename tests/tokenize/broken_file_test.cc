#include <absl/status/status.h>
#include <gmock/gmock.h>

#include <cstring>

#include "tests/tokenize/tokenize_testing.h"

namespace countermark {
namespace {

using ::testing::HasSubstr;

class BrokenFile : public ::testing::Test {
 protected:
  std::string Write(std::string_view content) { return file_.Write(content); }
  absl::Status Open(std::string_view content) { return OpenTokenizer(Write(content)).status(); }

  TemporaryFile file_;
};

TEST_F(BrokenFile, MissingEmptyFolder) {
  EXPECT_EQ(OpenTokenizer(file_.folder() + "/none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(OpenTokenizer(file_.folder()).ok());
  const absl::Status empty = Open("");
  EXPECT_EQ(empty.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(empty.message()), HasSubstr("is empty"));
}

TEST_F(BrokenFile, SomeOtherFile) {
  for (const char* content : {"\x7f" "ELF", "PK\x03\x04", "GGU", "\n"}) {
    const absl::Status status = Open(content);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << content;
    EXPECT_THAT(std::string(status.message()), HasSubstr("neither a GGUF file nor a SentencePiece model"));
  }
}

TEST_F(BrokenFile, TruncatedSentencePiece) {
  const std::string whole = ReadBytes(ModelPath("mistral-v1.model"));
  std::mt19937 random(10);
  for (int i = 0; i < 40; ++i) {
    const size_t length = random() % whole.size();
    const absl::Status status = Open(std::string_view(whole).substr(0, length));
    // A cut between two fields of the protobuf leaves a smaller model that is whole.
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << length;
    }
  }
  EXPECT_EQ(Open(std::string_view(whole).substr(0, whole.size() / 2 + 1)).code(), absl::StatusCode::kDataLoss);
}

// Bytes changed at random in two small models with rules of rewriting, in the rules too.
TEST_F(BrokenFile, DamagedSentencePieceIsAnErrorOrWorks) {
  const nlohmann::json vectors = ReadVectors("tokenize-sentencepiece.json");
  std::mt19937 random(16);
  int refused = 0;
  for (const char* name : {"small-unigram", "small-bpe"}) {
    const std::string whole = Unbase64(vectors["models"][name]["content"]);
    for (int i = 0; i < 400; ++i) {
      std::string damaged = whole;
      for (int k = 0; k < 1 + i % 3; ++k) damaged[random() % damaged.size()] = static_cast<char>(random());
      auto tokenizer = OpenTokenizer(Write(damaged));
      if (!tokenizer.ok()) {
        EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kDataLoss);
        ++refused;
        continue;
      }
      TokenizedText out;
      for (const std::string text : {"the \uFB01ne \u00bd\u4e2d\xFF.", "  office \u2581 e\u0301"}) {
        if ((*tokenizer)->Encode(text, &out).ok()) {
          EXPECT_TRUE(SpansTile(text, out));
        }
      }
    }
  }
  EXPECT_GT(refused, 20);
}

#ifdef COUNTERMARK_TEST_LLAMA

// A GGUF file of these key–value pairs, no tensors. `tokens` as libllama's vocabularies have them.
class GgufWriter {
 public:
  GgufWriter& Text(std::string_view key, std::string_view value) {
    Key(key, 8);
    String(value);
    return *this;
  }
  GgufWriter& Texts(std::string_view key, const std::vector<std::string>& values) {
    Key(key, 9);
    Number<uint32_t>(8);
    Number<uint64_t>(values.size());
    for (const std::string& value : values) String(value);
    return *this;
  }
  template <typename T>
  GgufWriter& Numbers(std::string_view key, uint32_t type, const std::vector<T>& values) {
    Key(key, 9);
    Number<uint32_t>(type);
    Number<uint64_t>(values.size());
    for (T value : values) Number<T>(value);
    return *this;
  }
  std::string File() const {
    std::string file = "GGUF";
    const auto append = [&file](auto value) { file.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
    append(uint32_t{3});
    append(uint64_t{0});
    append(pairs_);
    return file + body_;
  }

 private:
  template <typename T>
  void Number(T value) {
    body_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void String(std::string_view text) {
    Number<uint64_t>(text.size());
    body_.append(text);
  }
  void Key(std::string_view key, uint32_t type) {
    ++pairs_;
    String(key);
    Number(type);
  }
  uint64_t pairs_ = 0;
  std::string body_;
};

GgufWriter Llama(const std::vector<std::string>& tokens, const std::vector<int32_t>& types) {
  GgufWriter writer;
  writer.Text("general.architecture", "llama").Text("tokenizer.ggml.model", "llama").Texts("tokenizer.ggml.tokens", tokens);
  writer.Numbers<float>("tokenizer.ggml.scores", 6, std::vector<float>(tokens.size(), 0.f)).Numbers<int32_t>("tokenizer.ggml.token_type", 5, types);
  return writer;
}

TEST_F(BrokenFile, GgufWithWhatLibllamaWouldEndTheProcessFor) {
  ASSERT_TRUE(Open(Llama({"<unk>", "<s>", "</s>", "<0x0A>", "\u2581", "a"}, {2, 3, 3, 6, 1, 1}).File()).ok());

  const absl::Status twice = Open(Llama({"<unk>", "<s>", "</s>", "<0x0A>", "a", "a"}, {2, 3, 3, 6, 1, 1}).File());
  EXPECT_EQ(twice.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(twice.message()), HasSubstr("token 5 is token 4 again"));

  const absl::Status no_byte = Open(Llama({"<unk>", "<s>", "</s>", "x"}, {2, 3, 3, 6}).File());
  EXPECT_THAT(std::string(no_byte.message()), HasSubstr("token 3 is called a byte and is none"));

  const absl::Status few_types = Open(Llama({"<unk>", "<s>", "</s>"}, {2, 3}).File());
  EXPECT_THAT(std::string(few_types.message()), HasSubstr("fewer token types than tokens"));

  const absl::Status none = Open(GgufWriter().Text("general.architecture", "llama").File());
  EXPECT_THAT(std::string(none.message()), HasSubstr("holds no tokenizer"));

  const absl::Status bert = Open(GgufWriter().Text("tokenizer.ggml.model", "bert").File());
  EXPECT_EQ(bert.code(), absl::StatusCode::kUnimplemented);

  const absl::Status architecture = Open(GgufWriter().Text("general.architecture", "nonsense").Text("tokenizer.ggml.model", "llama").Texts("tokenizer.ggml.tokens", {"a"}).File());
  EXPECT_EQ(architecture.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(architecture.message()), HasSubstr("nonsense")) << "libllama's own reason is passed on";

  const absl::Status number = Open(GgufWriter().Numbers<int32_t>("tokenizer.ggml.model", 5, {1}).File());
  EXPECT_THAT(std::string(number.message()), HasSubstr("is no string"));
}

// A vocabulary without byte tokens: libllama cannot take what it does not have, and that is an error of the text, not the end.
TEST_F(BrokenFile, TextOutsideASmallVocabularyIsAnError) {
  const std::string path = Write(Llama({"<unk>", "<s>", "</s>", "<0x0A>", "\u2581", "a"}, {2, 3, 3, 6, 1, 1}).File());
  const auto tokenizer = MustOpen(path);
  ASSERT_NE(tokenizer, nullptr);
  TokenizedText out;
  ASSERT_TRUE(tokenizer->Encode("a a", &out).ok());
  EXPECT_TRUE(SpansTile("a a", out));
  EXPECT_EQ(tokenizer->Encode("zebra", &out).code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(out.ids.empty());
}

TEST_F(BrokenFile, TruncatedGguf) {
  const std::string whole = ReadBytes(VocabularyPath("llama-spm"));
  std::mt19937 random(11);
  for (size_t length : {size_t{4}, size_t{8}, size_t{24}, size_t{100}}) {
    EXPECT_EQ(Open(std::string_view(whole).substr(0, length)).code(), absl::StatusCode::kDataLoss) << length;
  }
  for (int i = 0; i < 10; ++i) {
    const size_t length = random() % (whole.size() - 64);
    EXPECT_EQ(Open(std::string_view(whole).substr(0, length)).code(), absl::StatusCode::kDataLoss) << length;
  }
}

// Bytes changed at random, half of them in the first kilobyte where the keys are. Whatever comes out, the process goes on; a vocabulary that
// still opens encodes.
TEST_F(BrokenFile, DamagedGgufIsAnErrorOrWorks) {
  const std::string whole = ReadBytes(VocabularyPath("llama-spm"));
  std::mt19937 random(12);
  int refused = 0;
  for (int i = 0; i < 60; ++i) {
    std::string damaged = whole;
    for (int k = 0; k < 1 + i % 3; ++k) damaged[random() % (i % 2 == 0 ? 1024 : damaged.size())] = static_cast<char>(random());
    auto tokenizer = OpenTokenizer(Write(damaged));
    if (!tokenizer.ok()) {
      ++refused;
      continue;
    }
    TokenizedText out;
    const std::string text = "The 3 quick brown foxes \u4e2d\xFF.";
    if ((*tokenizer)->Encode(text, &out).ok()) {
      EXPECT_TRUE(SpansTile(text, out));
    }
  }
  EXPECT_GT(refused, 10);
}

#else

TEST_F(BrokenFile, GgufNeedsLibllama) {
  const absl::Status status = Open("GGUF and more");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no libllama"));
}

#endif

}  // namespace
}  // namespace countermark
