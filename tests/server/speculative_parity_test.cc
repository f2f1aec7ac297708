// Speculative decoding gives, token by token, what plain marked sampling gives, for every scheme and whoever made the drafts.
#include "tests/server/serving.h"

namespace countermark::testing {
namespace {

constexpr uint32_t kVocabulary = 300;
const Asked kAsked = {.temperature = 0.9f, .top_p = 0.95f, .seed = 11};

// The model of these tests: logits hang on the last token alone.
std::vector<float> RowOf(const std::vector<uint32_t>& text) { return RowAfter(text.empty() ? 9999 : text.back(), kVocabulary, 2.0f); }

struct Plain {
  std::vector<uint32_t> text;
  std::vector<Cause> causes;
  std::vector<float> logprobs;
};

// One row a step.
Plain PlainText(const EpochKeys& epoch, size_t n) {
  Serving server(epoch);
  EXPECT_EQ(server.Begin(0, "org-1", kAsked), COUNTERMARK_OK);
  Plain plain;
  while (plain.text.size() < n) {
    const Rows rows = server.Sample({.slots = {0}, .logits = {RowOf(plain.text)}, .commit = true});
    plain.text.push_back(static_cast<uint32_t>(rows.tokens[0]));
    plain.causes.push_back(rows.causes[0]);
    plain.logprobs.push_back(rows.logprobs[0]);
  }
  return plain;
}

enum class Drafter { kRandom, kMatching, kAdversarial, kHalf };

// Drafts of each kind, given what plain sampling would say.
int32_t DraftOf(Drafter drafter, const Plain& plain, size_t position, std::mt19937* random) {
  const int32_t right = position < plain.text.size() ? static_cast<int32_t>(plain.text[position]) : 0;
  switch (drafter) {
    case Drafter::kRandom: return static_cast<int32_t>((*random)() % kVocabulary);
    case Drafter::kMatching: return right;
    case Drafter::kHalf: return (*random)() % 2 ? right : static_cast<int32_t>((*random)() % kVocabulary);
    case Drafter::kAdversarial: {
      const int32_t bad[] = {right, -1, static_cast<int32_t>(kVocabulary), 0x7FFFFFFF, static_cast<int32_t>(kTokenLimit), (right + 1) % static_cast<int32_t>(kVocabulary)};
      return bad[(*random)() % std::size(bad)];
    }
  }
  return 0;
}

class Speculative : public ::testing::TestWithParam<std::tuple<Scheme, Drafter, bool>> {};

TEST_P(Speculative, IsPlainMarkedSampling) {
  const auto [scheme, drafter, commit] = GetParam();
  const EpochKeys epoch = MakeEpoch(scheme, kVocabulary);
  const size_t n = static_cast<size_t>(Rounds(200, 12));
  const Plain plain = PlainText(epoch, n + 40);
  Serving server(epoch);
  ASSERT_EQ(server.Begin(2, "org-1", kAsked), COUNTERMARK_OK);
  ASSERT_EQ(server.Begin(5, "org-2", kAsked), COUNTERMARK_OK);  // somebody else in the batch
  std::mt19937 random(3);
  std::vector<uint32_t> text;
  size_t rows_of_slot = 0;
  while (text.size() < n) {
    const int32_t k = static_cast<int32_t>(random() % 6);
    StepInput step{.slots = {5}, .logits = {RowAfter(static_cast<uint32_t>(random()), kVocabulary, 2)}, .depths = {0}, .drafts = {7}, .commit = commit};
    std::vector<uint32_t> with_drafts = text;
    for (int32_t d = 0; d <= k; ++d) {
      step.slots.push_back(2);
      step.depths.push_back(d);
      step.logits.push_back(RowOf(with_drafts));
      step.drafts.push_back(DraftOf(drafter, plain, text.size() + static_cast<size_t>(d), &random));
      with_drafts.push_back(static_cast<uint32_t>(step.drafts.back()));
    }
    const Rows rows = server.Sample(step);
    ASSERT_EQ(rows.status, COUNTERMARK_OK) << server.message();
    const int32_t hold = rows.accepted[1];
    ASSERT_GE(hold, 1);
    ASSERT_LE(hold, k + 1);
    rows_of_slot += static_cast<size_t>(k) + 1;
    std::vector<uint32_t> held;
    for (int32_t d = 0; d < hold; ++d) {
      const size_t r = static_cast<size_t>(1 + d), position = text.size();
      ASSERT_EQ(rows.tokens[r], static_cast<int32_t>(plain.text[position])) << "position " << position << ", depth " << d;
      ASSERT_EQ(rows.causes[r], plain.causes[position]) << "position " << position << ", depth " << d;
      ASSERT_EQ(rows.logprobs[r], plain.logprobs[position]);
      if (d > 0) {
        ASSERT_EQ(step.drafts[r - 1], rows.tokens[r - 1]);
      }
      held.push_back(static_cast<uint32_t>(rows.tokens[r]));
      text.push_back(held.back());
    }
    if (hold <= k) {
      ASSERT_NE(step.drafts[static_cast<size_t>(hold)], rows.tokens[static_cast<size_t>(hold)]);
    }
    for (int32_t d = 1; d <= k; ++d) ASSERT_EQ(rows.accepted[static_cast<size_t>(1 + d)], 0);
    if (!commit) {
      ASSERT_EQ(server.Commit(2, held), COUNTERMARK_OK);
    }
  }
  std::vector<uint64_t> expected(8, 0);
  for (size_t i = 0; i < text.size(); ++i) ++expected[static_cast<size_t>(plain.causes[i])];
  EXPECT_EQ(server.Counters(2), expected);
  if (drafter == Drafter::kMatching) {
    EXPECT_EQ(text.size(), rows_of_slot);  // every draft held
  }
}

std::string NameOf(const ::testing::TestParamInfo<std::tuple<Scheme, Drafter, bool>>& info) {
  const char* drafters[] = {"Random", "Matching", "Adversarial", "Half"};
  return std::string(SchemeName(std::get<0>(info.param))) + drafters[static_cast<int>(std::get<1>(info.param))] + (std::get<2>(info.param) ? "Committed" : "ByHost");
}

INSTANTIATE_TEST_SUITE_P(Drafters, Speculative,
                         ::testing::Combine(::testing::ValuesIn(kSchemes),
                                            ::testing::Values(Drafter::kRandom, Drafter::kMatching, Drafter::kAdversarial, Drafter::kHalf), ::testing::Bool()),
                         NameOf);

// A window that stands only among the drafts counts as stood, as it would once they are committed.
TEST(SpeculativeWindows, RepeatedAmongTheDrafts) {
  for (Scheme scheme : kSchemes) {
    const EpochKeys epoch = MakeEpoch(scheme, kVocabulary);
    Serving server(epoch);
    ASSERT_EQ(server.Begin(0, "org-1", kAsked), COUNTERMARK_OK);
    ASSERT_EQ(server.Commit(0, {1, 2, 3}), COUNTERMARK_OK);
    // Drafts 1 2 9 1 2: depths 2 and 5 stand behind the window (1, 2), which stood at position 2; depth 5's also behind depth 2's.
    StepInput step;
    for (int32_t d = 0; d < 6; ++d) {
      step.slots.push_back(0);
      step.depths.push_back(d);
      step.logits.push_back(RowAfter(static_cast<uint32_t>(d), kVocabulary, 2));
    }
    step.drafts = {1, 2, 9, 8, 7, 0};
    Rows rows = server.Sample(step);
    EXPECT_EQ(rows.causes[2], Cause::kRepeatedWindow);
    EXPECT_EQ(rows.causes[4], Cause::kMarked);
    step.drafts = {9, 8, 9, 8, 7, 0};  // (9, 8) stands before depth 2 and, among the drafts alone, again before depth 4
    rows = server.Sample(step);
    EXPECT_EQ(rows.causes[2], Cause::kMarked);
    EXPECT_EQ(rows.causes[4], Cause::kRepeatedWindow);
    EXPECT_EQ(server.Counters(0), std::vector<uint64_t>({0, 0, 0, 0, 3, 0, 0, 0}));  // nothing was committed
  }
}

TEST(SpeculativeRows, ThirtyOneDraftsAndNoMore) {
  const EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  const Plain plain = PlainText(epoch, 40);
  Serving server(epoch);
  ASSERT_EQ(server.Begin(0, "org-1", kAsked), COUNTERMARK_OK);
  StepInput step{.commit = true};
  std::vector<uint32_t> text;
  for (int32_t d = 0; d <= 32; ++d) {  // one too many
    step.slots.push_back(0);
    step.depths.push_back(d);
    step.logits.push_back(RowOf(text));
    step.drafts.push_back(static_cast<int32_t>(plain.text[static_cast<size_t>(d)]));
    text.push_back(plain.text[static_cast<size_t>(d)]);
  }
  const Rows rows = server.Sample(step);
  EXPECT_EQ(rows.accepted[0], COUNTERMARK_MAX_DRAFTS + 1);
  EXPECT_EQ(rows.causes[32], Cause::kFault);
  EXPECT_EQ(server.Metrics().bad_slots, 1u);
  uint64_t total = 0;
  for (uint64_t n : server.Counters(0)) total += n;
  EXPECT_EQ(total, 32u);
}

}  // namespace
}  // namespace countermark::testing
