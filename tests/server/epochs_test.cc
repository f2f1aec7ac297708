// Which epoch a request gets, what it keeps, and what is refused: with a clock that the test sets.
#include <string>

#include "src/server/epochs.h"
#include "tests/server/serving.h"

namespace countermark::testing {
namespace {

using ::testing::Test;

constexpr uint32_t kVocabulary = 120;

EpochKeys EpochNamed(const std::string& name, const std::string& first, const std::string& last, uint64_t seed, Scheme scheme = Scheme::kGumbel,
                     uint32_t vocabulary = kVocabulary) {
  EpochKeys epoch = MakeEpoch(scheme, vocabulary, seed);
  epoch.record.epoch = name;
  epoch.record.first_use = first;
  epoch.record.last_use = last;
  return epoch;
}

const EpochKeys kNovember = EpochNamed("2026-11", "2026-11-01T00:00:00Z", "2026-11-30T23:59:59Z", 1);
const EpochKeys kDecember = EpochNamed("2026-12", "2026-12-01T00:00:00Z", "2026-12-31T23:59:59Z", 2);

TEST(Epochs, SecondsAreThoseOfTheCalendar) {
  // From date -u -d … +%s.
  EXPECT_EQ(server::SecondsOf("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(server::SecondsOf("2000-02-29T12:34:56Z"), 951827696);
  EXPECT_EQ(server::SecondsOf("2026-11-30T23:59:59Z"), 1796083199);
  EXPECT_EQ(server::SecondsOf("2100-03-01T00:00:00Z"), 4107542400);
  EXPECT_EQ(server::SecondsOf("9999-12-31T23:59:59Z"), 253402300799);
  EXPECT_EQ(server::SecondsOf("1969-12-31T23:59:59Z"), -1);
}

// The tokens of a request under an epoch, as the C++ hook gives them.
std::vector<uint32_t> Reference(const EpochKeys& epoch, const Asked& asked, int n) {
  const Hook hook = ReferenceHook(epoch);
  Request request = *hook.Begin(asked.Options("org-1"));
  RowScratch scratch;
  for (int i = 0; i < n; ++i) {
    const std::vector<float> z = RowAfter(static_cast<uint32_t>(i), kVocabulary, 2);
    const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
    request.Commit(choice.token, choice.cause);
  }
  return {request.tokens().begin(), request.tokens().end()};
}

void Continue(Serving* server, int32_t slot, int from, int to, std::vector<uint32_t>* text) {
  for (int i = from; i < to; ++i) {
    const Rows rows = server->Sample({.slots = {slot}, .logits = {RowAfter(static_cast<uint32_t>(i), kVocabulary, 2)}, .commit = true});
    text->push_back(static_cast<uint32_t>(rows.tokens[0]));
  }
}

TEST(Epochs, ARequestKeepsItsOwnWhenTheNextBegins) {
  TestKeys keys("2026-11-30T23:59:00Z");
  keys.Open(kNovember);
  Serving server(&keys);
  const Asked asked = {.seed = 3};
  const std::vector<uint32_t> november = Reference(kNovember, asked, 20), december = Reference(kDecember, asked, 20);
  ASSERT_NE(november, december);
  std::vector<uint32_t> first, second, third;
  ASSERT_EQ(server.Begin(0, "org-1", asked), COUNTERMARK_OK);
  Continue(&server, 0, 0, 10, &first);
  keys.Open(kDecember);  // ahead of its time, while serving
  EXPECT_STREQ(countermark_keys_epoch(keys.keys), "acme/2026-11");
  ASSERT_EQ(server.Begin(1, "org-1", asked), COUNTERMARK_OK);
  Continue(&server, 1, 0, 10, &second);
  keys.SetTime("2026-12-01T00:00:00Z");
  EXPECT_STREQ(countermark_keys_epoch(keys.keys), "acme/2026-12");
  ASSERT_EQ(server.Begin(2, "org-1", asked), COUNTERMARK_OK);
  Continue(&server, 0, 10, 20, &first);
  Continue(&server, 2, 0, 20, &third);
  Continue(&server, 1, 10, 20, &second);
  EXPECT_EQ(first, november);
  EXPECT_EQ(second, november);
  EXPECT_EQ(third, december);
  EXPECT_EQ(server.Metrics().fault, 0u);
}

TEST(Epochs, BothEndsBelongToTheEpoch) {
  TestKeys keys("2026-11-01T00:00:00Z");
  keys.Open(kNovember);
  EXPECT_STREQ(countermark_keys_epoch(keys.keys), "acme/2026-11");
  keys.SetTime("2026-11-30T23:59:59Z");
  EXPECT_STREQ(countermark_keys_epoch(keys.keys), "acme/2026-11");
  keys.SetTime("2026-12-01T00:00:00Z");
  EXPECT_EQ(countermark_keys_epoch(keys.keys), nullptr);
  keys.SetTime("2026-10-31T23:59:59Z");
  EXPECT_EQ(countermark_keys_epoch(keys.keys), nullptr);
}

TEST(Epochs, OfTwoTheOneThatStartedLast) {
  TestKeys keys("2026-11-20T00:00:00Z");
  const EpochKeys late = EpochNamed("late", "2026-11-15T00:00:00Z", "2026-11-18T00:00:00Z", 9);
  keys.Open(late);
  keys.Open(kNovember);
  EXPECT_STREQ(countermark_keys_epoch(keys.keys), "acme/2026-11");  // the other has ended
  keys.SetTime("2026-11-16T00:00:00Z");
  EXPECT_STREQ(countermark_keys_epoch(keys.keys), "acme/late");
}

TEST(Epochs, AHookNeedsOneInUse) {
  TestKeys keys("2027-01-01T00:00:00Z");
  countermark_hook_options options = countermark_hook_default_options();
  options.device = kTestDevice;
  countermark_hook* hook = reinterpret_cast<countermark_hook*>(1);
  EXPECT_EQ(countermark_hook_create(keys.keys, &options, &hook), COUNTERMARK_WRONG_EPOCH);
  EXPECT_EQ(hook, nullptr);
  EXPECT_NE(std::string(countermark_keys_message(keys.keys)).find("open are: none"), std::string::npos);
  keys.Open(kNovember);
  EXPECT_EQ(countermark_hook_create(keys.keys, &options, &hook), COUNTERMARK_WRONG_EPOCH);
  EXPECT_NE(std::string(countermark_keys_message(keys.keys)).find("acme/2026-11 (2026-11-01T00:00:00Z to 2026-11-30T23:59:59Z)"), std::string::npos)
      << countermark_keys_message(keys.keys);
  keys.SetTime("2026-11-02T00:00:00Z");
  options.scheme = 1;
  EXPECT_EQ(countermark_hook_create(keys.keys, &options, &hook), COUNTERMARK_WRONG_EPOCH);
  EXPECT_NE(std::string(countermark_keys_message(keys.keys)).find("gumbel scheme, and this hook with partition"), std::string::npos) << countermark_keys_message(keys.keys);
  options.scheme = 3;
  options.vocabulary = kVocabulary + 1;
  EXPECT_EQ(countermark_hook_create(keys.keys, &options, &hook), COUNTERMARK_WRONG_EPOCH);
  EXPECT_NE(std::string(countermark_keys_message(keys.keys)).find("vocabulary of 120 tokens, and this hook for 121"), std::string::npos);
  options.vocabulary = kVocabulary;
  EXPECT_EQ(countermark_hook_create(keys.keys, &options, &hook), COUNTERMARK_OK);
  countermark_hook_free(hook);
}

// A request that has no epoch goes on unmarked, by its own parameters, and is counted; requests that run are not touched.
TEST(Epochs, EndedOrOfAnotherKind) {
  struct Wrong {
    const char* what;
    std::optional<EpochKeys> opened;
  };
  const Wrong wrongs[] = {
      {"none", std::nullopt},
      {"scheme", EpochNamed("2026-12", "2026-12-01T00:00:00Z", "2026-12-31T23:59:59Z", 2, Scheme::kPartition)},
      {"vocabulary", EpochNamed("2026-12", "2026-12-01T00:00:00Z", "2026-12-31T23:59:59Z", 2, Scheme::kGumbel, kVocabulary + 8)},
  };
  for (const Wrong& wrong : wrongs) {
    TestKeys keys;
    keys.Open(kNovember);
    Serving server(&keys);
    const Asked asked = {.seed = 8};
    std::vector<uint32_t> running;
    ASSERT_EQ(server.Begin(0, "org-1", asked), COUNTERMARK_OK);
    Continue(&server, 0, 0, 5, &running);
    if (wrong.opened) keys.Open(*wrong.opened);
    keys.SetTime("2026-12-02T00:00:00Z");
    EXPECT_EQ(server.Begin(1, "org-1", {.top_k = 3, .seed = 8}), COUNTERMARK_WRONG_EPOCH) << wrong.what;
    EXPECT_NE(std::string(server.message()), "") << wrong.what;
    Continue(&server, 0, 5, 12, &running);
    EXPECT_EQ(running, Reference(kNovember, asked, 12)) << wrong.what;
    for (uint32_t step = 0; step < 6; ++step) {
      const std::vector<float> z = RowAfter(step, kVocabulary, 2);
      const Rows rows = server.Sample({.slots = {1}, .logits = {z}, .commit = true});
      EXPECT_EQ(rows.causes[0], Cause::kFault);
      std::vector<float> sorted = z;
      std::sort(sorted.rbegin(), sorted.rend());
      EXPECT_GE(z[static_cast<size_t>(rows.tokens[0])], sorted[2]) << "top-k 3 holds";
    }
    ASSERT_EQ(server.Commit(1, {5}), COUNTERMARK_OK);
    EXPECT_EQ(server.Counters(1)[static_cast<size_t>(Cause::kFault)], 7u);
    ASSERT_EQ(server.Rebuild(1, {5, 6, 7}), COUNTERMARK_OK);
    EXPECT_EQ(server.Counters(1), std::vector<uint64_t>({0, 0, 0, 0, 0, 0, 3, 0}));
    EXPECT_EQ(server.Metrics().ended_epochs, 1u);
    EXPECT_EQ(server.Metrics().unknown_accounts, 0u);
    // Back in an epoch of its own kind, the same slot is marked again.
    keys.SetTime("2026-11-02T00:00:00Z");
    std::vector<uint32_t> again;
    ASSERT_EQ(server.Begin(1, "org-1", asked), COUNTERMARK_OK);
    Continue(&server, 1, 0, 8, &again);
    EXPECT_EQ(again, Reference(kNovember, asked, 8));
  }
}

TEST(Epochs, NoAccountIsTheBaseChannelAlone) {
  const EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  Serving server(epoch);
  ASSERT_EQ(server.Begin(0, "", {.seed = 1}), COUNTERMARK_OK) << server.message();
  ASSERT_EQ(server.Begin(1, "org-1", {.seed = 1}), COUNTERMARK_OK);
  const int steps = Rounds(400, 24);
  for (int i = 0; i < steps; ++i) {
    const std::vector<float> z = RowAfter(static_cast<uint32_t>(i), kVocabulary, 1);
    server.Sample({.slots = {0, 1}, .logits = {z, z}, .commit = true});
  }
  const std::vector<uint64_t> nobodys = server.Counters(0), someones = server.Counters(1);
  EXPECT_GT(nobodys[COUNTERMARK_OFF], static_cast<uint64_t>(steps) / 5);
  EXPECT_GT(nobodys[COUNTERMARK_MARKED], static_cast<uint64_t>(steps) / 5);
  EXPECT_EQ(nobodys[COUNTERMARK_OFF] + nobodys[COUNTERMARK_MARKED] + nobodys[COUNTERMARK_START] + nobodys[COUNTERMARK_REPEATED_WINDOW], static_cast<uint64_t>(steps));
  EXPECT_EQ(someones[COUNTERMARK_OFF], 0u);
  EXPECT_EQ(server.Metrics().unknown_accounts, 0u);
  countermark_request request = countermark_default_request();  // names none: a slip
  EXPECT_EQ(countermark_begin(server.hook, 2, &request, nullptr), COUNTERMARK_INVALID_ARGUMENT);
}

TEST(Epochs, UnknownAccount) {
  for (bool greedy : {false, true}) {
    TestKeys keys;
    keys.Open(kNovember);
    Serving server(&keys);
    Asked asked;
    if (greedy) asked.temperature = 0;
    EXPECT_EQ(server.Begin(0, "nobody\nhere", asked), COUNTERMARK_UNKNOWN_ACCOUNT);
    EXPECT_EQ(std::string(server.message()).find('\n'), std::string::npos);
    EXPECT_NE(std::string(server.message()).find("nobody?here"), std::string::npos) << server.message();
    for (uint32_t step = 0; step < 5; ++step) {
      const std::vector<float> z = RowAfter(step, kVocabulary, 2);
      const Rows rows = server.Sample({.slots = {0}, .logits = {z}, .commit = true});
      EXPECT_EQ(rows.causes[0], Cause::kFault);
      if (greedy) {
        EXPECT_EQ(rows.tokens[0], std::max_element(z.begin(), z.end()) - z.begin());
      }
    }
    EXPECT_EQ(server.Metrics().unknown_accounts, 1u);
    EXPECT_EQ(server.Metrics().fault, 5u);
    // The account is registered, and the epoch's new bundle opened: the next request is marked.
    EpochKeys more = kNovember;
    more.accounts.push_back("nobody");
    keys.Open(more);
    EXPECT_EQ(server.Begin(0, "nobody"), COUNTERMARK_OK) << server.message();
  }
}

TEST(Epochs, PolicyDeniesAndTheSlotStaysEmpty) {
  EpochKeys strict = kNovember;
  strict.record.low_entropy = LowEntropyPolicy::kDeny;
  TestKeys keys;
  keys.Open(strict);
  Serving server(&keys);
  ASSERT_EQ(server.Begin(0, "org-1"), COUNTERMARK_OK);
  EXPECT_EQ(server.Begin(0, "org-1", {.temperature = 0.0f}), COUNTERMARK_POLICY);
  EXPECT_EQ(server.Metrics().slots_in_use, 0);
  (void)server.Sample({.slots = {0}, .logits = {RowAfter(1, kVocabulary, 2)}, .commit = true});
  EXPECT_EQ(server.Metrics().bad_slots, 1u);
}

TEST(Epochs, TwoTenantsOrTwoKeysAreADoubt) {
  TestKeys keys;
  keys.Open(kNovember);
  EpochKeys other = kDecember;
  other.record.tenant = "emca";
  EXPECT_EQ(keys.Open(Bundles::PathOf(other)), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_NE(std::string(countermark_keys_message(keys.keys)).find("tenant 'emca'"), std::string::npos) << countermark_keys_message(keys.keys);
  EXPECT_EQ(keys.Open(Bundles::PathOf(EpochNamed("2026-11", "2026-11-01T00:00:00Z", "2026-11-30T23:59:59Z", 77))), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(keys.Open(Bundles::PathOf(EpochNamed("2026-11", "2026-11-02T00:00:00Z", "2026-11-30T23:59:59Z", 1))), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(keys.Open(Bundles::PathOf(kNovember)), COUNTERMARK_OK);  // the same again is none
}

}  // namespace
}  // namespace countermark::testing
