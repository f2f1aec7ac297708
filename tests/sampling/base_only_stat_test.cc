// A request without an account: the base channel's windows are marked, all others are drawn plainly, and its text points to nobody.
//
// Failure odds if the hook is right, all at fixed seeds: the plain draws 3 × 1e-6, the accounts' p-values 6 × 1e-6, the noise of two accounts 1e-6.
#include <algorithm>
#include <cmath>

#include <boost/math/distributions/chi_squared.hpp>
#include <gtest/gtest.h>

#include "countermark/detect/detector.h"
#include "countermark/keys/derive.h"
#include "countermark/mark/channel.h"
#include "countermark/mark/select.h"
#include "tests/sampling/fixture.h"

namespace countermark {
namespace {

using testing::MakeEpoch;
using testing::RowAfter;

constexpr uint32_t kVocabulary = 500;
const Scheme kSchemes[] = {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel};

EpochKeys EpochOf(Scheme scheme, int channels = 2) {
  EpochKeys keys = MakeEpoch(scheme, kVocabulary, 71);
  if (channels == 1) keys.record.channels = {{"base", 65536}};
  if (channels == 3) keys.record.channels = {{"base", 26214}, {"account", 26214}, {"request", 13108}};
  return keys;
}

RequestOptions BaseOnly(std::optional<uint64_t> seed = 5) {
  RequestOptions o;
  o.base_only = true;
  o.request = "r-1";
  o.seed = seed;
  return o;
}

Request Write(const Hook& hook, const RequestOptions& options, size_t n, uint32_t first) {
  RowScratch scratch;
  Request request = *hook.Begin(options);
  for (size_t i = 0; i < n; ++i) {
    const std::vector<float> z = RowAfter(request.size() ? request.tokens().back() : first, kVocabulary, 2.0f);
    const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
    EXPECT_EQ(choice.channel, choice.cause == Cause::kMarked ? 0 : -1);
    request.Commit(choice.token, choice.cause);
  }
  return request;
}

TEST(BaseOnly, IsSaidAloudAndHasNoAccount) {
  const Hook hook = *Hook::Create(EpochOf(Scheme::kGumbel));
  RequestOptions slip;  // an empty label
  EXPECT_EQ(hook.Begin(slip).status().code(), absl::StatusCode::kInvalidArgument);
  RequestOptions both = BaseOnly();
  both.account = "org-1";
  EXPECT_EQ(hook.Begin(both).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(hook.Begin(BaseOnly(), Secret32::Random()).status().code(), absl::StatusCode::kInvalidArgument);
  HookOptions any;
  any.require_registered_accounts = false;
  EXPECT_EQ(Hook::Create(EpochOf(Scheme::kGumbel), any)->Begin(slip).status().code(), absl::StatusCode::kInvalidArgument);
}

// The detector finds the base channel, and the p-values of 400 candidate accounts, registered or not, are uniform (Kolmogorov's D at 1e-6, and two hundredths for
// steps of integer scores).
TEST(BaseOnly, BaseIsDetectedAndNobodyIsNamed) {
  for (Scheme scheme : kSchemes) {
    for (int channels : {2, 3}) {
      const EpochKeys keys = EpochOf(scheme, channels);
      const Hook hook = *Hook::Create(keys);
      std::vector<std::string> candidates = keys.accounts;
      while (candidates.size() < 400) candidates.push_back("candidate-" + std::to_string(candidates.size()));
      const Detector detector = *Detector::Create(keys, candidates);
      PairSet pairs(detector.window());
      TokenCounters counters;
      for (uint32_t text = 0; text < 8; ++text) {
        const Request request = Write(hook, BaseOnly(text), 500, 1000 + text);
        pairs.Add(request.tokens());
        for (size_t c = 0; c < counters.by_cause.size(); ++c) counters.by_cause[c] += request.counters().by_cause[c];
      }
      EXPECT_EQ(counters.total(), 4000u);
      EXPECT_GT(counters.of(Cause::kMarked), channels == 2 ? 1500u : 1200u);
      EXPECT_GT(counters.of(Cause::kOff), channels == 2 ? 1500u : 1800u);
      const DetectionResult result = detector.Score(pairs);
      ASSERT_EQ(result.channels.size(), 1u);
      EXPECT_LT(result.channels[0].log10_p, -30);
      std::vector<double> p;
      for (const AccountTest& test : result.accounts) {
        EXPECT_GT(test.count.scored, 800u);
        EXPECT_GT(test.log10_p_adjusted, -6);  // nobody is named at 1e-6
        p.push_back(std::pow(10.0, test.log10_p));
      }
      std::sort(p.begin(), p.end());
      double distance = 0;
      for (size_t i = 0; i < p.size(); ++i) {
        const double n = static_cast<double>(p.size());
        distance = std::max({distance, static_cast<double>(i + 1) / n - p[i], p[i] - static_cast<double>(i) / n});
      }
      EXPECT_LT(distance, std::sqrt(std::log(2e6) / (2.0 * static_cast<double>(p.size()))) + 0.02) << SchemeName(scheme) << ", " << channels << " channels";
    }
  }
}

// Under one key, at a window of an account's channel, 40,000 seeds give the row's own distribution; a marked window of gumbel's gives one token.
TEST(BaseOnly, OtherWindowsAreDrawnFromTheRow) {
  for (Scheme scheme : kSchemes) {
    const EpochKeys keys = EpochOf(scheme);
    const Hook hook = *Hook::Create(keys);
    constexpr uint32_t kTokens = 60;
    std::vector<float> z = RowAfter(3, kVocabulary, 1.7f);
    std::fill(z.begin() + kTokens, z.end(), -std::numeric_limits<float>::infinity());
    std::vector<double> q(kTokens);
    double sum = 0;
    for (uint32_t t = 0; t < kTokens; ++t) sum += q[t] = std::exp(static_cast<double>(z[t]));
    uint32_t route[8];
    LoadKeyWords(keys.Route().Reveal(SecretAccess()), route);
    const uint32_t weights[] = {32768, 32768};
    uint32_t window[2] = {7, 0};
    while (RouteWindow(route, scheme, window, 2, weights, 2) == 0) ++window[1];
    std::vector<double> seen(kTokens, 0.0);
    RowScratch scratch;
    constexpr int kSeeds = 40000;
    for (int seed = 0; seed < kSeeds; ++seed) {
      Request request = *hook.Begin(BaseOnly(static_cast<uint64_t>(seed)));
      request.Commit(window[0], Cause::kForced);
      request.Commit(window[1], Cause::kForced);
      const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
      ASSERT_EQ(choice.cause, Cause::kOff);
      ASSERT_LT(choice.token, kTokens);
      ++seen[choice.token];
    }
    double chi = 0, rest_seen = 0, rest_expected = 0;
    int cells = 0;
    for (uint32_t t = 0; t < kTokens; ++t) {
      const double expected = kSeeds * q[t] / sum;
      if (expected < 10) {
        rest_seen += seen[t];
        rest_expected += expected;
        continue;
      }
      chi += (seen[t] - expected) * (seen[t] - expected) / expected;
      ++cells;
    }
    if (rest_expected > 0) {
      chi += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
      ++cells;
    }
    EXPECT_LT(chi, boost::math::quantile(boost::math::complement(boost::math::chi_squared(cells - 1), 1e-6))) << SchemeName(scheme);
  }
}

// An epoch that leaves the base channel one window in 65,536: nearly everything is unmarked, and counted.
TEST(BaseOnly, WithoutABaseChannelWorthTheNameEverythingIsOff) {
  EpochKeys keys = EpochOf(Scheme::kGumbel);
  keys.record.channels = {{"base", 1}, {"account", 65535}};
  const Request request = Write(*Hook::Create(keys), BaseOnly(), 400, 1);
  EXPECT_EQ(request.counters().total(), 400u);
  EXPECT_EQ(request.counters().of(Cause::kMarked), 0u);
  EXPECT_GT(request.counters().of(Cause::kOff), 350u);
}

// An epoch of the base channel alone marks it as it would anybody's.
TEST(BaseOnly, OneChannelMarksAll) {
  const Hook hook = *Hook::Create(EpochOf(Scheme::kGumbel, 1));
  const Request request = Write(hook, BaseOnly(), 400, 1);
  EXPECT_EQ(request.counters().of(Cause::kOff), 0u);
  EXPECT_GT(request.counters().of(Cause::kMarked), 350u);
}

// Its draws come from DeriveKey(DeriveKey(epoch key, "sampling", "base-only"), "sampling", "seed", N): nobody's account, and nothing that evidence reveals.
TEST(BaseOnly, DrawsHaveAKeyOfTheirOwn) {
  const EpochKeys keys = EpochOf(Scheme::kGumbel);
  const Hook hook = *Hook::Create(keys);
  RowScratch scratch;
  const Secret32 own = DeriveKey(keys.epoch_key, {"sampling", "base-only"});
  int equal = 0;
  constexpr int kSeeds = 300;
  const std::vector<float> z = RowAfter(9, kVocabulary, 0.5f);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const Request request = *hook.Begin(BaseOnly(seed));
    const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);  // the first token has no window: a plain draw
    EXPECT_EQ(choice.cause, Cause::kStart);
    uint32_t words[8];
    LoadKeyWords(DeriveKey(own, {"sampling", "seed", std::to_string(seed)}).Reveal(SecretAccess()), words);
    EXPECT_EQ(choice.token, DrawPlainly(scratch.last, DrawBits(words, 0, 0)));
    RequestOptions account;
    account.account = "org-1";
    account.seed = seed;
    equal += choice.token == hook.Choose(*hook.Begin(account), {z.data(), z.size()}, &scratch)->token;
  }
  EXPECT_LT(equal, 15);  // about 0.8 by chance, of at least 380 tokens in effect
}

// The floor's draws repeat for the same prompt, and are not those of an account with that prompt.
TEST(BaseOnly, FlooredDrawsRepeatAndAreNoAccounts) {
  const Hook hook = *Hook::Create(EpochOf(Scheme::kGumbel));
  const uint32_t prompt[] = {4, 8, 15};
  RequestOptions greedy = BaseOnly(std::nullopt);
  greedy.parameters = {0.0f, 0, 1.0, 0};
  greedy.prompt = prompt;
  const Request a = Write(hook, greedy, 60, 1), b = Write(hook, greedy, 60, 1);
  EXPECT_TRUE(std::ranges::equal(a.tokens(), b.tokens()));
  greedy.base_only = false;
  greedy.account = "org-1";
  RowScratch scratch;
  Request other = *hook.Begin(greedy);
  int equal = 0;
  for (size_t i = 0; i < 60; ++i) {  // at the same places, after the same tokens
    const std::vector<float> z = RowAfter(i ? a.tokens()[i - 1] : 1, kVocabulary, 2.0f);
    const Choice choice = *hook.Choose(other, {z.data(), z.size()}, &scratch);
    if (a.causes()[i] != Cause::kMarked) equal += choice.token == a.tokens()[i];
    other.Commit(a.tokens()[i], Cause::kForced);
  }
  EXPECT_GT(a.counters().of(Cause::kOff), 15u);
  EXPECT_LT(equal, static_cast<int>(60 - a.counters().of(Cause::kMarked)));
}

}  // namespace
}  // namespace countermark
