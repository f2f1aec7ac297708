// A host that samples first and looks at its grammar afterwards: the token that breaks it is masked, and the same position is chosen for again. What comes
// out must follow the masked distribution, which it does only if each attempt draws anew.
//
// 20,000 keys; each of the six shares may be off by five standard deviations: odds below 4·10⁻⁶ together.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/sampling/fixture.h"

namespace countermark::testing {
namespace {

constexpr int kKeys = 20000;

// The share of token 1 where token 0 is refused, out of .5, .375, .125: .75 if all is right.
double ShareAfterRefusal(Scheme scheme, bool start, bool anew) {
  int ones = 0;
  RowScratch scratch;
  for (int k = 0; k < kKeys; ++k) {
    EpochKeys keys = MakeEpoch(scheme, 3, static_cast<uint64_t>(k) + 1);
    keys.record.mark.delta = 0.001;  // so that partition's own tilt is not seen
    const Hook hook = *Hook::Create(std::move(keys));
    RequestOptions options;
    options.account = "org-1";
    options.seed = 7;
    Request request = *hook.Begin(options);
    for (uint32_t i = 0; i < 4 && !start; ++i) request.Commit(i % 3, Cause::kForced);
    float z[3] = {std::log(0.5f), std::log(0.375f), std::log(0.125f)};
    Choice choice = *hook.Choose(request, {z, 3}, &scratch);
    if (choice.token == 0) {
      z[0] = -std::numeric_limits<float>::infinity();
      choice = *hook.Choose(request, {z, 3}, &scratch, anew ? 1 : 0);
    }
    EXPECT_NE(choice.token, 0u);
    ones += choice.token == 1;
  }
  return static_cast<double>(ones) / kKeys;
}

TEST(Refusal, TheNextAttemptFollowsTheMaskedDistribution) {
  const double room = 5 * std::sqrt(0.75 * 0.25 / kKeys);
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    for (const bool start : {false, true}) EXPECT_NEAR(ShareAfterRefusal(scheme, start, true), 0.75, room) << SchemeName(scheme) << (start ? " start" : "");
  }
}

// The test would notice: with the same noise the second choice leans to the neighbour of the refused token.
TEST(Refusal, TheSameNoiseTwiceIsNoticed) { EXPECT_GT(ShareAfterRefusal(Scheme::kGumbel, true, false), 0.83); }

}  // namespace
}  // namespace countermark::testing
