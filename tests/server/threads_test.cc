// Hooks in threads of their own that share one set of keys, while bundles are opened: independent, and free of races (the sanitized build looks).
#include <atomic>
#include <thread>

#include "tests/server/serving.h"

namespace countermark::testing {
namespace {

constexpr uint32_t kVocabulary = 100;
constexpr int kSteps = 150;

std::vector<int32_t> Serve(Serving* server, int thread) {
  std::vector<int32_t> tokens;
  for (int step = 0; step < kSteps; ++step) {
    if (step % 30 == 0) {
      EXPECT_EQ(server->Begin(0, thread % 2 ? "org-2" : "org-1", {.request = std::to_string(thread), .seed = 5}), COUNTERMARK_OK);
      EXPECT_EQ(server->Begin(1, "nobody"), COUNTERMARK_UNKNOWN_ACCOUNT);
      EXPECT_NE(std::string(server->message()), "");
    }
    const std::vector<float> z = RowAfter(static_cast<uint32_t>(step), kVocabulary, 2);
    tokens.push_back(server->Sample({.slots = {0, 1}, .logits = {z, z}, .commit = true}).tokens[0]);
  }
  return tokens;
}

TEST(Threads, HooksSharingKeys) {
  EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  const std::string path = Bundles::PathOf(epoch);
  EpochKeys next = MakeEpoch(Scheme::kGumbel, kVocabulary, 2);
  next.record.epoch = "2026-12";
  next.record.first_use = "2026-12-01T00:00:00Z";
  next.record.last_use = "2026-12-31T00:00:00Z";
  const std::string next_path = Bundles::PathOf(next);
  std::vector<std::vector<int32_t>> alone;
  for (int t = 0; t < 4; ++t) {
    Serving server(epoch);
    alone.push_back(Serve(&server, t));
  }
  TestKeys keys;
  ASSERT_EQ(keys.Open(path), COUNTERMARK_OK);
  std::vector<std::vector<int32_t>> together(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Serving server(&keys);
      together[static_cast<size_t>(t)] = Serve(&server, t);
    });
  }
  std::atomic<bool> opened{true};
  threads.emplace_back([&] {  // the next epoch's bundle, this one's again, and one that is not there: each thread has messages of its own
    opened = keys.Open(next_path) == COUNTERMARK_OK && keys.Open(path) == COUNTERMARK_OK && keys.Open("/no/such/file") == COUNTERMARK_NOT_FOUND;
    EXPECT_NE(std::string(countermark_keys_message(keys.keys)).find("/no/such/file"), std::string::npos);
    EXPECT_STREQ(countermark_keys_epoch(keys.keys), "acme/2026-11");
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(opened);
  EXPECT_STREQ(countermark_keys_message(keys.keys), "");  // the failure was another thread's
  EXPECT_EQ(together, alone);
}

// Messages are the thread's own, one a handle: eight handles at once keep theirs, and a new handle, at whatever address, begins with none.
TEST(Threads, MessagesOfManyHandles) {
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<TestKeys>> handles;
    for (int i = 0; i < 8; ++i) {
      handles.push_back(std::make_unique<TestKeys>());
      EXPECT_STREQ(countermark_keys_message(handles.back()->keys), "");
      EXPECT_EQ(handles.back()->Open("/no/such/file-" + std::to_string(i)), COUNTERMARK_NOT_FOUND);
    }
    for (int i = 0; i < 8; ++i) EXPECT_NE(std::string(countermark_keys_message(handles[static_cast<size_t>(i)]->keys)).find("file-" + std::to_string(i)), std::string::npos);
  }
}

// A hook outlives the handle of the keys it was made from.
TEST(Threads, AHookOutlivesItsKeys) {
  auto keys = std::make_unique<TestKeys>();
  keys->Open(MakeEpoch(Scheme::kGumbel, kVocabulary));
  Serving server(keys.get());
  countermark_keys_free(keys->keys);
  keys->keys = nullptr;  // its clock, the test's, still stands
  EXPECT_EQ(server.Begin(0, "org-1"), COUNTERMARK_OK);
}

}  // namespace
}  // namespace countermark::testing
