// Faults of every kind, injected into batches in which good requests are served: the good ones get the tokens of a run without any.
#include <cmath>
#include <limits>

#include "tests/server/serving.h"

namespace countermark::testing {
namespace {

constexpr uint32_t kVocabulary = 96;
constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int kGood = 3;
constexpr int32_t kFaultSlot = 5;  // where faulty requests live

std::vector<float> GoodRow(int step, int slot) { return RowAfter(static_cast<uint32_t>(100 * step + slot), kVocabulary, 2); }

const Asked kAsked[kGood] = {{.temperature = 0.9f, .seed = 1}, {.top_k = 20, .seed = 2}, {.top_p = 0.9f, .seed = 3}};

void BeginGood(Serving* server) {
  for (int s = 0; s < kGood; ++s) ASSERT_EQ(server->Begin(s, "org-1", kAsked[s]), COUNTERMARK_OK);
}

struct Injected {
  uint64_t faults = 0;
  uint64_t bad_slots = 0, bad_rows = 0, unknown_accounts = 0, too_long = 0;
};

// Rows of faults appended to a batch.
void AddBadRows(StepInput* step, std::mt19937* random, Injected* injected) {
  const int rows = static_cast<int>((*random)() % 12);
  for (int i = 0; i < rows; ++i) {
    ++injected->faults;
    const unsigned what = (*random)() % 8;
    std::vector<float> z = RowAfter(static_cast<uint32_t>((*random)()), kVocabulary, 2);
    int32_t slot = kFaultSlot + 1, depth = 0;  // a slot that never began
    switch (what) {
      case 0: slot = -1 - static_cast<int32_t>((*random)() % 5); break;
      case 1: slot = static_cast<int32_t>((*random)() >> 1); break;  // of two thousand million
      case 2: break;
      case 3: depth = 1 + static_cast<int32_t>((*random)() % 40); slot = kGood; break;  // follows nothing
      case 4: depth = -1; slot = kGood; break;
      case 5: std::fill(z.begin(), z.end(), -kInfinity); break;
      case 6: std::fill(z.begin(), z.end(), kNan); break;
      case 7: z[3] = kInfinity; break;
    }
    if (slot >= 0 && slot < kGood) slot = 999;
    ++injected->bad_slots;
    injected->bad_rows += what >= 5;
    step->slots.push_back(slot);
    step->depths.push_back(depth);
    step->drafts.push_back(static_cast<int32_t>((*random)()));
    step->logits.push_back(std::move(z));
  }
}

// Calls that must each be refused, or do nothing but count.
void BadCalls(Serving* server, std::mt19937* random, Injected* injected) {
  countermark_hook* hook = server->hook;
  countermark_request request = countermark_default_request();
  request.account = "org-1";
  countermark_batch batch = countermark_default_batch();
  const auto invalid = [&](countermark_status status) {
    ASSERT_EQ(status, COUNTERMARK_INVALID_ARGUMENT);
    ASSERT_STRNE(server->message(), "");
    ++injected->faults;
  };
  int32_t slots[1] = {0};
  int32_t tokens[1];
  float logits[kVocabulary] = {};
  batch.rows = 1;
  batch.slots = slots;
  batch.out_tokens = tokens;
  batch.logits = logits;
  batch.columns = kVocabulary;
  batch.row_stride = kVocabulary;
  countermark_batch b = batch;
  switch ((*random)() % 23) {
    case 0: b.slots = nullptr; invalid(countermark_sample(hook, &b)); break;
    case 1: b.out_tokens = nullptr; invalid(countermark_sample(hook, &b)); break;
    case 2: b.logits = nullptr; invalid(countermark_sample(hook, &b)); break;
    case 3: b.columns = kVocabulary - 1; invalid(countermark_sample(hook, &b)); break;
    case 4: b.row_stride = kVocabulary - 1; invalid(countermark_sample(hook, &b)); break;
    case 5: b.rows = 65; invalid(countermark_sample(hook, &b)); break;
    case 6: b.rows = -1; invalid(countermark_bias(hook, &b)); break;
    case 7: b.dtype = static_cast<countermark_dtype>(3); invalid(countermark_sample(hook, &b)); break;
    case 8: b.depths = slots; invalid(countermark_sample(hook, &b)); break;
    case 9: b.struct_size = 12; invalid(countermark_sample(hook, &b)); break;
    case 10: invalid(countermark_sample(hook, nullptr)); break;
    case 11: b.commit = 1; invalid(countermark_bias(hook, &b)); break;
    case 12: invalid(countermark_begin(hook, 8, &request, nullptr)); break;
    case 13: invalid(countermark_commit(hook, -1, nullptr, 1, nullptr)); break;
    case 14: invalid(countermark_commit(hook, 0, nullptr, 1, nullptr)); break;
    case 15: invalid(countermark_rebuild(hook, 0, nullptr, 2, nullptr)); break;
    case 16: request.temperature = kNan; invalid(countermark_begin(hook, kFaultSlot, &request, nullptr)); break;
    case 17: request.top_p = 1.5f; invalid(countermark_begin(hook, kFaultSlot, &request, nullptr)); break;
    case 18: request.account = nullptr; invalid(countermark_begin(hook, kFaultSlot, &request, nullptr)); break;
    case 20: b.out_tokens = slots; invalid(countermark_sample(hook, &b)); break;
    case 21: b.depths = slots; b.drafts = tokens; invalid(countermark_sample(hook, &b)); break;  // drafts are read after tokens are written
    case 22: b.row_stride = std::numeric_limits<int64_t>::max(); invalid(countermark_sample(hook, &b)); break;
    case 19: b.logits = reinterpret_cast<char*>(logits) + 1; invalid(countermark_sample(hook, &b)); break;
  }
}

class Faults : public ::testing::TestWithParam<Scheme> {};

// 35,000 faults a scheme on the host: more than 10⁵ over the three.
TEST_P(Faults, FailNoGoodRequest) {
  const EpochKeys epoch = MakeEpoch(GetParam(), kVocabulary);
  const auto configure = [](countermark_hook_options* o) { o->max_length = 3000; };
  Serving clean(epoch, configure), faulty(epoch, configure);
  BeginGood(&clean);
  BeginGood(&faulty);
  std::mt19937 random(99);
  Injected injected;
  const uint64_t wanted = static_cast<uint64_t>(Rounds(35000, 220));
  int in_slot = 0;  // what kFaultSlot holds: 0 nothing, 1 an unknown account's request, 2 an over-long one
  for (int step = 0; injected.faults < wanted; ++step) {
    if (step % 2800 == 2799) {  // the good requests start anew before they are too long
      BeginGood(&clean);
      BeginGood(&faulty);
    }
    const unsigned choice = random() % 5;
    if (choice == 0) {
      ASSERT_EQ(faulty.Begin(kFaultSlot, "nobody"), COUNTERMARK_UNKNOWN_ACCOUNT);
      ++injected.unknown_accounts;
      ++injected.faults;
      in_slot = 1;
    } else if (choice == 1 && step % 64 == 0) {
      ASSERT_EQ(faulty.Begin(kFaultSlot, "org-2"), COUNTERMARK_OK);
      ASSERT_EQ(faulty.Commit(kFaultSlot, std::vector<uint32_t>(3001, 7)), COUNTERMARK_OK);
      ++injected.too_long;
      ++injected.faults;
      in_slot = 2;
    } else if (choice == 2) {
      ASSERT_EQ(countermark_end(faulty.hook, kFaultSlot, nullptr), COUNTERMARK_OK);
      ASSERT_EQ(faulty.Commit(kFaultSlot, {1, 2}), COUNTERMARK_OK);  // to nobody
      ++injected.bad_slots;
      ++injected.faults;
      in_slot = 0;
    }
    StepInput good{.commit = true};
    for (int s = 0; s < kGood; ++s) {
      good.slots.push_back(s);
      good.logits.push_back(GoodRow(step, s));
      good.depths.push_back(0);
      good.drafts.push_back(-1);
    }
    StepInput bad = good;
    AddBadRows(&bad, &random, &injected);
    if (in_slot != 0) {
      bad.slots.push_back(kFaultSlot);
      bad.depths.push_back(0);
      bad.drafts.push_back(0);
      bad.logits.push_back(GoodRow(step, 9));
      injected.too_long += in_slot == 2;
      ++injected.faults;
    }
    const Rows a = clean.Sample(good), b = faulty.Sample(bad);
    ASSERT_EQ(a.status, COUNTERMARK_OK);
    ASSERT_EQ(b.status, COUNTERMARK_OK) << faulty.message();
    for (size_t s = 0; s < kGood; ++s) {
      ASSERT_EQ(a.tokens[s], b.tokens[s]) << "step " << step;
      ASSERT_EQ(a.causes[s], b.causes[s]);
      ASSERT_EQ(b.accepted[s], 1);
    }
    for (size_t r = kGood; r < bad.slots.size(); ++r) {
      ASSERT_EQ(b.causes[r], Cause::kFault) << "slot " << bad.slots[r];
      const std::vector<float>& z = bad.logits[r];
      const bool finite = std::any_of(z.begin(), z.end(), [](float x) { return x > -kInfinity; });
      ASSERT_EQ(b.tokens[r] >= 0, finite);
      if (finite) {
        const float chosen = z[static_cast<size_t>(b.tokens[r])];
        ASSERT_TRUE(chosen > -kInfinity);  // not NaN
        ASSERT_TRUE(z[3] != kInfinity || chosen == kInfinity);
      }
    }
    if (kOnHost || step % 4 == 0) BadCalls(&faulty, &random, &injected);
    // A refused begin leaves the slot empty.
    if (faulty.Metrics().slots_in_use == kGood) in_slot = 0;
  }
  for (int s = 0; s < kGood; ++s) EXPECT_EQ(clean.Counters(s), faulty.Counters(s));
  const countermark_metrics m = faulty.Metrics(), c = clean.Metrics();
  EXPECT_EQ(m.bad_slots, injected.bad_slots);
  EXPECT_EQ(m.bad_rows, injected.bad_rows);
  EXPECT_EQ(m.unknown_accounts, injected.unknown_accounts);
  EXPECT_EQ(m.too_long, injected.too_long);
  EXPECT_EQ(m.marked, c.marked);
  EXPECT_EQ(c.fault, 0u);
  EXPECT_GE(injected.faults, wanted);
}

INSTANTIATE_TEST_SUITE_P(Schemes, Faults, ::testing::ValuesIn(kSchemes), [](const ::testing::TestParamInfo<Scheme>& p) { return std::string(SchemeName(p.param)); });

// Bad rows of good requests: NaN is left out, +inf takes all, and nothing finite gives no token and moves nothing.
TEST(FaultyRows, OfAGoodRequest) {
  for (Scheme scheme : kSchemes) {
    const EpochKeys epoch = MakeEpoch(scheme, kVocabulary);
    Serving server(epoch);
    const Hook hook = ReferenceHook(epoch);
    RowScratch scratch;
    Request request = *hook.Begin(kAsked[0].Options("org-1"));
    ASSERT_EQ(server.Begin(0, "org-1", kAsked[0]), COUNTERMARK_OK);
    ASSERT_EQ(server.Commit(0, {1, 2, 3}), COUNTERMARK_OK);
    for (uint32_t t : {1u, 2u, 3u}) request.Commit(t, Cause::kForced);
    for (int kind = 0; kind < 4; ++kind) {
      std::vector<float> z = GoodRow(kind, 0);
      if (kind == 0) z[static_cast<size_t>(std::max_element(z.begin(), z.end()) - z.begin())] = kNan;
      if (kind == 1) z[10] = z[20] = kInfinity;
      if (kind == 2) std::fill(z.begin(), z.end(), kNan);
      if (kind == 3) std::fill(z.begin(), z.end(), -kInfinity);
      const Rows rows = server.Sample({.slots = {0}, .logits = {z}, .commit = true});
      EXPECT_EQ(rows.causes[0], Cause::kFault);
      const absl::StatusOr<Choice> choice = hook.Choose(request, {z.data(), z.size()}, &scratch);
      ASSERT_EQ(choice.ok(), kind < 2);
      if (choice.ok()) {
        EXPECT_EQ(rows.tokens[0], static_cast<int32_t>(choice->token));
        request.Commit(choice->token, choice->cause);
      } else {
        EXPECT_EQ(rows.tokens[0], COUNTERMARK_NO_TOKEN);
        EXPECT_EQ(rows.accepted[0], 0);
        EXPECT_EQ(rows.logprobs[0], -kInfinity);
      }
    }
    EXPECT_EQ(server.Counters(0), CountersOf(request));
    EXPECT_EQ(server.Metrics().bad_rows, 4u);
  }
}

// A slot that is named twice: both rows are answered, one of them is committed.
TEST(FaultyRows, ASlotNamedTwice) {
  Serving server(MakeEpoch(Scheme::kGumbel, kVocabulary));
  ASSERT_EQ(server.Begin(0, "org-1", kAsked[0]), COUNTERMARK_OK);
  const std::vector<float> z = GoodRow(1, 1);
  const Rows rows = server.Sample({.slots = {0, 0}, .logits = {z, z}, .commit = true});
  EXPECT_EQ(rows.tokens[0], rows.tokens[1]);
  EXPECT_EQ(rows.accepted, std::vector<int32_t>({1, 0}));  // the first
  EXPECT_EQ(server.Counters(0)[static_cast<size_t>(Cause::kStart)], 1u);
  EXPECT_EQ(server.Metrics().bad_slots, 1u);
  const Reachable<int32_t> slots = {0, 0, 7, -3, 800}, tokens = {5, 6, 7, 8, 9}, none = {COUNTERMARK_NO_TOKEN};
  ASSERT_EQ(countermark_commit_rows(server.hook, slots.data(), none.data(), 1, nullptr), COUNTERMARK_OK);  // passed over
  ASSERT_EQ(countermark_commit_rows(server.hook, slots.data(), tokens.data(), 5, nullptr), COUNTERMARK_OK);
  EXPECT_EQ(server.Counters(0)[static_cast<size_t>(Cause::kForced)], 1u);
  EXPECT_EQ(server.Metrics().bad_slots, 5u);
}

// A call on a slot that has not begun counts once, however long.
TEST(FaultyCalls, AnEmptySlotIsCountedOnceACall) {
  Serving server(MakeEpoch(Scheme::kGumbel, kVocabulary), [](countermark_hook_options* o) { o->max_length = 16; });
  const std::vector<uint32_t> tokens(100, 3);
  ASSERT_EQ(server.Commit(2, tokens), COUNTERMARK_OK);
  ASSERT_EQ(server.Rebuild(2, tokens), COUNTERMARK_OK);
  ASSERT_EQ(countermark_rollback(server.hook, 2, 5, nullptr), COUNTERMARK_OK);
  EXPECT_EQ(server.Metrics().bad_slots, 3u);
  EXPECT_EQ(server.Metrics().too_long, 0u);
}

}  // namespace
}  // namespace countermark::testing
