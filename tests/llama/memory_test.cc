// Each allocation of each callback fails once: libllama, which calls them as C functions, sees no exception, and serving goes on.
#include "tests/server/failing_memory.h"

#include <gtest/gtest.h>

#include "src/llama/sampler.h"
#include "tests/sampling/fixture.h"

namespace countermark {
namespace {

using testing::FailAllocation;
using testing::Failed;

constexpr uint32_t kVocabulary = 80;

struct Candidates {
  explicit Candidates(const std::vector<float>& z, bool reversed = false) {
    for (size_t i = 0; i < z.size(); ++i) {
      const size_t id = reversed ? z.size() - 1 - i : i;
      data.push_back({static_cast<llama_token>(id), z[id], 0.0f});
    }
    array = {data.data(), data.size(), -1, false};
  }
  llama_token selected() const { return array.selected < 0 ? -1 : array.data[array.selected].id; }
  std::vector<llama_token_data> data;
  llama_token_data_array array;
};

llama_sampler* MakeSampler(float temperature = 1.0f) {
  const auto hook = std::make_shared<const Hook>(*Hook::Create(testing::MakeEpoch(Scheme::kGumbel, kVocabulary)));
  RequestOptions options;
  options.account = "org-1";
  options.parameters.temperature = temperature;  // 0: raised to the floor, so that the first apply begins the request anew
  options.seed = 3;
  return *MakeLlamaSampler(hook, options);
}

// Runs `call` with its first, second, … allocation failing, until none does.
template <typename Call>
int FailEach(Call call) {
  for (long nth = 1;; ++nth) {
    FailAllocation(nth);
    call();
    if (!Failed()) return static_cast<int>(nth) - 1;
  }
}

TEST(LlamaMemory, ApplyTakesTheLikeliest) {
  for (float temperature : {1.0f, 0.0f}) {
    const std::vector<float> z = testing::RowAfter(1, kVocabulary, 2);
    int failures = 0;
    for (long nth = 1;; ++nth) {
      llama_sampler* sampler = MakeSampler(temperature);
      for (llama_token t = 0; t < 5; ++t) llama_sampler_accept(sampler, t);
      Candidates c(z, /*reversed=*/true);
      FailAllocation(nth);
      llama_sampler_apply(sampler, &c.array);
      const bool failed = Failed();
      ASSERT_GE(c.selected(), 0);
      llama_sampler_accept(sampler, c.selected());
      EXPECT_EQ(LlamaSamplerRequest(sampler)->size(), 1u);
      if (failed && LlamaSamplerRequest(sampler)->causes()[0] == Cause::kFault) {
        EXPECT_EQ(c.selected(), std::max_element(z.begin(), z.end()) - z.begin());
        ++failures;
      }
      llama_sampler_free(sampler);
      if (!failed) break;
    }
    EXPECT_GT(failures, 3);
  }
}

TEST(LlamaMemory, AcceptStartsAnew) {
  llama_sampler* sampler = MakeSampler();
  llama_sampler_accept(sampler, 1);  // the prompt
  FailAllocation(1);
  for (llama_token t = 0; t < 100; ++t) llama_sampler_accept(sampler, t);
  EXPECT_TRUE(Failed());
  Candidates c(testing::RowAfter(1, kVocabulary, 2));
  llama_sampler_apply(sampler, &c.array);
  int lost = 0;
  for (llama_token t = 0; t < 3000; ++t) {
    const size_t before = LlamaSamplerRequest(sampler)->size();
    FailAllocation(1);
    llama_sampler_accept(sampler, t % 77);
    if (Failed()) {
      EXPECT_EQ(LlamaSamplerRequest(sampler)->size(), 0u);
      ++lost;
      llama_sampler_accept(sampler, t % 77);  // there is memory again
    } else {
      EXPECT_EQ(LlamaSamplerRequest(sampler)->size(), before + 1);
    }
  }
  EXPECT_GT(lost, 0);
  llama_sampler_free(sampler);
}

TEST(LlamaMemory, CloneGivesNullAndResetKeepsOn) {
  llama_sampler* sampler = MakeSampler();
  Candidates c(testing::RowAfter(1, kVocabulary, 2));
  llama_sampler_apply(sampler, &c.array);
  for (llama_token t = 0; t < 20; ++t) llama_sampler_accept(sampler, t);
  const int allocations = FailEach([&] {
    llama_sampler* clone = llama_sampler_clone(sampler);
    if (clone != nullptr) {
      EXPECT_EQ(LlamaSamplerRequest(clone)->size(), 20u);
      llama_sampler_free(clone);
    }
  });
  EXPECT_GT(allocations, 3);
  EXPECT_GT(FailEach([&] {
    llama_sampler_reset(sampler);
    EXPECT_EQ(LlamaSamplerRequest(sampler)->size(), 0u);
  }), 1);
  llama_sampler_free(sampler);
}

}  // namespace
}  // namespace countermark
