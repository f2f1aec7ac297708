// EntropyModel with SmolLM2-135M-Instruct, against libllama asked token by token.
#include <gtest/gtest.h>
#include <llama.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "countermark/detect/entropy.h"

namespace countermark {
namespace {

const std::string kModel = COUNTERMARK_CACHE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr std::string_view kText =
    "def add(a, b):\n    return a + b\n\nThe harbour town waits for its boats, and nobody in the whole of it knows whether they will come. "
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10. Grüße aus Köln; 你好，世界。";

std::unique_ptr<EntropyModel> Open(const EntropyModelOptions& options) {
  auto model = EntropyModel::Open(kModel, options);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

std::vector<TokenEntropy> Evaluate(EntropyModel& model, std::string_view text) {
  std::vector<TokenEntropy> entropies;
  const absl::Status status = model.Evaluate(text, &entropies);
  EXPECT_TRUE(status.ok()) << status;
  return entropies;
}

void ExpectEqual(const std::vector<TokenEntropy>& a, const std::vector<TokenEntropy>& b, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    ASSERT_EQ(a[i].begin, b[i].begin);
    ASSERT_EQ(a[i].nats, b[i].nats) << i;
  }
}

// The same by the plainest use of the library: one token at a time, logits of each, entropy in long double over a softmax.
std::vector<double> OneByOne(std::string_view text) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model* model = llama_model_load_from_file(kModel.c_str(), llama_model_default_params());
  llama_context_params parameters = llama_context_default_params();
  parameters.n_ctx = 512;
  parameters.n_threads = parameters.n_threads_batch = 1;
  llama_context* context = llama_init_from_model(model, parameters);
  const llama_vocab* vocab = llama_model_get_vocab(model);
  std::vector<llama_token> tokens(text.size() + 8);
  tokens.resize(static_cast<size_t>(
      llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), tokens.data(), static_cast<int32_t>(tokens.size()), false, false)));
  std::vector<double> nats = {0};
  for (llama_token& token : tokens) {
    EXPECT_EQ(llama_decode(context, llama_batch_get_one(&token, 1)), 0);
    const float* logits = llama_get_logits_ith(context, -1);
    const int count = llama_vocab_n_tokens(vocab);
    long double mass = 0, entropy = 0;
    for (int i = 0; i < count; ++i) mass += std::exp(static_cast<long double>(logits[i]));
    for (int i = 0; i < count; ++i) {
      const long double p = std::exp(static_cast<long double>(logits[i])) / mass;
      if (p > 0) entropy -= p * std::log(p);
    }
    nats.push_back(static_cast<double>(entropy));
  }
  llama_free(context);
  llama_model_free(model);
  nats.pop_back();
  return nats;
}

TEST(EntropyModel, IsLibllamaAskedTokenByToken) {
  const auto model = Open({.threads = 1});
  const std::vector<TokenEntropy> got = Evaluate(*model, kText);
  const std::vector<double> want = OneByOne(kText);  // this model puts no begin token before a text
  ASSERT_EQ(got.size(), want.size());
  EXPECT_EQ(got[0].nats, 0);
  double sum = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    // Batches are computed by other kernels than single tokens, from weights of four bits and activations of eight.
    EXPECT_NEAR(got[i].nats, want[i], 0.15 + 0.05 * want[i]) << i;
    sum += got[i].nats - want[i];
  }
  EXPECT_NEAR(sum / static_cast<double>(got.size()), 0, 0.03);
  // After "def add(a, b):\n    return a +" there is little choice; after "The" there is much.
  EXPECT_LT(got[12].nats, 1);
  EXPECT_EQ(model->sha256().size(), 64u);
}

TEST(EntropyModel, DoesNotHangOnThreadsOrOnWhatCameBefore) {
  const auto one = Open({.threads = 1}), two = Open({.threads = 2});
  const std::vector<TokenEntropy> first = Evaluate(*one, kText);
  ExpectEqual(first, Evaluate(*two, kText), first.size());
  Evaluate(*one, "Something else altogether, for a while.");
  ExpectEqual(first, Evaluate(*one, kText), first.size());
  EXPECT_TRUE(Evaluate(*one, "").empty());
  EXPECT_EQ(Evaluate(*one, "a").size(), 1u);
}

TEST(EntropyModel, LongTextsGoByWindows) {
  std::string text;
  for (int i = 0; i < 3; ++i) text += std::string(kText) + "\n";
  const auto whole = Open({.threads = 1}), windows = Open({.threads = 1, .window = 160, .context = 64});
  const std::vector<TokenEntropy> want = Evaluate(*whole, text), got = Evaluate(*windows, text);
  ASSERT_EQ(got.size(), want.size());
  ASSERT_GT(got.size(), 224u);
  ExpectEqual(got, want, 128);  // the first batch is the same
  double apart = 0;
  for (size_t i = 1; i < got.size(); ++i) {
    EXPECT_GT(got[i].nats, 0) << i;  // none left out
    apart += std::fabs(got[i].nats - want[i].nats);
  }
  EXPECT_LT(apart / static_cast<double>(got.size()), 1.0);
}

TEST(EntropyModel, ErrorsSayWhatIsWrong) {
  EXPECT_EQ(EntropyModel::Open("/nowhere/model.gguf", {}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(EntropyModel::Open(kModel, {.window = 8, .context = 2}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(EntropyModel::Open(kModel, {.window = 64, .context = 33}).status().code(), absl::StatusCode::kInvalidArgument);
  const auto other = EntropyModel::Open(COUNTERMARK_CACHE_DIR "/models/mistral-v1.model", {});
  EXPECT_EQ(other.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(std::string(other.status().message()).find("is not a GGUF model"), std::string::npos) << other.status();

  const std::string cut = testing::TempDir() + "/cut.gguf";
  std::filesystem::copy_file(kModel, cut, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::resize_file(cut, 40'000'000);
  const auto broken = EntropyModel::Open(cut, {});
  std::filesystem::remove(cut);
  EXPECT_EQ(broken.status().code(), absl::StatusCode::kDataLoss) << broken.status();
}

}  // namespace
}  // namespace countermark
