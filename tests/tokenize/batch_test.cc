#include <absl/status/status.h>

#include <thread>

#include "tests/tokenize/tokenize_testing.h"

namespace countermark {
namespace {

bool Same(const TokenizedText& a, const TokenizedText& b) {
  if (a.ids != b.ids || a.spans.size() != b.spans.size()) return false;
  for (size_t i = 0; i < a.spans.size(); ++i) {
    if (a.spans[i].begin != b.spans[i].begin || a.spans[i].end != b.spans[i].end) return false;
  }
  return true;
}

std::vector<std::string> Paths() {
  std::vector<std::string> paths = {ModelPath("mistral-v1.model")};
#ifdef COUNTERMARK_TEST_LLAMA
  paths.push_back(VocabularyPath("llama-spm"));
  paths.push_back(VocabularyPath("gpt-2"));
#endif
  return paths;
}

// Run under tsan this is the test of "safe to use from several threads at once".
TEST(EncodeBatch, AnyNumberOfThreadsGivesTheSame) {
  std::vector<std::string> texts = RandomTexts(7, 400, 60);
  for (std::string& text : RandomBytes(8, 100, 60)) texts.push_back(std::move(text));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  for (const std::string& path : Paths()) {
    const auto tokenizer = MustOpen(path);
    ASSERT_NE(tokenizer, nullptr);
    std::vector<TokenizedText> one;
    ASSERT_TRUE(EncodeBatch(*tokenizer, views, 1, &one).ok());
    ASSERT_EQ(one.size(), texts.size());
    TokenizedText alone;
    for (size_t i = 0; i < texts.size(); ++i) {
      ASSERT_TRUE(tokenizer->Encode(texts[i], &alone).ok());
      EXPECT_TRUE(Same(one[i], alone)) << Shown(texts[i]);
    }
    for (int threads : {0, 2, 7}) {
      std::vector<TokenizedText> many(3);
      many[0].ids = {1, 2, 3};  // what was there is replaced
      ASSERT_TRUE(EncodeBatch(*tokenizer, views, threads, &many).ok());
      ASSERT_EQ(many.size(), texts.size());
      for (size_t i = 0; i < texts.size(); ++i) EXPECT_TRUE(Same(one[i], many[i]));
    }
  }
}

TEST(EncodeBatch, OneTokenizerFromManyThreads) {
  for (const std::string& path : Paths()) {
    const auto tokenizer = MustOpen(path);
    ASSERT_NE(tokenizer, nullptr);
    const auto texts = RandomTexts(9, 200, 60);
    std::vector<std::vector<std::string>> decoded(4);
    std::vector<std::thread> threads;
    for (auto& mine : decoded) {
      threads.emplace_back([&tokenizer, &texts, &mine] {
        TokenizedText out;
        for (const std::string& text : texts) {
          if (tokenizer->Encode(text, &out).ok()) mine.push_back(tokenizer->Decode(out.ids));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& mine : decoded) EXPECT_EQ(mine, decoded[0]);
    EXPECT_EQ(decoded[0].size(), texts.size());
  }
}

TEST(EncodeBatch, NoTextsAndWrongThreads) {
  const auto tokenizer = MustOpen(ModelPath("mistral-v1.model"));
  ASSERT_NE(tokenizer, nullptr);
  std::vector<TokenizedText> out(5);
  EXPECT_TRUE(EncodeBatch(*tokenizer, {}, 4, &out).ok());
  EXPECT_TRUE(out.empty());
  EXPECT_EQ(EncodeBatch(*tokenizer, {}, -1, &out).code(), absl::StatusCode::kInvalidArgument);
}

// A tokenizer that fails on some texts: the first of them is the one named, and the rest are still encoded.
class Failing : public Tokenizer {
 public:
  absl::Status Encode(std::string_view text, TokenizedText* out) const override {
    if (text.size() == 3) return absl::InternalError("three bytes");
    out->ids = {static_cast<uint32_t>(text.size())};
    out->spans = {{0, text.size()}};
    return absl::OkStatus();
  }
  std::string Decode(std::span<const uint32_t>) const override { return ""; }
  uint32_t vocabulary() const override { return 9; }
  const std::string& sha256() const override { return sha256_; }
  std::string_view kind() const override { return "failing"; }

 private:
  std::string sha256_;
};

TEST(EncodeBatch, NamesTheFirstTextThatFailed) {
  const std::vector<std::string_view> texts = {"a", "ab", "abc", "abcd", "xyz", "ab"};
  for (int threads : {1, 3}) {
    std::vector<TokenizedText> out;
    const absl::Status status = EncodeBatch(Failing(), texts, threads, &out);
    EXPECT_EQ(status, absl::InternalError("text 2: three bytes"));
    EXPECT_EQ(out[5].ids, std::vector<uint32_t>{2});
  }
}

}  // namespace
}  // namespace countermark
