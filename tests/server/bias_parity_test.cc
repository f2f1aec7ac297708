// countermark_bias changes logits as countermark::Hook::Bias does, and the host's commit is counted under what it did.
#include <limits>

#include "tests/server/serving.h"

namespace countermark::testing {
namespace {

constexpr uint32_t kVocabulary = 300;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class BiasParity : public ::testing::TestWithParam<std::tuple<Scheme, countermark_dtype>> {};

TEST_P(BiasParity, SameLogitsAndCounts) {
  const auto [scheme, dtype] = GetParam();
  EpochKeys epoch = MakeEpoch(scheme, kVocabulary);
  epoch.record.low_entropy = LowEntropyPolicy::kAllow;
  Serving server(epoch);
  const Hook hook = ReferenceHook(epoch);
  RowScratch scratch;
  const Asked asked[] = {{.temperature = 0.8f, .top_p = 0.95f, .seed = 1}, {.temperature = 1.3f, .seed = 2}, {.temperature = 0.0f}, {.temperature = 0.8f, .top_p = 0.95f, .seed = 1}};
  std::vector<Request> requests;
  for (int s = 0; s < 4; ++s) {
    const std::string account = s < 3 ? "org-1" : "";  // the last: of no account
    ASSERT_EQ(server.Begin(s, account, asked[s]), COUNTERMARK_OK);
    requests.push_back(*hook.Begin(asked[s].Options(account)));
  }
  std::mt19937 random(5);
  for (int step = 0; step < Rounds(120, 8); ++step) {
    StepInput input{.slots = {2, 0, 3, 1}, .dtype = dtype, .padding = 7};
    for (int32_t s : input.slots) {
      const Request& r = requests[static_cast<size_t>(s)];
      input.logits.push_back(RowAfter(r.size() ? r.tokens().back() : 100 + static_cast<uint32_t>(s), kVocabulary, 2));
    }
    if (step % 10 == 9) input.logits[1][7] = std::numeric_limits<float>::quiet_NaN();
    const Rows rows = server.Bias(input);
    ASSERT_EQ(rows.status, COUNTERMARK_OK) << server.message();
    for (size_t r = 0; r < 4; ++r) {
      Request& request = requests[static_cast<size_t>(input.slots[r])];
      std::vector<float> z = AsStored(input.logits[r], dtype);
      z.resize(kVocabulary + 7, 0.0f);
      const absl::StatusOr<Choice> choice = hook.Bias(request, z, &scratch);
      ASSERT_TRUE(choice.ok());
      z = AsStored(z, dtype);
      size_t finite = 0;
      for (size_t i = 0; i < z.size(); ++i) finite += z[i] > -kInfinity;
      if (finite > 1) {
        for (size_t i = 0; i < z.size(); ++i) {
          ASSERT_TRUE(rows.logits[r][i] == z[i] || (z[i] != z[i] && rows.logits[r][i] != rows.logits[r][i])) << "step " << step << ", row " << r << ", token " << i;
        }
        ASSERT_EQ(rows.tokens[r], COUNTERMARK_NO_TOKEN);
      } else {  // one token is left
        ASSERT_EQ(rows.tokens[r], static_cast<int32_t>(choice->token));
        for (size_t i = 0; i < z.size(); ++i) ASSERT_EQ(rows.logits[r][i] > -kInfinity, i == choice->token) << "step " << step << ", row " << r << ", token " << i;
      }
      ASSERT_EQ(rows.causes[r], choice->cause) << "step " << step << ", row " << r;
      // The host takes what is left, or any token where it chooses itself.
      const uint32_t token = rows.tokens[r] >= 0 ? choice->token : static_cast<uint32_t>(random() % kVocabulary);
      ASSERT_EQ(server.Commit(input.slots[r], {token}), COUNTERMARK_OK);
      request.Commit(token, choice->cause);
      ASSERT_EQ(server.Counters(input.slots[r]), CountersOf(request)) << "step " << step << ", row " << r;
    }
  }
}

std::string NameOf(const ::testing::TestParamInfo<std::tuple<Scheme, countermark_dtype>>& info) {
  const char* dtypes[] = {"F32", "F16", "Bf16"};
  return std::string(SchemeName(std::get<0>(info.param))) + dtypes[std::get<1>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Cases, BiasParity,
                         ::testing::Combine(::testing::ValuesIn(kSchemes), ::testing::Values(COUNTERMARK_F32, COUNTERMARK_F16, COUNTERMARK_BF16)), NameOf);

TEST(ServerBias, CommitsNothingItself) {
  Serving server(MakeEpoch(Scheme::kPartition, kVocabulary));
  ASSERT_EQ(server.Begin(0, "org-1"), COUNTERMARK_OK);
  const Rows rows = server.Bias({.slots = {0}, .logits = {RowAfter(1, kVocabulary, 2)}, .commit = true});
  EXPECT_EQ(rows.status, COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_NE(std::string(server.message()).find("commits nothing"), std::string::npos) << server.message();
}

// What a position without a mark leaves to the host is left as it is, NaN too.
TEST(ServerBias, LeavesUnmarkedPositionsAsTheyAre) {
  for (countermark_dtype dtype : {COUNTERMARK_F32, COUNTERMARK_F16, COUNTERMARK_BF16}) {
    Serving server(MakeEpoch(Scheme::kPartition, kVocabulary));
    ASSERT_EQ(server.Begin(0, "org-1"), COUNTERMARK_OK);
    std::vector<float> z = AsStored(RowAfter(1, kVocabulary, 2), dtype);
    z[3] = std::numeric_limits<float>::quiet_NaN();
    z[4] = kInfinity;
    z[5] = -kInfinity;
    const Rows rows = server.Bias({.slots = {0}, .logits = {z}, .dtype = dtype});
    EXPECT_EQ(rows.causes[0], Cause::kStart);
    EXPECT_NE(rows.logits[0][3], rows.logits[0][3]);
    for (size_t i = 0; i < z.size(); ++i) EXPECT_TRUE(i == 3 || rows.logits[0][i] == z[i]) << i;
    EXPECT_EQ(server.Metrics().bad_rows, 1u);
  }
}

// A row that is nobody's is the host's own.
TEST(ServerBias, LeavesRowsOfNobodyToTheHost) {
  for (Scheme scheme : kSchemes) {
    Serving server(MakeEpoch(scheme, kVocabulary));
    const std::vector<float> z = RowAfter(1, kVocabulary, 2);
    const Rows rows = server.Bias({.slots = {3, -7}, .logits = {z, z}});
    ASSERT_EQ(rows.status, COUNTERMARK_OK);
    for (size_t r : {0, 1}) {
      EXPECT_EQ(rows.logits[r], z);
      EXPECT_EQ(rows.tokens[r], COUNTERMARK_NO_TOKEN);
      EXPECT_EQ(rows.causes[r], Cause::kFault);
    }
    EXPECT_EQ(server.Metrics().bad_slots, 2u);
  }
}

}  // namespace
}  // namespace countermark::testing
