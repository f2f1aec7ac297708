// What is refused before anything is served, and what the structs and handles of the C interface allow.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include <gmock/gmock.h>

#include "tests/server/serving.h"

namespace countermark::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint32_t kVocabulary = 64;

// A copy of a bundle that a test may spoil.
std::string CopyOf(const EpochKeys& epoch, size_t bytes, mode_t mode) {
  const std::string from = Bundles::PathOf(epoch), to = from + ".spoilt";
  std::ifstream in(from, std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(in), {});
  std::filesystem::remove(to);
  std::ofstream(to, std::ios::binary).write(whole.data(), static_cast<std::streamsize>(std::min(bytes, whole.size())));
  chmod(to.c_str(), mode);
  return to;
}

TEST(ServerKeys, RefusesOnAnyDoubt) {
  const EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  TestKeys keys;
  EXPECT_EQ(keys.Open(Bundles::PathOf(epoch), "not this one"), COUNTERMARK_DENIED);
  EXPECT_THAT(countermark_keys_message(keys.keys), HasSubstr("wrong passphrase"));
  EXPECT_THAT(countermark_keys_message(keys.keys), Not(HasSubstr("not this one")));
  EXPECT_EQ(keys.Open(CopyOf(epoch, SIZE_MAX, 0604)), COUNTERMARK_DENIED);
  EXPECT_THAT(countermark_keys_message(keys.keys), HasSubstr(".spoilt"));
  EXPECT_EQ(keys.Open(CopyOf(epoch, SIZE_MAX, 0640)), COUNTERMARK_DENIED);
  for (size_t bytes : {0u, 3u, 20u, 60u, 200u}) EXPECT_EQ(keys.Open(CopyOf(epoch, bytes, 0600)), COUNTERMARK_CORRUPT) << bytes;
  EXPECT_EQ(keys.Open("/no/such/bundle"), COUNTERMARK_NOT_FOUND);
  EXPECT_EQ(keys.Open(std::filesystem::temp_directory_path().string()), COUNTERMARK_DENIED);
  EXPECT_EQ(countermark_keys_epoch(keys.keys), nullptr);  // none of them was taken
  EXPECT_EQ(keys.Open(CopyOf(epoch, SIZE_MAX, 0600)), COUNTERMARK_OK) << countermark_keys_message(keys.keys);
  EXPECT_STREQ(countermark_keys_message(keys.keys), "");
}

TEST(ServerKeys, PassphraseByDescriptor) {
  const std::string path = Bundles::PathOf(MakeEpoch(Scheme::kGumbel, kVocabulary));
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string text = std::string(Bundles::kPassphrase) + "\n";
  ASSERT_EQ(write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  close(ends[1]);
  TestKeys keys;
  const countermark_passphrase source = {sizeof source, ends[0], nullptr, nullptr};
  EXPECT_EQ(countermark_keys_open_bundle(keys.keys, path.c_str(), &source), COUNTERMARK_OK) << countermark_keys_message(keys.keys);
  EXPECT_EQ(countermark_keys_open_bundle(keys.keys, path.c_str(), &source), COUNTERMARK_INVALID_ARGUMENT);  // nothing is left to read
  close(ends[0]);
}

struct Seen {
  char* buffer = nullptr;
  size_t size = 0;
  int answer = 0;
};

TEST(ServerKeys, PassphraseByCallback) {
  const std::string path = Bundles::PathOf(MakeEpoch(Scheme::kGumbel, kVocabulary));
  TestKeys keys;
  EXPECT_EQ(keys.Open(path, std::string(Bundles::kPassphrase) + "\n"), COUNTERMARK_OK);  // a last newline is dropped
  EXPECT_EQ(keys.Open(path, ""), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(keys.Open(path, "\n"), COUNTERMARK_INVALID_ARGUMENT);
  for (const auto& [answer, expected] : {std::pair{-1, COUNTERMARK_DENIED}, std::pair{1 << 20, COUNTERMARK_INVALID_ARGUMENT}}) {
    Seen seen;
    seen.answer = answer;
    const auto callback = [](void* user, char* buffer, size_t size) {
      static_cast<Seen*>(user)->buffer = buffer;
      static_cast<Seen*>(user)->size = size;
      return static_cast<Seen*>(user)->answer;
    };
    const countermark_passphrase source = {sizeof source, 0, callback, &seen};
    EXPECT_EQ(countermark_keys_open_bundle(keys.keys, path.c_str(), &source), expected);
    EXPECT_GE(seen.size, 1024u);
  }
}

TEST(ServerKeys, NullsAreAnswered) {
  countermark_keys_free(nullptr);
  countermark_hook_free(nullptr);
  EXPECT_EQ(countermark_keys_open_bundle(nullptr, "x", nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_keys_epoch(nullptr), nullptr);
  EXPECT_STREQ(countermark_keys_message(nullptr), "no keys");
  EXPECT_STREQ(countermark_hook_message(nullptr), "no hook");
  EXPECT_EQ(countermark_hook_create(nullptr, nullptr, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_sample(nullptr, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_bias(nullptr, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_begin(nullptr, 0, nullptr, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_commit(nullptr, 0, nullptr, 0, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_commit_rows(nullptr, nullptr, nullptr, 0, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_rollback(nullptr, 0, 0, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_rebuild(nullptr, 0, nullptr, 0, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_end(nullptr, 0, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_metrics_read(nullptr, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_request_counters(nullptr, 0, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  TestKeys keys;
  EXPECT_EQ(countermark_keys_open_bundle(keys.keys, nullptr, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_EQ(countermark_hook_create(keys.keys, nullptr, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_STREQ(countermark_version(), "0.1.0");
  EXPECT_STREQ(countermark_status_name(COUNTERMARK_WRONG_EPOCH), "wrong epoch");
  EXPECT_STREQ(countermark_status_name(static_cast<countermark_status>(99)), "unknown status");
}

// A struct as a caller of another version knows it.
template <typename T>
struct Grown {
  T known;
  uint64_t later[3];
};

TEST(ServerStructs, OfOtherVersions) {
  Serving server(MakeEpoch(Scheme::kGumbel, kVocabulary));
  Grown<countermark_request> request = {countermark_default_request(), {0, 0, 0}};
  request.known.account = "org-1";
  request.known.struct_size = sizeof request;
  EXPECT_EQ(countermark_begin(server.hook, 0, &request.known, nullptr), COUNTERMARK_OK);
  request.later[2] = 1;  // a member that this library does not know, and it is set
  EXPECT_EQ(countermark_begin(server.hook, 0, &request.known, nullptr), COUNTERMARK_INVALID_ARGUMENT);
  EXPECT_THAT(server.message(), HasSubstr("struct_size"));
  EXPECT_EQ(server.Metrics().slots_in_use, 0);  // after a failure the slot is empty
  // An older caller, who knows the account alone: the rest has its defaults, whatever lies behind.
  request.known.temperature = -5.0f;
  request.known.struct_size = offsetof(countermark_request, request);
  EXPECT_EQ(countermark_begin(server.hook, 0, &request.known, nullptr), COUNTERMARK_OK) << server.message();
  for (size_t size : {size_t{0}, size_t{8}, size_t{17}, sizeof(countermark_request) - 4, size_t{1} << 40}) {
    request.known.struct_size = size;
    EXPECT_EQ(countermark_begin(server.hook, 0, &request.known, nullptr), COUNTERMARK_INVALID_ARGUMENT) << size;
  }

  Grown<countermark_metrics> metrics = {};
  metrics.known.struct_size = sizeof metrics;
  EXPECT_EQ(countermark_metrics_read(server.hook, &metrics.known), COUNTERMARK_OK);
  EXPECT_EQ(metrics.known.requests, 2u);
  EXPECT_EQ(metrics.known.struct_size, sizeof metrics);
  metrics.known.struct_size = offsetof(countermark_metrics, requests);
  metrics.known.requests = 777;
  EXPECT_EQ(countermark_metrics_read(server.hook, &metrics.known), COUNTERMARK_OK);
  EXPECT_EQ(metrics.known.requests, 777u);  // not what the caller did not ask for
  metrics.known.struct_size = 3;
  EXPECT_EQ(countermark_metrics_read(server.hook, &metrics.known), COUNTERMARK_INVALID_ARGUMENT);

  Grown<countermark_batch> batch = {countermark_default_batch(), {0, 0, 1}};
  batch.known.struct_size = sizeof batch;
  EXPECT_EQ(countermark_sample(server.hook, &batch.known), COUNTERMARK_INVALID_ARGUMENT);
  batch.later[2] = 0;
  EXPECT_EQ(countermark_sample(server.hook, &batch.known), COUNTERMARK_OK);  // no rows
}

TEST(ServerStructs, OptionsOutOfRange) {
  TestKeys keys;
  keys.Open(MakeEpoch(Scheme::kGumbel, kVocabulary));
  const auto refused = [&](auto change, countermark_status expected = COUNTERMARK_INVALID_ARGUMENT) {
    countermark_hook_options options = countermark_hook_default_options();
    options.max_slots = 2;
    change(&options);
    countermark_hook* hook = nullptr;
    EXPECT_EQ(countermark_hook_create(keys.keys, &options, &hook), expected) << countermark_keys_message(keys.keys);
    EXPECT_EQ(hook, nullptr);
    EXPECT_STRNE(countermark_keys_message(keys.keys), "");
  };
  refused([](countermark_hook_options* o) { o->max_slots = 0; });
  refused([](countermark_hook_options* o) { o->max_rows = -1; });
  refused([](countermark_hook_options* o) { o->max_length = 0; });
  refused([](countermark_hook_options* o) { o->max_columns = static_cast<int32_t>(kVocabulary) - 1; });
  refused([](countermark_hook_options* o) { o->scheme = 4; });
  refused([](countermark_hook_options* o) { o->tournament_candidates = -1; });
  refused([](countermark_hook_options* o) { o->account_cache = -1; });
  refused([](countermark_hook_options* o) { o->marking = 2; });
  refused([](countermark_hook_options* o) { o->device = -2; });
  refused([](countermark_hook_options* o) { o->struct_size = 4; });
  if (kOnHost && countermark_has_cuda() == 0) refused([](countermark_hook_options* o) { o->device = 0; }, COUNTERMARK_DEVICE);
}

}  // namespace
}  // namespace countermark::testing
