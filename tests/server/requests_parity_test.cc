// Begin, commit, roll back, rebuild, end: each sequence of them leaves a slot as it leaves a countermark::Request, and the totals add up.
#include "tests/server/serving.h"

#include <algorithm>
#include <numeric>

namespace countermark::testing {
namespace {

constexpr uint32_t kVocabulary = 200;
constexpr int kSlots = 5;

// None that a row of logits could have given: beyond the vocabulary, as a host's own additions may be.
std::vector<uint32_t> RandomTokens(std::mt19937* random, size_t n, uint32_t kinds) {
  std::vector<uint32_t> tokens(n);
  for (uint32_t& t : tokens) t = kVocabulary + static_cast<uint32_t>((*random)() % kinds);
  return tokens;
}

TEST(ServerRequests, AnySequenceOfCallsLeavesWhatTheRequestHas) {
  for (Scheme scheme : kSchemes) {
    const EpochKeys epoch = MakeEpoch(scheme, kVocabulary);
    Serving server(epoch);
    const Hook hook = ReferenceHook(epoch);
    RowScratch scratch;
    std::vector<std::optional<Request>> requests(kSlots);
    std::array<uint64_t, 8> ended = {};  // tokens of requests that are gone
    std::mt19937 random(17 + static_cast<uint32_t>(scheme));
    for (int round = 0; round < Rounds(3000, 120); ++round) {
      const int32_t slot = static_cast<int32_t>(random() % kSlots);
      std::optional<Request>& request = requests[static_cast<size_t>(slot)];
      const unsigned what = random() % 12;
      if (!request.has_value() || what == 0) {
        const Asked asked = {.request = std::to_string(round), .temperature = 1.1f, .top_p = 0.9f, .seed = random()};
        if (request) {
          for (size_t i = 0; i < 8; ++i) ended[i] += CountersOf(*request)[i];
        }
        request = *hook.Begin(asked.Options("org-1"));
        ASSERT_EQ(server.Begin(slot, "org-1", asked), COUNTERMARK_OK);
      } else if (what == 1) {
        for (size_t i = 0; i < 8; ++i) ended[i] += CountersOf(*request)[i];
        request.reset();
        ASSERT_EQ(countermark_end(server.hook, slot, nullptr), COUNTERMARK_OK);
        continue;
      } else if (what == 2) {
        const size_t n = random() % 9;
        ASSERT_EQ(countermark_rollback(server.hook, slot, n, nullptr), COUNTERMARK_OK);
        ASSERT_TRUE(request->Rollback(std::min(n, request->size())).ok());  // here more is all
      } else if (what == 3) {
        std::vector<uint32_t> tokens(request->tokens().begin(), request->tokens().end());
        tokens.resize(tokens.empty() ? 0 : random() % tokens.size());
        const std::vector<uint32_t> more = RandomTokens(&random, random() % 6, 4);
        tokens.insert(tokens.end(), more.begin(), more.end());
        ASSERT_EQ(server.Rebuild(slot, tokens), COUNTERMARK_OK);
        request->Rebuild(tokens);
      } else if (what == 4) {
        const std::vector<uint32_t> tokens = RandomTokens(&random, random() % 5, 6);  // few kinds: windows repeat
        ASSERT_EQ(server.Commit(slot, tokens), COUNTERMARK_OK);
        for (uint32_t t : tokens) request->Commit(t, Cause::kForced);
      } else {
        const std::vector<float> z = RowAfter(static_cast<uint32_t>(random()), kVocabulary, 1.5f);
        const Choice choice = *hook.Choose(*request, {z.data(), z.size()}, &scratch);
        const bool commit = random() % 2;
        const Rows rows = server.Sample({.slots = {slot}, .logits = {z}, .commit = commit});
        ASSERT_EQ(rows.tokens[0], static_cast<int32_t>(choice.token)) << "round " << round;
        ASSERT_EQ(rows.causes[0], choice.cause) << "round " << round;
        if (commit) {
          request->Commit(choice.token, choice.cause);
        } else if (random() % 2) {  // by row, as a host whose tokens stay on the device
          const Reachable<int32_t> slots = {slot}, tokens = {rows.tokens[0]};
          ASSERT_EQ(countermark_commit_rows(server.hook, slots.data(), tokens.data(), 1, nullptr), COUNTERMARK_OK);
          WaitForDevice();
          request->Commit(choice.token, choice.cause);
        }
      }
      if (request.has_value()) {
        ASSERT_EQ(server.Counters(slot), CountersOf(*request)) << "round " << round << ", call " << what;
      }
    }
    std::array<uint64_t, 8> all = ended;
    for (const std::optional<Request>& request : requests) {
      for (size_t i = 0; request && i < 8; ++i) all[i] += CountersOf(*request)[i];
    }
    const countermark_metrics m = server.Metrics();
    EXPECT_EQ((std::array<uint64_t, 8>{m.marked, m.start, m.greedy, m.repeated_window, m.forced, m.tail, m.fault, m.off}), all);
    EXPECT_EQ(m.slots, 8);
    EXPECT_EQ(m.slots_in_use, std::count_if(requests.begin(), requests.end(), [](const auto& r) { return r.has_value(); }));
    EXPECT_GE(m.all_steps_seconds, m.last_step_seconds);
  }
}

TEST(ServerRequests, ATokenTheHostPutThereIsForced) {
  const EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  Serving server(epoch);
  ASSERT_EQ(server.Begin(0, "org-1", {.seed = 1}), COUNTERMARK_OK);
  ASSERT_EQ(server.Commit(0, {1, 2, 3}), COUNTERMARK_OK);
  const std::vector<float> z = RowAfter(3, kVocabulary, 2);
  const uint32_t token = static_cast<uint32_t>(server.Sample({.slots = {0}, .logits = {z}}).tokens[0]);
  ASSERT_EQ(server.Commit(0, {(token + 1) % kVocabulary}), COUNTERMARK_OK);
  EXPECT_EQ(server.Counters(0)[0], 0u);
  EXPECT_EQ(server.Counters(0)[4], 4u);
  // What a step said holds for the commit after it, and for that place alone.
  const uint32_t other = static_cast<uint32_t>(server.Sample({.slots = {0}, .logits = {z}}).tokens[0]);
  ASSERT_EQ(countermark_rollback(server.hook, 0, 1, nullptr), COUNTERMARK_OK);
  ASSERT_EQ(server.Commit(0, {other}), COUNTERMARK_OK);
  EXPECT_EQ(server.Counters(0)[0], 0u);
}

// A slot that is begun again knows nothing of what it held: same answers as in a fresh hook, window after window.
TEST(ServerRequests, AReusedSlotLeaksNothing) {
  for (Scheme scheme : kSchemes) {
    const EpochKeys epoch = MakeEpoch(scheme, kVocabulary);
    Serving used(epoch), fresh(epoch);
    for (bool end : {true, false}) {
      ASSERT_EQ(used.Begin(0, "org-2", {.temperature = 0.0f, .prompt = {1, 2}}), COUNTERMARK_OK);
      ASSERT_EQ(used.Commit(0, {5, 6, 5, 6, 5, 6, 7, 8}), COUNTERMARK_OK);
      (void)used.Sample({.slots = {0}, .logits = {RowAfter(8, kVocabulary, 2)}});  // something noted, never committed
      if (end) {
        ASSERT_EQ(countermark_end(used.hook, 0, nullptr), COUNTERMARK_OK);
        EXPECT_EQ(used.Counters(0), std::vector<uint64_t>(8, 0));
      }
      const Asked asked = {.temperature = 0.9f, .seed = 4};
      ASSERT_EQ(used.Begin(0, "org-1", asked), COUNTERMARK_OK);
      ASSERT_EQ(fresh.Begin(0, "org-1", asked), COUNTERMARK_OK);
      EXPECT_EQ(used.Counters(0), std::vector<uint64_t>(8, 0));
      for (uint32_t step = 0; step < static_cast<uint32_t>(Rounds(40, 6)); ++step) {
        const std::vector<float> z = RowAfter(step % 3, kVocabulary, 3);
        const Rows a = used.Sample({.slots = {0}, .logits = {z}, .commit = true}), b = fresh.Sample({.slots = {0}, .logits = {z}, .commit = true});
        ASSERT_EQ(a.tokens, b.tokens);
        ASSERT_EQ(a.causes, b.causes);
      }
    }
  }
}

// Tokens beyond max_length are counted as faults, and come back off again.
TEST(ServerRequests, TooLong) {
  for (Scheme scheme : kSchemes) {
    const EpochKeys epoch = MakeEpoch(scheme, kVocabulary);
    Serving server(epoch, [](countermark_hook_options* o) { o->max_length = 10; });
    ASSERT_EQ(server.Begin(0, "org-1", {.seed = 1}), COUNTERMARK_OK);
    ASSERT_EQ(server.Commit(0, {1, 2, 3, 4, 5, 6, 7, 8, 9}), COUNTERMARK_OK);
    std::vector<Cause> causes;
    for (uint32_t step = 0; step < 4; ++step) {
      const Rows rows = server.Sample({.slots = {0, 0}, .logits = {RowAfter(step, kVocabulary, 2), RowAfter(step, kVocabulary, 2)}, .depths = {0, 1}, .drafts = {-1, 0}, .commit = true});
      ASSERT_EQ(rows.status, COUNTERMARK_OK);
      ASSERT_GE(rows.tokens[0], 0);
      ASSERT_EQ(rows.causes[1], Cause::kFault);  // one further on is beyond
      causes.push_back(rows.causes[0]);
    }
    EXPECT_EQ(causes, (std::vector<Cause>{Cause::kMarked, Cause::kFault, Cause::kFault, Cause::kFault}));
    EXPECT_EQ(server.Counters(0), std::vector<uint64_t>({1, 0, 0, 0, 9, 0, 3, 0}));
    EXPECT_EQ(server.Metrics().too_long, 3u);
    ASSERT_EQ(countermark_rollback(server.hook, 0, 5, nullptr), COUNTERMARK_OK);
    EXPECT_EQ(server.Counters(0), std::vector<uint64_t>({0, 0, 0, 0, 8, 0, 0, 0}));
    std::vector<uint32_t> tokens(14);
    std::iota(tokens.begin(), tokens.end(), 1u);
    ASSERT_EQ(server.Rebuild(0, tokens), COUNTERMARK_OK);
    EXPECT_EQ(server.Counters(0), std::vector<uint64_t>({0, 0, 0, 0, 10, 0, 4, 0}));
    EXPECT_EQ(server.Metrics().fault, 4u);
    ASSERT_EQ(server.Rebuild(0, {}), COUNTERMARK_OK);
    EXPECT_EQ(server.Counters(0), std::vector<uint64_t>(8, 0));
    EXPECT_EQ(server.Metrics().fault, 0u);
  }
}

}  // namespace
}  // namespace countermark::testing
