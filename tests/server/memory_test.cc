// Each allocation of each call fails once: the call says so or does without, nothing crosses, and the next calls find what they should.
#include "tests/server/failing_memory.h"
#include "tests/server/serving.h"

namespace countermark::testing {
namespace {

constexpr uint32_t kVocabulary = 64;

// Runs `call`, which gives a status, with the first, the second, … allocation failing, until none does. Everything but OK must be OUT_OF_MEMORY.
template <typename Call>
int FailEach(const char* what, Call call) {
  for (long nth = 1; nth < 10000; ++nth) {
    FailAllocation(nth);
    const countermark_status status = call();
    if (!Failed()) {
      EXPECT_EQ(status, COUNTERMARK_OK) << what;
      return static_cast<int>(nth) - 1;
    }
    EXPECT_TRUE(status == COUNTERMARK_OK || status == COUNTERMARK_OUT_OF_MEMORY) << what << ", allocation " << nth << ": " << countermark_status_name(status);
  }
  ADD_FAILURE() << what << " has no end";
  return 0;
}

TEST(Memory, KeysAndHooks) {
  const std::string path = Bundles::PathOf(MakeEpoch(Scheme::kGumbel, kVocabulary));
  for (long nth = 1; nth < 20; ++nth) {
    FailAllocation(nth);
    countermark_keys* keys = countermark_keys_new(nullptr);
    const bool failed = Failed();
    EXPECT_TRUE(failed || keys != nullptr);
    countermark_keys_free(keys);
  }
  // Opening a bundle reads JSON by a library whose destructors allocate, and end the process where they cannot: it is left out here.
  TestKeys keys;
  ASSERT_EQ(keys.Open(path), COUNTERMARK_OK);
  const int created = FailEach("hook_create", [&] {
    countermark_hook* hook = nullptr;
    const countermark_status status = countermark_hook_create(keys.keys, nullptr, &hook);
    EXPECT_EQ(hook != nullptr, status == COUNTERMARK_OK);
    countermark_hook_free(hook);
    return status;
  });
  EXPECT_GT(created, 5);
}

TEST(Memory, Serving) {
  for (Scheme scheme : kSchemes) {
    const EpochKeys epoch = MakeEpoch(scheme, kVocabulary);
    class Serving server(epoch), clean(epoch);
    const Asked asked = {.request = "a rather long label, so that it is on the heap", .seed = 1};
    EXPECT_GT(FailEach("begin", [&] { return server.Begin(0, "org-1", asked); }), 2);
    ASSERT_EQ(clean.Begin(0, "org-1", asked), COUNTERMARK_OK);
    int32_t slots[1] = {0}, tokens[1];
    std::vector<float> z = RowAfter(1, kVocabulary, 2);
    countermark_batch batch = countermark_default_batch();
    batch.rows = 1;
    batch.slots = slots;
    batch.logits = z.data();
    batch.columns = batch.row_stride = kVocabulary;
    batch.out_tokens = tokens;
    EXPECT_GT(FailEach("sample", [&] { return countermark_sample(server.hook, &batch); }), 0);
    // Some steps; what fails is tried again, and the text is that of a run in which nothing does.
    for (uint32_t step = 0; step < 200; ++step) {
      z = RowAfter(step % 5, kVocabulary, 3);
      batch.logits = z.data();
      const uint32_t token = static_cast<uint32_t>(clean.Sample({.slots = {0}, .logits = {z}, .commit = true}).tokens[0]);
      ASSERT_EQ(countermark_sample(server.hook, &batch), COUNTERMARK_OK);
      ASSERT_EQ(tokens[0], static_cast<int32_t>(token)) << "step " << step;
      bool taken = false;
      FailEach("commit", [&] {
        if (taken) return COUNTERMARK_OK;
        const countermark_status status = countermark_commit(server.hook, 0, &token, 1, nullptr);
        taken = status == COUNTERMARK_OK;
        return status;
      });
    }
    EXPECT_EQ(server.Counters(0), clean.Counters(0));
  }
}

}  // namespace
}  // namespace countermark::testing
