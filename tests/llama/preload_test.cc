// The parts of the preload library under libllama's own functions: configuration, counters, and the sampler that a chain gets. The whole is tested in the
// real llama-server (tests/servers).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <llama.h>
#include <sys/stat.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include "countermark/keys/key_store.h"
#include "src/base/file.h"
#include "src/base/hex.h"
#include "src/llama/preload_config.h"
#include "src/llama/preload_counters.h"
#include "src/llama/preload_service.h"
#include "src/llama/sampler.h"
#include "tests/sampling/fixture.h"

namespace countermark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kVocabulary = 500;

// A serving host's folder.
class Preload : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("preload-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "state");
    Write("passphrase", "of a bundle that guards nothing\n");
    Write("ticket.key", HexEncode(kTicketKey) + "\n");
  }
  std::string Write(const std::string& name, const std::string& text, mode_t mode = 0600) {
    const std::string path = folder_ / name;
    std::ofstream(path, std::ios::binary) << text;
    chmod(path.c_str(), mode);
    return path;
  }
  std::string Config(const std::string& more = "ticket_key_file = \"ticket.key\"\n") {
    return Write("config.toml", "bundles = [\"*.cmkb\"]\npassphrase_file = \"passphrase\"\nstate_dir = \"state\"\n" + more);
  }
  static std::string Utc(int64_t seconds) {
    const std::time_t t = seconds;
    char text[32];
    std::tm tm{};
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    return text;
  }
  void Bundle(const std::string& name, int64_t first, int64_t last, std::vector<std::string> accounts = {"org-1", "org-2"}, LowEntropyPolicy policy = LowEntropyPolicy::kFloor) {
    EpochKeys keys = testing::MakeEpoch(Scheme::kGumbel, kVocabulary);
    keys.record.epoch = name;
    keys.record.first_use = Utc(first);
    keys.record.last_use = Utc(last);
    keys.record.low_entropy = policy;
    keys.record.channels = {{"base", 26214}, {"account", 26214}, {"request", 13108}};
    keys.accounts = std::move(accounts);
    std::filesystem::remove(folder_ / (name + ".cmkb"));
    ASSERT_TRUE(WriteBundle(folder_ / (name + ".cmkb"), keys, SecretBytes(std::string_view("of a bundle that guards nothing"))).ok());
  }
  static int64_t Now() { return static_cast<int64_t>(std::time(nullptr)); }
  std::string Ticket(const std::string& account, const std::string& label = "r", int64_t lifetime = 60) {
    return *server::TicketKey(Secret32(kTicketKey)).Mint({account, label, Now() + lifetime});
  }
  // A service lives as long as its process, and so does its watching thread.
  PreloadService* Start(const std::string& config) {
    auto service = PreloadService::Start(config);
    EXPECT_TRUE(service.ok()) << service.status();
    return service.ok() ? service->release() : nullptr;
  }
  // What the one counters file says of a series.
  uint64_t Counted(const std::string& series) {
    uint64_t sum = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "state")) {
      const std::string bytes = *ReadWholeFile(entry.path(), 1 << 20);
      EXPECT_EQ(bytes.substr(0, 8), "CMCNT001");
      EXPECT_EQ(bytes.size(), 64u + 254 * 192);
      for (size_t at = 64; at < bytes.size(); at += 192) {
        if (std::string(bytes.c_str() + at + 8) != series) continue;
        uint64_t value;
        std::memcpy(&value, bytes.data() + at, 8);
        sum += value;
      }
    }
    return sum;
  }
  uint64_t Tokens(const std::string& cause) { return Counted("countermark_tokens_total{cause=\"" + cause + "\"}"); }
  uint64_t Requests(const std::string& outcome) { return Counted("countermark_requests_total{outcome=\"" + outcome + "\"}"); }

  static inline const std::array<uint8_t, 32> kTicketKey = {7, 8, 9};
  std::filesystem::path folder_;
};

AskedChain With(std::vector<std::string> tickets) {
  AskedChain asked;
  asked.has_dry = true;
  asked.vocabulary = kVocabulary;
  asked.tickets = std::move(tickets);
  return asked;
}

llama_token Step(llama_sampler* sampler, uint32_t i) {
  const std::vector<float> z = testing::RowAfter(i, kVocabulary, 2);
  std::vector<llama_token_data> data;
  for (size_t t = 0; t < z.size(); ++t) data.push_back({static_cast<llama_token>(t), z[t], 0.0f});
  llama_token_data_array array = {data.data(), data.size(), -1, false};
  llama_sampler_apply(sampler, &array);
  const llama_token token = array.data[array.selected].id;
  llama_sampler_accept(sampler, token);
  return token;
}

// A request: made, given a prompt, n tokens, freed.
std::vector<llama_token> Serve(PreloadService* service, const AskedChain& asked, int n, std::optional<uint64_t> seed = std::nullopt, bool prompt = true) {
  llama_sampler* sampler = *service->Make(asked, seed);
  for (llama_token t = 0; prompt && t < 4; ++t) llama_sampler_accept(sampler, t);
  std::vector<llama_token> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(Step(sampler, static_cast<uint32_t>(i)));
  llama_sampler_free(sampler);
  return tokens;
}

TEST_F(Preload, ConfigurationIsReadAndPathsAreTheFoldersOwn) {
  const auto config = ReadServingConfig(Config("account = \"org-1\"\nmax_slots = 3\n[policy]\nlogprobs = \"deny\"\n[log]\ndirectory = \"x\"\n[gateway]\nupstream = \"y\"\n"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->bundles, ElementsAre((folder_ / "*.cmkb").string()));
  EXPECT_EQ(config->passphrase_file, folder_ / "passphrase");
  EXPECT_EQ(config->state_dir, folder_ / "state");
  EXPECT_EQ(config->account, "org-1");
  EXPECT_EQ(config->ticket_key_file, "");
  Write("b.cmkb", "");
  Write("a.cmkb", "");
  EXPECT_THAT(BundleFiles(*config), ElementsAre((folder_ / "a.cmkb").string(), (folder_ / "b.cmkb").string()));
}

TEST_F(Preload, AFolderWithAPatternsCharactersIsNoPattern) {
  const std::filesystem::path odd = folder_ / "a[b]*c";
  std::filesystem::create_directories(odd);
  Write("a[b]*c/config.toml", "bundles = [\"*.cmkb\"]\npassphrase_file = \"p\"\naccount = \"a\"\n");
  Write("a[b]*c/x.cmkb", "");
  EXPECT_THAT(BundleFiles(*ReadServingConfig(odd / "config.toml")), ElementsAre((odd / "x.cmkb").string()));
}

TEST_F(Preload, ConfigurationErrorsNameTheMember) {
  const auto said = [&](const std::string& text) { return std::string(ReadServingConfig(Write("config.toml", text)).status().message()); };
  EXPECT_THAT(said("bundles = 3"), HasSubstr("bundles is a list"));
  EXPECT_THAT(said("bundles = [3]"), HasSubstr("bundles is a list"));
  EXPECT_THAT(said("a = 1"), HasSubstr("unknown member 'a'"));
  EXPECT_THAT(said("\n\na = = 1"), HasSubstr("line 3"));
  EXPECT_THAT(said("account = \"\""), HasSubstr("account is a text"));
  EXPECT_THAT(said("account = \"" + std::string(255, 'x') + "\""), HasSubstr("254"));
  EXPECT_THAT(said("passphrase_file = \"p\""), HasSubstr("bundles is missing"));
  EXPECT_THAT(said("[policy]\nlow_entropy = 3"), HasSubstr("policy.low_entropy"));
  EXPECT_THAT(said("bundles = [\"*\"]"), HasSubstr("passphrase_file is missing"));
  EXPECT_THAT(said("bundles = [\"*\"]\npassphrase_file = \"p\""), HasSubstr("ticket_key_file"));
  EXPECT_TRUE(absl::IsNotFound(ReadServingConfig(folder_ / "none").status()));
}

TEST_F(Preload, CountersSumAcrossThreads) {
  auto counters = *Counters::Open(folder_ / "state");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([&] { for (int i = 0; i < 1000; ++i) counters->Add(Counters::Of(Cause::kTail)); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(counters->Value(Counters::Of(Cause::kTail)), 4000u);
  EXPECT_EQ(Tokens("tail"), 4000u);
  EXPECT_FALSE(Counters::Open(folder_ / "none").ok());
}

TEST_F(Preload, TicketsGiveAccountsAndTheirLack) {
  Bundle("e", Now() - 60, Now() + 3600);
  PreloadService* const service = Start(Config());
  ASSERT_TRUE(service->CheckFirst(With({})).ok());
  Serve(service, With({Ticket("org-1")}), 20);
  Serve(service, With({Ticket("org-1", "r", -1)}), 20);
  Serve(service, With({Ticket("org-1") + "x"}), 20);
  Serve(service, With({Ticket("org-1"), Ticket("org-2")}), 20);
  Serve(service, With({Ticket("org-9")}), 20);  // signed, and of no registered account
  Serve(service, With({}), 20);
  EXPECT_EQ(Requests("signed"), 2u);
  EXPECT_EQ(Requests("stale"), 1u);
  EXPECT_EQ(Requests("forged"), 2u);
  EXPECT_EQ(Requests("unsigned"), 1u);
  EXPECT_EQ(Counted("countermark_unknown_accounts_total"), 1u);
  uint64_t tokens = 0;
  for (int c = 0; c < kCauses; ++c) tokens += Tokens(CauseName(static_cast<Cause>(c)));
  EXPECT_EQ(tokens, 120u);
  EXPECT_GT(Tokens("off"), 20u);  // five requests without an account's key: three fifths of their windows
  // Never made into a sampler's first apply: counted nowhere.
  llama_sampler_free(*service->Make(With({Ticket("org-1")}), 1));
  EXPECT_EQ(Requests("signed"), 2u);
}

TEST_F(Preload, TheSeatIsTheHooksUnderTheLabelOfEachUseOfATicket) {
  Bundle("e", Now() - 60, Now() + 3600);
  PreloadService* const service = Start(Config());
  const auto keys = OpenBundle(folder_ / "e.cmkb", SecretBytes(std::string_view("of a bundle that guards nothing")));
  const Hook hook = *Hook::Create(*keys);
  const std::string ticket = Ticket("org-2", "label");
  for (int use = 0; use < 3; ++use) {
    RequestOptions options;
    options.account = "org-2";
    options.request = "label/" + std::to_string(use);
    options.seed = 5;
    Request request = *hook.Begin(options);
    RowScratch scratch;
    std::vector<llama_token> expected;
    for (uint32_t i = 0; i < 60; ++i) {
      const std::vector<float> z = testing::RowAfter(i, kVocabulary, 2);
      const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
      request.Commit(choice.token, choice.cause);
      expected.push_back(static_cast<llama_token>(choice.token));
    }
    EXPECT_EQ(Serve(service, With({ticket}), 60, 5), expected) << use;
  }
}

TEST_F(Preload, APortsAccountIsUsedWithoutATicketAndNeverWhereOneIsBad) {
  Bundle("e", Now() - 60, Now() + 3600);
  PreloadService* const service = Start(Config("ticket_key_file = \"ticket.key\"\naccount = \"org-1\"\n"));
  Serve(service, With({}), 5);
  Serve(service, With({"cm1.nonsense"}), 5);
  EXPECT_EQ(Requests("port"), 1u);
  EXPECT_EQ(Requests("forged"), 1u);
  EXPECT_TRUE(absl::IsNotFound(PreloadService::Start(Config("account = \"org-7\"\n")).status()));
}

TEST_F(Preload, DraftsAreCountedApartAndWhatIsVerifiedAnewOnce) {
  Bundle("e", Now() - 60, Now() + 3600);
  PreloadService* const service = Start(Config());
  Serve(service, With({}), 7, std::nullopt, /*prompt=*/false);
  EXPECT_EQ(Counted("countermark_draft_tokens_total"), 7u);
  EXPECT_EQ(Requests("unsigned"), 0u);
  llama_sampler* sampler = *service->Make(With({Ticket("org-1")}), 1);
  llama_sampler_accept(sampler, 3);
  const llama_token first = Step(sampler, 0);
  llama_sampler* saved = llama_sampler_clone(sampler);
  const llama_token second = Step(sampler, 1), third = Step(sampler, 2);
  llama_sampler_copy(saved, sampler);  // back to one token
  llama_sampler_free(saved);
  EXPECT_EQ(Step(sampler, 1), second);
  EXPECT_EQ(Step(sampler, 2), third);
  Step(sampler, 3);
  llama_sampler_reset(sampler);
  llama_sampler_accept(sampler, 3);
  EXPECT_EQ(Step(sampler, 0), first);
  llama_sampler_free(sampler);
  uint64_t tokens = 0;
  for (int c = 0; c < kCauses; ++c) tokens += Tokens(CauseName(static_cast<Cause>(c)));
  EXPECT_EQ(tokens, 5u);
  EXPECT_EQ(Requests("signed"), 2u);
}

TEST_F(Preload, ARequestRaisedToTheFloorDrawsFromItsPrompt) {
  Bundle("e", Now() - 60, Now() + 3600);
  PreloadService* const service = Start(Config());
  EXPECT_EQ(service->low_entropy(), LowEntropyPolicy::kFloor);
  AskedChain low = With({Ticket("org-1")});
  low.below_floor = low.greedy = true;
  EXPECT_EQ(Serve(service, low, 10, 1), Serve(service, low, 10, 2));
  EXPECT_NE(Serve(service, With({Ticket("org-1")}), 10, 1), Serve(service, With({Ticket("org-1")}), 10, 2));
  EXPECT_EQ(Counted("countermark_floored_requests_total"), 2u);
  EXPECT_EQ(Tokens("greedy"), 0u);
}

TEST_F(Preload, APolicyThatAllowsGreedyRequestsCountsThem) {
  Bundle("e", Now() - 60, Now() + 3600, {"org-1"}, LowEntropyPolicy::kAllow);
  EXPECT_THAT(std::string(PreloadService::Start(Config()).status().message()), HasSubstr("policy.low_entropy is floor"));
  PreloadService* const service = Start(Config("ticket_key_file = \"ticket.key\"\n[policy]\nlow_entropy = \"allow\"\n"));
  EXPECT_EQ(service->low_entropy(), LowEntropyPolicy::kAllow);
  AskedChain low = With({Ticket("org-1")});
  low.below_floor = low.greedy = true;
  Serve(service, low, 10);
  EXPECT_EQ(Tokens("greedy"), 10u);
  EXPECT_EQ(Counted("countermark_floored_requests_total"), 0u);
}

TEST_F(Preload, AnotherTerminalSamplerGivesWayAndIsCounted) {
  Bundle("e", Now() - 60, Now() + 3600);
  PreloadService* const service = Start(Config());
  ASSERT_TRUE(service->CheckFirst(With({})).ok());
  AskedChain asked = With({});
  for (const char* name : {"mirostat", "mirostat_v2", "adaptive_p"}) {
    asked.instead_of = name;
    EXPECT_TRUE(absl::IsFailedPrecondition(service->CheckFirst(asked)));
    Serve(service, asked, 10);
    EXPECT_EQ(Counted("countermark_replaced_samplers_total{sampler=\"" + std::string(name) + "\"}"), 1u);
  }
  EXPECT_GT(Tokens("marked"), 0u);
  asked = With({});
  asked.has_dry = false;
  EXPECT_TRUE(absl::IsFailedPrecondition(service->CheckFirst(asked)));
  for (const int32_t vocabulary : {499, 500 + 1025}) {
    asked = With({});
    asked.vocabulary = vocabulary;
    EXPECT_THAT(std::string(service->CheckFirst(asked).message()), HasSubstr("a vocabulary of 500"));
  }
}

// The watching thread looks every three seconds.
TEST_F(Preload, TheNextEpochAndNewAccountsComeWithoutARestartAndRequestsKeepTheirs) {
  const int64_t change = Now() + 10;  // bundles are written and opened before it, a second's work, however busy this machine is
  Bundle("first", Now() - 60, change + 60, {"org-1"});
  PreloadService* const service = Start(Config());
  llama_sampler* old = *service->Make(With({Ticket("org-1")}), 1);
  llama_sampler_accept(old, 3);
  Step(old, 0);
  EXPECT_THAT(service->Describe(), HasSubstr("/first"));
  Write("broken.cmkb", "nothing");  // said, counted, and in nobody's way
  Bundle("second", change, change + 3600, {"org-1", "org-2"});
  Serve(service, With({Ticket("org-2")}), 5);
  EXPECT_EQ(Counted("countermark_unknown_accounts_total"), 1u);
  // However slowly this machine opens bundles: a minute is beyond all.
  for (int i = 0; i < 600 && service->Describe().find("/second") == std::string::npos; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_GE(Now(), change);
  EXPECT_THAT(service->Describe(), HasSubstr("/second"));
  Serve(service, With({Ticket("org-2")}), 5);
  EXPECT_EQ(Counted("countermark_unknown_accounts_total"), 1u);
  EXPECT_EQ(Counted("countermark_bundle_failures_total"), 1u);
  Step(old, 1);  // of an epoch that has passed: it goes on
  llama_sampler_free(old);
  EXPECT_EQ(Tokens("fault"), 0u);
  EXPECT_EQ(Counted("countermark_ended_epochs_total"), 0u);
}

TEST_F(Preload, WithoutAnEpochInUseRequestsAreServedPlainlyAndEachTokenIsCounted) {
  const int64_t end = Now() + 10;  // the same
  Bundle("short", Now() - 60, end);
  PreloadService* const service = Start(Config());
  while (Now() <= end) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  Serve(service, With({Ticket("org-2")}), 5);
  EXPECT_EQ(Counted("countermark_ended_epochs_total"), 1u);
  EXPECT_EQ(Tokens("fault"), 5u);
  EXPECT_TRUE(absl::IsFailedPrecondition(PreloadService::Start(Config()).status()));
}

}  // namespace
}  // namespace countermark
