// The hook's contract: what is marked, what is not and why, state that survives rollback and rebuild, faults that break nothing.
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "countermark/mark/channel.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "tests/sampling/fixture.h"

namespace countermark {
namespace {

using testing::KeyFromSeed;
using testing::MakeEpoch;
using testing::RowAfter;

constexpr uint32_t kVocabulary = 300;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
const Scheme kSchemes[] = {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel};

Hook MakeHook(Scheme scheme, const HookOptions& options = {}) {
  absl::StatusOr<Hook> hook = Hook::Create(MakeEpoch(scheme, kVocabulary), options);
  EXPECT_TRUE(hook.ok()) << hook.status();
  return *std::move(hook);
}

RequestOptions Options(uint64_t seed = 5) {
  RequestOptions o;
  o.account = "org-1";
  o.parameters = {0.9f, 0, 0.95, 0};
  o.seed = seed;
  return o;
}

// Generates n tokens from rows that hang on the last token.
std::vector<uint32_t> Generate(const Hook& hook, Request& request, size_t n, float spread = 2.0f) {
  RowScratch scratch;
  for (size_t i = 0; i < n; ++i) {
    const std::vector<float> z = RowAfter(request.size() ? request.tokens().back() : 9999, kVocabulary, spread);
    const absl::StatusOr<Choice> choice = hook.Choose(request, {z.data(), z.size()}, &scratch);
    EXPECT_TRUE(choice.ok()) << choice.status();
    request.Commit(choice->token, choice->cause);
  }
  return {request.tokens().begin(), request.tokens().end()};
}

TEST(Hook, PassesItsSelfTest) { EXPECT_TRUE(SelfTest().ok()) << SelfTest(); }

TEST(Hook, CountsEveryToken) {
  for (Scheme scheme : kSchemes) {
    const Hook hook = MakeHook(scheme);
    Request request = *hook.Begin(Options());
    Generate(hook, request, 400);
    const TokenCounters& c = request.counters();
    EXPECT_EQ(c.total(), 400u);
    EXPECT_EQ(c.of(Cause::kStart), 2u);
    EXPECT_GT(c.of(Cause::kMarked), 100u);
    EXPECT_EQ(c.of(Cause::kFault), 0u);
  }
}

TEST(Hook, ChoosingIsPureAndSeedsRepeat) {
  for (Scheme scheme : kSchemes) {
    const Hook hook = MakeHook(scheme);
    Request a = *hook.Begin(Options(1)), b = *hook.Begin(Options(1)), c = *hook.Begin(Options(2));
    const std::vector<uint32_t> text = Generate(hook, a, 60);
    EXPECT_EQ(text, Generate(hook, b, 60));
    EXPECT_NE(text, Generate(hook, c, 60));
    RowScratch scratch;
    const std::vector<float> z = RowAfter(1, kVocabulary, 2);
    const uint32_t first = hook.Choose(a, {z.data(), z.size()}, &scratch)->token;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(hook.Choose(a, {z.data(), z.size()}, &scratch)->token, first);
    EXPECT_EQ(a.size(), 60u);
  }
}

// Each scheme's token against the same choice worked out from mark/ alone, one token at a time.
TEST(Hook, ChoosesWhatTheFormatSays) {
  for (Scheme scheme : kSchemes) {
    EpochKeys keys = MakeEpoch(scheme, kVocabulary);
    const Hook hook = *Hook::Create(keys);
    Request request = *hook.Begin(Options());
    uint32_t route[8], channel_key[2][8];
    LoadKeyWords(keys.Route().Reveal(SecretAccess()), route);
    LoadKeyWords(keys.Base().Reveal(SecretAccess()), channel_key[0]);
    LoadKeyWords(keys.Account("org-1").Reveal(SecretAccess()), channel_key[1]);
    const uint32_t weights[2] = {32768, 32768};
    RowScratch scratch;
    int compared = 0;
    for (int i = 0; i < 200; ++i) {
      const std::vector<float> z = RowAfter(request.size() ? request.tokens().back() : 9999, kVocabulary, 2);
      const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
      if (choice.cause == Cause::kMarked) {
        const int channel = RouteWindow(route, scheme, request.Window(), 2, weights, 2);
        EXPECT_EQ(choice.channel, channel);
        uint32_t seed[8];
        MarkSeed(channel_key[channel], scheme, request.Window(), 2, seed);
        if (scheme == Scheme::kGumbel) {
          const CandidateSet set = Truncate({z.data(), z.size()}, request.parameters(), &scratch);
          uint32_t best = set.ids[0];
          double arrival = GumbelArrival(WordOf(seed, best), set.weights[0]);
          for (size_t j = 1; j < set.ids.size(); ++j) {
            const double a = GumbelArrival(WordOf(seed, set.ids[j]), set.weights[j]);
            if (a < arrival) arrival = a, best = set.ids[j];
          }
          EXPECT_EQ(choice.token, best);
          ++compared;
        }
      }
      request.Commit(choice.token, choice.cause);
    }
    if (scheme == Scheme::kGumbel) {
      EXPECT_GT(compared, 100);
    }
  }
}

TEST(Hook, RepeatedWindowsAreDrawnPlainly) {
  for (Scheme scheme : kSchemes) {
    const Hook hook = MakeHook(scheme);
    Request request = *hook.Begin(Options());
    std::set<std::pair<uint32_t, uint32_t>> seen;
    RowScratch scratch;
    int repeats = 0;
    for (size_t i = 0; i < 500; ++i) {
      const std::vector<float> z = RowAfter(request.size() ? request.tokens().back() % 7 : 0, kVocabulary, 6);
      const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
      if (i >= 2) {
        const auto window = std::make_pair(request.tokens()[i - 2], request.tokens()[i - 1]);
        const bool repeated = !seen.insert(window).second;
        EXPECT_EQ(request.WindowRepeats(), repeated);
        if (!repeated) {
          EXPECT_TRUE(choice.cause == Cause::kMarked || choice.cause == Cause::kForced) << CauseName(choice.cause);
        }
        if (repeated) {
          EXPECT_EQ(choice.cause, Cause::kRepeatedWindow);
          ++repeats;
        }
      }
      request.Commit(choice.token, choice.cause);
    }
    EXPECT_GT(repeats, 20);
  }
}

TEST(Request, RollbackAndRebuildGiveTheSameState) {
  std::mt19937_64 rng(3);
  for (Scheme scheme : kSchemes) {
    const Hook hook = MakeHook(scheme);
    Request straight = *hook.Begin(Options());
    Generate(hook, straight, 120, 6);
    Request winding = *hook.Begin(Options());
    while (winding.size() < 120) {
      Generate(hook, winding, std::min<size_t>(1 + rng() % 9, 120 - winding.size()), 6);
      if (rng() % 3 == 0) {
        // What a speculative server does: takes back some, tries others, takes those back.
        const size_t back = rng() % (winding.size() + 1);
        ASSERT_TRUE(winding.Rollback(back).ok());
        for (int i = 0; i < 4; ++i) winding.Commit(static_cast<uint32_t>(rng() % kVocabulary), Cause::kForced);
        ASSERT_TRUE(winding.Rollback(4).ok());
      }
    }
    EXPECT_EQ(std::vector<uint32_t>(straight.tokens().begin(), straight.tokens().end()),
              std::vector<uint32_t>(winding.tokens().begin(), winding.tokens().end()));
    EXPECT_EQ(straight.counters().by_cause, winding.counters().by_cause);

    // Preempted and rebuilt from the committed tokens: the next tokens are the same.
    Request rebuilt = *hook.Begin(Options());
    rebuilt.Rebuild(straight.tokens());
    EXPECT_EQ(rebuilt.WindowRepeats(), straight.WindowRepeats());
    EXPECT_EQ(Generate(hook, rebuilt, 80, 6), Generate(hook, straight, 80, 6));
    EXPECT_EQ(rebuilt.counters().of(Cause::kForced) >= 120, true);

    EXPECT_EQ(straight.Rollback(straight.size() + 1).code(), absl::StatusCode::kOutOfRange);
  }
}

TEST(Request, CopiesGoTheirOwnWay) {
  const Hook hook = MakeHook(Scheme::kGumbel);
  Request a = *hook.Begin(Options());
  Generate(hook, a, 20);
  Request b = a;
  a.Commit(1, Cause::kForced);
  EXPECT_EQ(b.size(), 20u);
  Request c = b;
  EXPECT_EQ(Generate(hook, b, 30), Generate(hook, c, 30));
}

TEST(Hook, BadRowsBreakNothing) {
  const float nan = std::nanf("");
  for (Scheme scheme : kSchemes) {
    const Hook hook = MakeHook(scheme);
    Request request = *hook.Begin(Options());
    Generate(hook, request, 10);
    RowScratch scratch;
    std::vector<float> z = RowAfter(3, kVocabulary, 2);
    z[17] = nan;
    absl::StatusOr<Choice> choice = hook.Choose(request, {z.data(), z.size()}, &scratch);
    ASSERT_TRUE(choice.ok());
    EXPECT_EQ(choice->cause, Cause::kFault);
    EXPECT_NE(choice->token, 17u);
    z[30] = kInfinity;
    choice = hook.Choose(request, {z.data(), z.size()}, &scratch);
    ASSERT_TRUE(choice.ok());
    EXPECT_EQ(choice->cause, Cause::kFault);
    EXPECT_EQ(choice->token, 30u);
    std::vector<float> none(kVocabulary, -kInfinity);
    EXPECT_EQ(hook.Choose(request, {none.data(), none.size()}, &scratch).status().code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(hook.Choose(request, {z.data(), kVocabulary - 1}, &scratch).status().code(), absl::StatusCode::kInvalidArgument);
    // One token left by a grammar: it is taken, and counted as no choice.
    none[250] = -3.0f;
    choice = hook.Choose(request, {none.data(), none.size()}, &scratch);
    ASSERT_TRUE(choice.ok());
    EXPECT_EQ(choice->token, 250u);
    EXPECT_EQ(choice->cause, Cause::kForced);
  }
}

TEST(Hook, NeverChoosesPaddingOrMinusInfinity) {
  std::mt19937_64 rng(11);
  for (Scheme scheme : kSchemes) {
    const Hook hook = MakeHook(scheme);
    Request request = *hook.Begin(Options());
    RowScratch scratch;
    for (int i = 0; i < 300; ++i) {
      std::vector<float> z = RowAfter(static_cast<uint32_t>(i), kVocabulary, 1);
      for (float& x : z) {
        if (rng() % 2) x = -kInfinity;
      }
      z.resize(kVocabulary + 20, 50.0f);  // padded rows of the model's last layer
      const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
      ASSERT_LT(choice.token, kVocabulary);
      ASSERT_NE(z[choice.token], -kInfinity);
      request.Commit(choice.token, choice.cause);
    }
  }
}

TEST(Hook, UnknownAccountsAreRefused) {
  const Hook hook = MakeHook(Scheme::kGumbel);
  RequestOptions o = Options();
  o.account = "org-3";
  EXPECT_EQ(hook.Begin(o).status().code(), absl::StatusCode::kNotFound);
}

TEST(LowEntropy, FloorDenyAllow) {
  EpochKeys keys = MakeEpoch(Scheme::kGumbel, kVocabulary);
  RequestOptions greedy = Options();
  greedy.parameters = {0.0f, 1, 1e-6, 1.0};
  greedy.seed.reset();
  const uint32_t prompt[] = {4, 8, 15};
  greedy.prompt = prompt;

  const Hook floor = *Hook::Create(keys);
  Request a = *floor.Begin(greedy), b = *floor.Begin(greedy);
  EXPECT_TRUE(a.floored());
  EXPECT_GE(a.parameters().temperature, 0.3f);
  EXPECT_GE(a.parameters().top_k, 8);
  EXPECT_GE(a.parameters().top_p, 0.5);
  EXPECT_LE(a.parameters().min_p, 0.5);
  const std::vector<uint32_t> text = Generate(floor, a, 80, 0.3f);
  EXPECT_EQ(text, Generate(floor, b, 80, 0.3f)) << "the same greedy request gets the same answer";
  EXPECT_GT(a.counters().of(Cause::kMarked), 40u);
  const uint32_t other_prompt[] = {4, 8, 16};
  greedy.prompt = other_prompt;
  Request c = *floor.Begin(greedy);
  EXPECT_NE(text, Generate(floor, c, 80, 0.3f));

  keys.record.low_entropy = LowEntropyPolicy::kDeny;
  const Hook deny = *Hook::Create(keys);
  EXPECT_EQ(deny.Begin(greedy).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(deny.Begin(Options()).ok());

  keys.record.low_entropy = LowEntropyPolicy::kAllow;
  const Hook allow = *Hook::Create(keys);
  Request d = *allow.Begin(greedy);
  RowScratch scratch;
  for (uint32_t i = 0; i < 20; ++i) {
    const std::vector<float> z = RowAfter(i, kVocabulary, 2);
    const Choice choice = *allow.Choose(d, {z.data(), z.size()}, &scratch);
    EXPECT_EQ(choice.cause, Cause::kGreedy);
    EXPECT_EQ(choice.token, static_cast<uint32_t>(std::max_element(z.begin(), z.end()) - z.begin()));
    d.Commit(choice.token, choice.cause);
  }
  EXPECT_EQ(d.counters().of(Cause::kGreedy), 20u);

  for (SamplingParameters bad : {SamplingParameters{std::nanf(""), 0, 1, 0}, SamplingParameters{-1, 0, 1, 0}, SamplingParameters{1, 0, 0, 0},
                                 SamplingParameters{1, 0, 1.5, 0}, SamplingParameters{1, 0, 1, -0.1}, SamplingParameters{1, 0, 1, NAN}}) {
    RequestOptions o = Options();
    o.parameters = bad;
    EXPECT_EQ(floor.Begin(o).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(Bias, PartitionAddsDeltaToGreenTokensAlone) {
  EpochKeys keys = MakeEpoch(Scheme::kPartition, kVocabulary);
  const Hook hook = *Hook::Create(keys);
  RequestOptions o = Options();
  o.parameters = {1.0f, 0, 1.0, 0};
  Request request = *hook.Begin(o);
  RowScratch scratch;
  Generate(hook, request, 5);
  const std::vector<float> before = RowAfter(3, kVocabulary, 2);
  std::vector<float> after = before;
  const Choice choice = *hook.Bias(request, after, &scratch);
  ASSERT_EQ(choice.cause, Cause::kMarked);
  uint32_t key[8], seed[8];
  LoadKeyWords((choice.channel == 0 ? keys.Base() : keys.Account("org-1")).Reveal(SecretAccess()), key);
  MarkSeed(key, Scheme::kPartition, request.Window(), 2, seed);
  int green = 0;
  for (uint32_t t = 0; t < kVocabulary; ++t) {
    const bool is_green = IsGreen(ByteOf(seed, t), 64);
    green += is_green;
    EXPECT_EQ(after[t], is_green ? before[t] + 2.0f : before[t]);
  }
  EXPECT_GT(green, 40);
  // At the start and on a repeated window the row is the host's own.
  Request fresh = *hook.Begin(o);
  std::vector<float> row = before;
  EXPECT_EQ(hook.Bias(fresh, row, &scratch)->cause, Cause::kStart);
  EXPECT_EQ(row, before);
}

TEST(Bias, OtherSchemesLeaveTheirOneToken) {
  for (Scheme scheme : {Scheme::kTournament, Scheme::kGumbel}) {
    const Hook hook = MakeHook(scheme);
    Request request = *hook.Begin(Options());
    RowScratch scratch;
    for (int i = 0; i < 30; ++i) {
      std::vector<float> z = RowAfter(static_cast<uint32_t>(i), kVocabulary, 2);
      const Choice chosen = *hook.Choose(request, {z.data(), z.size()}, &scratch);
      const Choice biased = *hook.Bias(request, z, &scratch);
      EXPECT_EQ(chosen.token, biased.token);
      int finite = 0;
      for (float x : z) finite += std::isfinite(x);
      EXPECT_EQ(finite, 1);
      EXPECT_TRUE(std::isfinite(z[chosen.token]));
      request.Commit(chosen.token, chosen.cause);
    }
  }
}

TEST(Hook, ARequestKeepsItsOwnHook) {
  const Hook hook = MakeHook(Scheme::kGumbel), copy = hook;
  EpochKeys one_channel = MakeEpoch(Scheme::kGumbel, kVocabulary, 9);
  one_channel.record.channels = {{"base", 65536}};
  const Hook next = *Hook::Create(one_channel);
  Request request = *next.Begin(Options());
  RowScratch scratch;
  std::vector<float> z = RowAfter(1, kVocabulary, 2);
  EXPECT_EQ(hook.Choose(request, {z.data(), z.size()}, &scratch).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(hook.Bias(request, z, &scratch).status().code(), absl::StatusCode::kInvalidArgument);
  Request own = *hook.Begin(Options());
  EXPECT_TRUE(copy.Choose(own, {z.data(), z.size()}, &scratch).ok());
}

TEST(Hook, MarkingOffIsTheSameHookWithoutTheMark) {
  HookOptions off;
  off.marking = false;
  const Hook hook = MakeHook(Scheme::kGumbel, off);
  Request request = *hook.Begin(Options());
  Generate(hook, request, 50);
  EXPECT_EQ(request.counters().of(Cause::kOff), 50u);
}

}  // namespace
}  // namespace countermark
