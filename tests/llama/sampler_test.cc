// The sampler against llama.cpp's traps, through libllama's own functions: apply before accept and twice for one, prompts through accept,
// clone and reset, candidates sorted or cut by samplers before it, rows with nothing in them.
#include "src/llama/sampler.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "countermark/keys/key_store.h"
#include "countermark/llama.h"
#include "tests/sampling/fixture.h"

namespace countermark {
namespace {

using testing::MakeEpoch;
using testing::RowAfter;

constexpr uint32_t kVocabulary = 500;

struct Candidates {
  std::vector<llama_token_data> data;
  llama_token_data_array array;
  explicit Candidates(const std::vector<float>& z) {
    for (size_t i = 0; i < z.size(); ++i) data.push_back({static_cast<llama_token>(i), z[i], 0.0f});
    array = {data.data(), data.size(), -1, false};
  }
  llama_token selected() const { return array.data[array.selected].id; }
};

std::shared_ptr<const Hook> MakeHook(Scheme scheme = Scheme::kGumbel) {
  return std::make_shared<const Hook>(*Hook::Create(MakeEpoch(scheme, kVocabulary)));
}

RequestOptions Options() {
  RequestOptions o;
  o.account = "org-1";
  o.parameters = {0.9f, 0, 0.95, 0};
  o.seed = 3;
  return o;
}

llama_token Step(llama_sampler* sampler, const std::vector<float>& z) {
  Candidates c(z);
  llama_sampler_apply(sampler, &c.array);
  EXPECT_GE(c.array.selected, 0);
  const llama_token token = c.selected();
  llama_sampler_accept(sampler, token);
  return token;
}

TEST(LlamaSampler, GivesTheHooksTokensAndKeepsThePromptOutOfWindows) {
  for (Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    const auto hook = MakeHook(scheme);
    llama_sampler* sampler = *MakeLlamaSampler(hook, Options());
    for (llama_token t : {1, 2, 3, 4, 5}) llama_sampler_accept(sampler, t);  // the prompt
    Request request = *hook->Begin(Options());
    RowScratch scratch;
    uint32_t last = 5;
    for (int i = 0; i < 150; ++i) {
      const std::vector<float> z = RowAfter(last, kVocabulary, 2);
      const Choice choice = *hook->Choose(request, {z.data(), z.size()}, &scratch);
      request.Commit(choice.token, choice.cause);
      last = static_cast<uint32_t>(Step(sampler, z));
      ASSERT_EQ(last, choice.token);
    }
    EXPECT_EQ(LlamaSamplerRequest(sampler)->counters().by_cause, request.counters().by_cause);
    EXPECT_EQ(LlamaSamplerRequest(sampler)->counters().of(Cause::kStart), 2u);
    llama_sampler_free(sampler);
  }
}

TEST(LlamaSampler, ApplyIsPureAndAForeignTokenIsForced) {
  llama_sampler* sampler = *MakeLlamaSampler(MakeHook(), Options());
  for (uint32_t i = 0; i < 10; ++i) Step(sampler, RowAfter(i, kVocabulary, 2));
  const std::vector<float> z = RowAfter(77, kVocabulary, 2);
  Candidates a(z), b(z);
  llama_sampler_apply(sampler, &a.array);
  llama_sampler_apply(sampler, &b.array);
  EXPECT_EQ(a.selected(), b.selected());
  EXPECT_EQ(LlamaSamplerRequest(sampler)->size(), 10u);
  llama_sampler_accept(sampler, (a.selected() + 1) % static_cast<llama_token>(kVocabulary));
  EXPECT_EQ(LlamaSamplerRequest(sampler)->causes().back(), Cause::kForced);
  llama_sampler_free(sampler);
}

TEST(LlamaSampler, CloneAndReset) {
  llama_sampler* a = *MakeLlamaSampler(MakeHook(), Options());
  std::vector<llama_token> text;
  for (uint32_t i = 0; i < 40; ++i) text.push_back(Step(a, RowAfter(i, kVocabulary, 2)));
  llama_sampler* b = llama_sampler_clone(a);
  ASSERT_NE(b, nullptr);
  EXPECT_STREQ(llama_sampler_name(b), "countermark");
  for (uint32_t i = 0; i < 40; ++i) {
    const llama_token of_b = Step(b, RowAfter(900 + i, kVocabulary, 2));
    EXPECT_EQ(of_b, Step(a, RowAfter(900 + i, kVocabulary, 2)));
  }
  llama_sampler_free(a);
  llama_sampler_reset(b);
  for (uint32_t i = 0; i < 40; ++i) EXPECT_EQ(Step(b, RowAfter(i, kVocabulary, 2)), text[i]);
  llama_sampler_free(b);
}

TEST(LlamaSampler, StandsAtTheEndOfAChainThatTruncates) {
  const auto hook = MakeHook();
  llama_sampler* chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
  llama_sampler_chain_add(chain, llama_sampler_init_top_k(20));  // sorts by logit and cuts
  RequestOptions o = Options();
  o.parameters = {1.0f, 0, 1.0, 0};
  llama_sampler_chain_add(chain, *MakeLlamaSampler(hook, o));
  RequestOptions same = o;
  same.parameters.top_k = 20;
  Request request = *hook->Begin(same);
  RowScratch scratch;
  for (uint32_t i = 0; i < 100; ++i) {
    const std::vector<float> z = RowAfter(i, kVocabulary, 2);
    const Choice choice = *hook->Choose(request, {z.data(), z.size()}, &scratch);
    request.Commit(choice.token, choice.cause);
    Candidates c(z);
    llama_sampler_apply(chain, &c.array);
    ASSERT_EQ(c.array.size, 20u);
    ASSERT_EQ(static_cast<uint32_t>(c.selected()), choice.token);
    float sum = 0;
    for (size_t j = 0; j < c.array.size; ++j) sum += c.array.data[j].p;
    ASSERT_NEAR(sum, 1.0f, 1e-4f);
    llama_sampler_accept(chain, c.selected());
  }
  llama_sampler_free(chain);
}

TEST(LlamaSampler, ProbabilitiesAreThoseOfTheUnmarkedDistribution) {
  llama_sampler* sampler = *MakeLlamaSampler(MakeHook(), Options());
  const std::vector<float> z = RowAfter(1, kVocabulary, 2);
  Candidates c(z);
  llama_sampler_apply(sampler, &c.array);
  double sum = 0, kept = 0;
  for (const llama_token_data& d : c.data) {
    sum += d.p;
    if (d.p > 0) kept += std::exp(d.logit / 0.9);
  }
  EXPECT_NEAR(sum, 1.0, 1e-4);
  for (const llama_token_data& d : c.data) {
    if (d.p > 0) {
      EXPECT_NEAR(d.p, std::exp(d.logit / 0.9) / kept, 1e-6);
    }
  }
  llama_sampler_free(sampler);
}

TEST(LlamaSampler, RowsWithNothingInThemAreCountedAndSurvived) {
  llama_sampler* sampler = *MakeLlamaSampler(MakeHook(), Options());
  for (uint32_t i = 0; i < 5; ++i) Step(sampler, RowAfter(i, kVocabulary, 2));
  std::vector<float> z(kVocabulary, -INFINITY);
  Step(sampler, z);
  std::fill(z.begin(), z.end(), NAN);
  Step(sampler, z);
  Step(sampler, std::vector<float>(3, 1.0f));  // a row of another vocabulary: three tokens, as if a host had cut to them
  Candidates none({});
  llama_sampler_apply(sampler, &none.array);
  EXPECT_EQ(LlamaSamplerRequest(sampler)->counters().of(Cause::kFault), 2u);
  EXPECT_EQ(LlamaSamplerRequest(sampler)->size(), 8u);
  llama_sampler_free(sampler);
}

// llama.cpp's own loop: sample, look at the grammar, mask the token that breaks it, apply the chain again.
TEST(LlamaSampler, ARefusedTokenIsDrawnForAgain) {
  const auto hook = MakeHook();
  llama_sampler* sampler = *MakeLlamaSampler(hook, Options());
  Request request = *hook->Begin(Options());
  RowScratch scratch;
  int same_noise_differs = 0;
  for (uint32_t i = 0; i < 60; ++i) {
    std::vector<float> z = RowAfter(i, kVocabulary, 2);
    for (uint32_t attempt = 0; attempt < 3; ++attempt) {
      const Choice choice = *hook->Choose(request, {z.data(), z.size()}, &scratch, attempt);
      same_noise_differs += choice.token != hook->Choose(request, {z.data(), z.size()}, &scratch)->token;
      Candidates c(z), again(z);
      llama_sampler_apply(sampler, &c.array);
      ASSERT_EQ(static_cast<uint32_t>(c.selected()), choice.token) << "step " << i << " attempt " << attempt;
      llama_sampler_apply(sampler, &again.array);  // nothing was refused
      ASSERT_EQ(again.selected(), c.selected());
      if (attempt == 2) {
        request.Commit(choice.token, choice.cause);
        llama_sampler_accept(sampler, c.selected());
      }
      z[choice.token] = -std::numeric_limits<float>::infinity();
    }
  }
  EXPECT_GT(same_noise_differs, 0);  // at the start, where draws are plain; gumbel's race needs no new noise
  llama_sampler_free(sampler);
}

TEST(LlamaSampler, NegativeAndForeignIdsAreNeverChosen) {
  for (bool whole : {true, false}) {
    llama_sampler* sampler = *MakeLlamaSampler(MakeHook(), Options());
    for (uint32_t i = 0; i < 60; ++i) {
      std::vector<float> z = RowAfter(i, whole ? kVocabulary + 3 : 40, 2);
      Candidates c(z);
      c.data[7].id = -1;
      c.data[7].logit = 40.0f;
      c.data[11].id = static_cast<llama_token>(kVocabulary + 1);
      c.data[11].logit = 40.0f;
      llama_sampler_apply(sampler, &c.array);
      ASSERT_GE(c.selected(), 0);
      ASSERT_LT(c.selected(), static_cast<llama_token>(kVocabulary));
      llama_sampler_accept(sampler, c.selected());
    }
    llama_sampler_accept(sampler, -1);  // and a host may commit one: its windows are not marked, and nothing breaks
    for (uint32_t i = 0; i < 5; ++i) Step(sampler, RowAfter(i, kVocabulary, 2));
    EXPECT_EQ(LlamaSamplerRequest(sampler)->causes()[61], Cause::kFault);
    llama_sampler_free(sampler);
  }
}

TEST(LlamaSampler, ResetDrawsAfreshUnlessSeeded) {
  RequestOptions o = Options();
  o.seed.reset();
  o.parameters.temperature = 2.0f;
  llama_sampler* sampler = *MakeLlamaSampler(MakeHook(), o);
  std::set<std::vector<llama_token>> texts;
  for (int text = 0; text < 3; ++text) {
    std::vector<llama_token> tokens;
    for (uint32_t i = 0; i < 20; ++i) tokens.push_back(Step(sampler, RowAfter(i, kVocabulary, 0.5f)));
    texts.insert(tokens);
    llama_sampler_reset(sampler);
  }
  EXPECT_GT(texts.size(), 1u);  // two first tokens of some 300 candidates each, and the rest follows from them: two alike by chance 1e-5, all three 1e-10
  llama_sampler_free(sampler);
}

TEST(LlamaSampler, IsNotTakenForAnother) {
  llama_sampler* greedy = llama_sampler_init_greedy();
  countermark_llama_counters counters;
  EXPECT_EQ(LlamaSamplerRequest(greedy), nullptr);
  EXPECT_EQ(countermark_llama_sampler_counters(greedy, &counters), -1);
  llama_sampler_free(greedy);
}

TEST(LlamaCApi, FromABundle) {
  const std::string folder = ::testing::TempDir();
  const std::string bundle = folder + "/llama_c_api_" + std::to_string(getpid()) + ".bundle";
  ASSERT_TRUE(WriteBundle(bundle, MakeEpoch(Scheme::kGumbel, kVocabulary), SecretBytes("correct horse")).ok());
  const auto open = [&](const char* passphrase, char* error, size_t size) {
    int pipe_ends[2];
    EXPECT_EQ(pipe(pipe_ends), 0);
    EXPECT_EQ(write(pipe_ends[1], passphrase, std::strlen(passphrase)), static_cast<ssize_t>(std::strlen(passphrase)));
    close(pipe_ends[1]);
    countermark_llama_hook* hook = countermark_llama_open_bundle(bundle.c_str(), pipe_ends[0], error, size);
    close(pipe_ends[0]);
    return hook;
  };
  char error[200] = "";
  EXPECT_EQ(open("wrong", error, sizeof error), nullptr);
  EXPECT_NE(std::string(error), "");
  EXPECT_EQ(std::string(error).find("wrong\n"), std::string::npos);
  char tiny[4];
  EXPECT_EQ(open("wrong", tiny, sizeof tiny), nullptr);
  EXPECT_LT(std::strlen(tiny), sizeof tiny);
  EXPECT_EQ(countermark_llama_open_bundle("no such file", 0, nullptr, 0), nullptr);

  countermark_llama_hook* hook = open("correct horse\n", error, sizeof error);
  ASSERT_NE(hook, nullptr) << error;
  EXPECT_EQ(countermark_llama_vocabulary(hook), kVocabulary);
  countermark_llama_options options = countermark_llama_default_options();
  EXPECT_EQ(countermark_llama_sampler_init(hook, &options, error, sizeof error), nullptr);  // no account
  options.account = "nobody";
  EXPECT_EQ(countermark_llama_sampler_init(hook, &options, error, sizeof error), nullptr);
  EXPECT_NE(std::string(error).find("nobody"), std::string::npos);
  options.account = "org-2";
  llama_sampler* sampler = countermark_llama_sampler_init(hook, &options, error, sizeof error);
  ASSERT_NE(sampler, nullptr) << error;
  countermark_llama_close(hook);  // the sampler goes on
  for (uint32_t i = 0; i < 30; ++i) Step(sampler, RowAfter(i, kVocabulary, 2));
  countermark_llama_counters counters;
  ASSERT_EQ(countermark_llama_sampler_counters(sampler, &counters), 0);
  EXPECT_EQ(counters.start, 2u);
  EXPECT_EQ(counters.marked + counters.start + counters.repeated_window + counters.forced, 30u);
  llama_sampler_free(sampler);
  unlink(bundle.c_str());
}

}  // namespace
}  // namespace countermark
