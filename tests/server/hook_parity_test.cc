// The C interface gives the tokens, causes and counts of countermark::Hook, token for token, whatever else is in the batch.
#include <cmath>
#include <limits>

#include "tests/server/serving.h"

namespace countermark::testing {
namespace {

constexpr uint32_t kVocabulary = 300;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What the slots of these tests ask for: every parameter, and a request that the floor changes.
const Asked kAsked[] = {
    {.request = "a", .temperature = 0.9f, .top_p = 0.95f, .seed = 1},
    {.request = "b", .temperature = 1.4f, .seed = 2},
    {.request = "c", .temperature = 0.7f, .top_k = 12, .seed = 3},
    {.request = "d", .temperature = 1.0f, .top_k = 40, .top_p = 0.8f, .min_p = 0.02f, .seed = 4},
    {.request = "e", .temperature = 0.0f, .prompt = {5, 6, 7}},
    {.request = "f", .temperature = 2.5f, .min_p = 0.1f, .seed = 5},
    {.request = "g", .temperature = 0.9f, .top_p = 0.95f, .seed = 1},
    {.request = "h", .temperature = 0.0f, .prompt = {5, 6, 7}},
};
constexpr int kSlots = 8;
// The last two are of no account: marked in the base channel alone.
const char* AccountOf(int slot) { return slot >= 6 ? "" : slot % 2 ? "org-2" : "org-1"; }

EpochKeys EpochWith(Scheme scheme, int channels, int window = 2) {
  EpochKeys epoch = MakeEpoch(scheme, kVocabulary);
  epoch.record.mark.window = window;
  if (channels == 1) epoch.record.channels = {{"base", 65536}};
  if (channels == 3) epoch.record.channels = {{"base", 26214}, {"account", 26214}, {"request", 13108}};
  return epoch;
}

struct Case {
  Scheme scheme;
  int channels, window;
  countermark_dtype dtype;
};

class HookParity : public ::testing::TestWithParam<Case> {};

TEST_P(HookParity, TokenForToken) {
  const Case c = GetParam();
  const EpochKeys epoch = EpochWith(c.scheme, c.channels, c.window);
  Serving server(epoch);
  const Hook hook = ReferenceHook(epoch);
  RowScratch scratch;
  std::vector<Request> requests;
  for (int s = 0; s < kSlots; ++s) {
    ASSERT_EQ(server.Begin(s, AccountOf(s), kAsked[s]), COUNTERMARK_OK) << server.message();
    requests.push_back(*hook.Begin(kAsked[s].Options(AccountOf(s))));
  }
  std::mt19937 order(7);
  for (int step = 0; step < Rounds(300, 12); ++step) {
    // A batch of some of the slots, in any order.
    StepInput input;
    input.commit = step % 3 != 0;
    input.dtype = c.dtype;
    input.padding = step % 5 == 0 ? 21 : 0;
    for (int s = 0; s < kSlots; ++s) input.slots.push_back(s);
    std::shuffle(input.slots.begin(), input.slots.end(), order);
    input.slots.resize(1 + order() % kSlots);
    for (int32_t s : input.slots) {
      const Request& r = requests[static_cast<size_t>(s)];
      std::vector<float> z = RowAfter(r.size() ? r.tokens().back() : 1000 + static_cast<uint32_t>(s), kVocabulary, 2.0f);
      if (step % 7 == 3) {
        for (size_t i = 0; i < z.size(); ++i) z[i] = i % 9 == step % 9u ? z[i] : -kInfinity;
      }
      input.logits.push_back(std::move(z));
    }
    const Rows rows = server.Sample(input);
    ASSERT_EQ(rows.status, COUNTERMARK_OK) << server.message();
    for (size_t r = 0; r < input.slots.size(); ++r) {
      Request& request = requests[static_cast<size_t>(input.slots[r])];
      const std::vector<float> z = AsStored(input.logits[r], c.dtype);
      const absl::StatusOr<Choice> choice = hook.Choose(request, {z.data(), z.size()}, &scratch);
      ASSERT_TRUE(choice.ok()) << choice.status();
      ASSERT_EQ(rows.tokens[r], static_cast<int32_t>(choice->token)) << "step " << step << ", slot " << input.slots[r];
      ASSERT_EQ(rows.causes[r], choice->cause) << "step " << step << ", slot " << input.slots[r];
      ASSERT_EQ(rows.accepted[r], 1);
      // Without `commit` the host does it, with this token or another.
      const bool other = !input.commit && step % 2 == 0;
      const uint32_t token = other ? (choice->token + 1) % kVocabulary : choice->token;
      if (!input.commit) {
        ASSERT_EQ(server.Commit(input.slots[r], {token}), COUNTERMARK_OK);
      }
      request.Commit(token, other ? Cause::kForced : choice->cause);
    }
  }
  for (int s = 0; s < kSlots; ++s) EXPECT_EQ(server.Counters(s), CountersOf(requests[static_cast<size_t>(s)])) << "slot " << s;
}

std::string NameOf(const ::testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  const char* dtypes[] = {"F32", "F16", "Bf16"};
  return std::string(SchemeName(c.scheme)) + std::to_string(c.channels) + "Channels" + std::to_string(c.window) + "Window" + dtypes[c.dtype];
}

INSTANTIATE_TEST_SUITE_P(Cases, HookParity,
                         ::testing::Values(Case{Scheme::kPartition, 2, 2, COUNTERMARK_F32}, Case{Scheme::kTournament, 2, 2, COUNTERMARK_F32},
                                           Case{Scheme::kGumbel, 2, 2, COUNTERMARK_F32}, Case{Scheme::kPartition, 1, 1, COUNTERMARK_F16},
                                           Case{Scheme::kTournament, 3, 4, COUNTERMARK_BF16}, Case{Scheme::kGumbel, 3, 3, COUNTERMARK_F16},
                                           Case{Scheme::kGumbel, 1, 1, COUNTERMARK_BF16}),
                         NameOf);

TEST(ServerHook, ARowIsTheSameWhateverIsAroundIt) {
  for (Scheme scheme : kSchemes) {
    const EpochKeys epoch = EpochWith(scheme, 2);
    Serving alone(epoch), crowded(epoch);
    for (int s = 0; s < kSlots; ++s) {
      ASSERT_EQ(crowded.Begin(s, AccountOf(s), kAsked[s]), COUNTERMARK_OK);
      ASSERT_EQ(alone.Begin(s, AccountOf(s), kAsked[s]), COUNTERMARK_OK);
    }
    uint32_t last = 3;
    for (int step = 0; step < Rounds(60, 4); ++step) {
      StepInput one{.slots = {0}, .logits = {RowAfter(last, kVocabulary, 2)}, .commit = true}, many = one;
      for (int s = kSlots - 1; s > 0; --s) {
        many.slots.insert(many.slots.begin(), s);
        many.logits.insert(many.logits.begin(), RowAfter(last * 31 + static_cast<uint32_t>(s), kVocabulary, 3));
      }
      const int32_t token = alone.Sample(one).tokens[0];
      ASSERT_EQ(crowded.Sample(many).tokens.back(), token);
      last = static_cast<uint32_t>(token);
    }
  }
}

// ln of the token's weight over the candidates' is within 1e-5 of a softmax in double precision over the same candidates.
TEST(ServerHook, LogProbabilitiesAreThoseOfTheTruncatedRow) {
  for (Scheme scheme : kSchemes) {
    const EpochKeys epoch = EpochWith(scheme, 2);
    Serving server(epoch);
    for (int step = 0; step < Rounds(40, 3); ++step) {
      const Asked asked = {.temperature = 0.8f, .top_k = 20, .seed = 5};
      ASSERT_EQ(server.Begin(0, "org-1", asked), COUNTERMARK_OK);
      ASSERT_EQ(server.Begin(1, "org-1", {.temperature = 1.5f, .seed = 6}), COUNTERMARK_OK);
      ASSERT_EQ(server.Commit(0, {1, 2, 3}), COUNTERMARK_OK);  // so that the row is marked
      const std::vector<float> z = RowAfter(static_cast<uint32_t>(step), kVocabulary, 2);
      const Rows rows = server.Sample({.slots = {0, 1}, .logits = {z, z}});
      std::vector<float> sorted = z;
      std::sort(sorted.rbegin(), sorted.rend());
      double of_20 = 0, of_all = 0;
      for (size_t i = 0; i < z.size(); ++i) {
        of_all += std::exp((static_cast<double>(sorted[i]) - sorted[0]) / 1.5);
        if (i < 20) of_20 += std::exp((static_cast<double>(sorted[i]) - sorted[0]) / static_cast<double>(0.8f));
      }
      const auto expected = [&](int r, double temperature, double sum) {
        return (static_cast<double>(z[static_cast<size_t>(rows.tokens[static_cast<size_t>(r)])]) - sorted[0]) / temperature - std::log(sum);
      };
      EXPECT_NEAR(rows.logprobs[0], expected(0, static_cast<double>(0.8f), of_20), 1e-5);
      EXPECT_NEAR(rows.logprobs[1], expected(1, 1.5, of_all), 1e-5);
    }
  }
}

TEST(ServerHook, WithoutMarkingEveryTokenIsOff) {
  const EpochKeys epoch = EpochWith(Scheme::kGumbel, 2);
  Serving server(epoch, [](countermark_hook_options* o) { o->marking = 0; });
  HookOptions unmarked;
  unmarked.marking = false;
  const Hook hook = ReferenceHook(epoch, unmarked);
  Request request = *hook.Begin(kAsked[0].Options("org-1"));
  ASSERT_EQ(server.Begin(0, "org-1", kAsked[0]), COUNTERMARK_OK);
  RowScratch scratch;
  for (uint32_t step = 0; step < 20; ++step) {
    const std::vector<float> z = RowAfter(step, kVocabulary, 2);
    const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
    request.Commit(choice.token, choice.cause);
    const Rows rows = server.Sample({.slots = {0}, .logits = {z}, .commit = true});
    ASSERT_EQ(rows.tokens[0], static_cast<int32_t>(choice.token));
    ASSERT_EQ(rows.causes[0], Cause::kOff);
  }
  EXPECT_EQ(server.Metrics().off, 20u);
  EXPECT_EQ(server.Metrics().marked, 0u);
}

TEST(ServerHook, GreedyWhereThePolicyAllowsIt) {
  EpochKeys epoch = EpochWith(Scheme::kGumbel, 2);
  epoch.record.low_entropy = LowEntropyPolicy::kAllow;
  Serving server(epoch);
  ASSERT_EQ(server.Begin(0, "org-1", {.temperature = 0}), COUNTERMARK_OK);
  ASSERT_EQ(server.Begin(1, "org-1", {.top_k = 1}), COUNTERMARK_OK);
  for (uint32_t step = 0; step < 8; ++step) {
    std::vector<float> z = RowAfter(step, kVocabulary, 2);
    const auto largest = std::max_element(z.begin(), z.end());
    const int32_t likeliest = static_cast<int32_t>(largest - z.begin());
    if (likeliest < 290) z[static_cast<size_t>(likeliest) + 7] = *largest;  // a tie: the lowest id
    const Rows rows = server.Sample({.slots = {0, 1}, .logits = {z, z}, .commit = true});
    for (int r : {0, 1}) {
      EXPECT_EQ(rows.tokens[static_cast<size_t>(r)], likeliest);
      EXPECT_EQ(rows.causes[static_cast<size_t>(r)], Cause::kGreedy);
      EXPECT_EQ(rows.logprobs[static_cast<size_t>(r)], 0.0f);
    }
  }
}

}  // namespace
}  // namespace countermark::testing
