// Hook and detector agree: every marked pair is scored, on the channel that marked it, and every other pair that is scored has a cause.
#include <map>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

#include "countermark/detect/pairs.h"
#include "countermark/detect/tails.h"
#include "tests/sampling/fixture.h"

namespace countermark {
namespace {

using testing::MakeEpoch;
using testing::RowAfter;

TEST(HookAndDetector, Agree) {
  constexpr uint32_t kVocabulary = 700;
  RowScratch scratch;
  for (Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    for (int h = 1; h <= 3; ++h) {
      for (int channels = 1; channels <= 2; ++channels) {
        EpochKeys keys = MakeEpoch(scheme, kVocabulary, static_cast<uint64_t>(100 * h + channels));
        keys.record.mark.window = h;
        if (channels == 1) keys.record.channels = {{"base", 65536}};
        HookOptions options;
        options.tournament_candidates = 64;  // so that some tokens come from beyond
        const Hook hook = *Hook::Create(keys, options);
        RequestOptions o;
        o.account = "org-2";
        o.parameters = {1.0f, 0, 0.95, 0};
        o.seed = 77;
        Request request = *hook.Begin(o);
        std::vector<int> channel_of;
        for (int i = 0; i < 600; ++i) {
          const std::vector<float> z = RowAfter(request.size() ? request.tokens().back() : 0, kVocabulary, 2.5f);
          const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
          request.Commit(choice.token, choice.cause);
          channel_of.push_back(choice.channel);
        }

        PairSet pairs(h);
        pairs.Add(request.tokens());
        std::vector<uint32_t> weights;
        for (const ChannelSpec& c : keys.record.channels) weights.push_back(c.weight);
        const std::vector<uint8_t> route = RoutePairs(pairs, keys.Route(), scheme, weights);
        // The detector's pairs, by content.
        std::map<std::vector<uint32_t>, int> scored;
        for (size_t i = 0; i < pairs.size(); ++i) {
          std::vector<uint32_t> pair;
          for (int j = 0; j < h; ++j) pair.push_back(pairs.window_token(j)[i]);
          pair.push_back(pairs.token()[i]);
          EXPECT_TRUE(scored.emplace(pair, route[i]).second);
        }
        // The hook's: the first position of each pair says what became of it.
        std::set<std::vector<uint32_t>> marked, accounted;
        for (size_t i = static_cast<size_t>(h); i < request.size(); ++i) {
          const std::vector<uint32_t> pair(request.tokens().begin() + static_cast<ptrdiff_t>(i) - h, request.tokens().begin() + static_cast<ptrdiff_t>(i) + 1);
          ASSERT_TRUE(scored.contains(pair));
          if (request.causes()[i] == Cause::kMarked) {
            EXPECT_EQ(scored[pair], channel_of[i]);
            EXPECT_TRUE(marked.insert(pair).second) << "a window is marked once";
          } else {
            const Cause c = request.causes()[i];
            EXPECT_TRUE(c == Cause::kRepeatedWindow || c == Cause::kForced || c == Cause::kTail) << CauseName(c);
            accounted.insert(pair);
          }
        }
        for (const auto& [pair, channel] : scored) EXPECT_TRUE(marked.contains(pair) || accounted.contains(pair));
        EXPECT_GT(marked.size(), 100u);

        // And the mark is there: the base channel's p is far below chance (each of the 18 texts: odds of failure under 1e-4 a text if marked,
        // and a text without a mark would pass with probability 1e-6).
        const ChannelCount count = ScoreChannel(pairs, route, 0, keys.Base(), keys.record.mark);
        EXPECT_LT(Log10P(count, keys.record.mark), -6) << SchemeName(scheme) << " h " << h << " channels " << channels << " scored " << count.scored;
      }
    }
  }
}

}  // namespace
}  // namespace countermark
