// What a hook on a device promises beside its tokens: nothing but kernels in a step, a step in a graph, errors that leave nothing behind, keys that are
// gone when their request is. On the emulator, which sees every call of the runtime and every allocation.
#include <cuda_runtime_api.h>

#include <cstring>
#include <mutex>

#include <gmock/gmock.h>

#include "tests/server/serving.h"
#include "tests/simt/control.h"
#include "tests/simt/runtime.h"

namespace countermark::testing {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kVocabulary = 70;
const Asked kAsked = {.temperature = 0.9f, .seed = 3};

countermark_batch BatchOf(const int32_t* slots, float* logits, int32_t* tokens, int rows) {
  countermark_batch batch = countermark_default_batch();
  batch.rows = rows;
  batch.slots = slots;
  batch.logits = logits;
  batch.columns = batch.row_stride = kVocabulary;
  batch.out_tokens = tokens;
  batch.commit = 1;
  return batch;
}

TEST(Device, AStepLaunchesKernelsAndNothingElse) {
  Serving server(MakeEpoch(Scheme::kGumbel, kVocabulary));
  ASSERT_EQ(server.Begin(0, "org-1", kAsked), COUNTERMARK_OK);
  std::vector<float> z = RowAfter(1, kVocabulary, 2);
  int32_t slots[] = {0}, tokens[] = {-5};
  const char* all[] = {"cudaMalloc", "cudaFree", "cudaMallocHost", "cudaHostAlloc", "cudaMemcpy", "cudaMemcpyAsync", "cudaMemset", "cudaMemsetAsync",
                       "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventRecord", "cudaEventQuery", "cudaEventSynchronize", "cudaSetDevice"};
  std::vector<size_t> before;
  for (const char* name : all) before.push_back(simt::Calls(name));
  const size_t launches = simt::Calls("Launch");
  countermark_batch batch = BatchOf(slots, z.data(), tokens, 1);
  ASSERT_EQ(countermark_sample(server.hook, &batch), COUNTERMARK_OK);
  batch.commit = 0;
  ASSERT_EQ(countermark_bias(server.hook, &batch), COUNTERMARK_OK);
  for (size_t i = 0; i < std::size(all); ++i) EXPECT_EQ(simt::Calls(all[i]), before[i]) << all[i];
  EXPECT_GT(simt::Calls("Launch"), launches);
}

// One captured step, replayed: the tokens of steps that were called.
TEST(Device, AStepInAGraph) {
  const EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  Serving called(epoch), replayed(epoch);
  ASSERT_EQ(called.Begin(0, "org-1", kAsked), COUNTERMARK_OK);
  ASSERT_EQ(replayed.Begin(0, "org-1", kAsked), COUNTERMARK_OK);
  std::vector<float> z(kVocabulary);
  int32_t slots[] = {0}, tokens[] = {-5};
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  countermark_batch batch = BatchOf(slots, z.data(), tokens, 1);
  batch.stream = stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  ASSERT_EQ(countermark_sample(replayed.hook, &batch), COUNTERMARK_OK);
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_EQ(tokens[0], -5);  // captured, not run
  for (uint32_t step = 0; step < 8; ++step) {
    const std::vector<float> row = RowAfter(step, kVocabulary, 2);
    std::copy(row.begin(), row.end(), z.begin());
    ASSERT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(tokens[0], called.Sample({.slots = {0}, .logits = {row}, .commit = true}).tokens[0]);
  }
  EXPECT_EQ(replayed.Counters(0), called.Counters(0));
  EXPECT_EQ(replayed.Metrics().steps, 8u);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

TEST(Device, ErrorsOfTheRuntimeLeaveNothing) {
  TestKeys keys;
  keys.Open(MakeEpoch(Scheme::kGumbel, kVocabulary));
  const size_t before = simt::LiveAllocations();
  const auto create = [&](countermark_hook** hook) {
    countermark_hook_options options = countermark_hook_default_options();
    options.device = 0;
    options.max_slots = 2;
    options.max_length = 16;
    return countermark_hook_create(keys.keys, &options, hook);
  };
  const size_t allocations_at = simt::Calls("cudaMalloc");
  countermark_hook* hook = nullptr;
  ASSERT_EQ(create(&hook), COUNTERMARK_OK);
  const int allocations = static_cast<int>(simt::Calls("cudaMalloc") - allocations_at);
  countermark_hook_free(hook);
  EXPECT_EQ(simt::LiveAllocations(), before);
  for (int nth : {1, 2, 9, 20, allocations - 8, allocations - 1, allocations}) {
    simt::InjectFailure("cudaMalloc", nth, cudaErrorMemoryAllocation);
    EXPECT_EQ(create(&hook), COUNTERMARK_OUT_OF_MEMORY) << nth;
    EXPECT_THAT(countermark_keys_message(keys.keys), HasSubstr("cudaErrorMemoryAllocation"));
    EXPECT_EQ(hook, nullptr);
    simt::ClearFailures();
    EXPECT_EQ(simt::LiveAllocations(), before) << nth;
  }
  for (const char* function : {"Launch", "cudaMallocHost", "cudaMemset", "cudaGetDeviceCount"}) {
    simt::InjectFailure(function, 1, cudaErrorUnknown);
    EXPECT_EQ(create(&hook), COUNTERMARK_DEVICE) << function << ": " << countermark_keys_message(keys.keys);
    EXPECT_THAT(countermark_keys_message(keys.keys), HasSubstr("cudaErrorUnknown"));
    simt::ClearFailures();
    EXPECT_EQ(simt::LiveAllocations(), before) << function;
  }
  countermark_hook_options options = countermark_hook_default_options();
  options.device = 7;
  EXPECT_EQ(countermark_hook_create(keys.keys, &options, &hook), COUNTERMARK_INVALID_ARGUMENT);
  options.device = 0;
  options.tournament_candidates = 1025;
  EXPECT_EQ(countermark_hook_create(keys.keys, &options, &hook), COUNTERMARK_INVALID_ARGUMENT);
}

TEST(Device, AFailedLaunchIsSaidAndTheNextWorks) {
  const EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  Serving server(epoch), clean(epoch);
  ASSERT_EQ(server.Begin(0, "org-1", kAsked), COUNTERMARK_OK);
  ASSERT_EQ(clean.Begin(0, "org-1", kAsked), COUNTERMARK_OK);
  const std::vector<float> z = RowAfter(1, kVocabulary, 2);
  const StepInput step = {.slots = {0}, .logits = {z}, .commit = true};
  simt::InjectFailure("Launch", 1, cudaErrorLaunchFailure);
  EXPECT_EQ(server.Sample(step).status, COUNTERMARK_DEVICE);
  EXPECT_THAT(server.message(), HasSubstr("cudaErrorLaunchFailure"));
  simt::ClearFailures();
  EXPECT_EQ(server.Sample(step).tokens, clean.Sample(step).tokens);
}

// Whatever fails in a begin, the slot is empty afterwards, and no key of either request is left; where not even that can be done, the slot counts as in use.
TEST(Device, ABeginThatFailsMidwayLeavesTheSlotEmpty) {
  const EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  for (const char* function : {"cudaMemcpyAsync", "cudaMemsetAsync", "cudaEventRecord", "Launch"}) {
    for (int nth = 1; nth <= 2; ++nth) {
      Serving server(epoch);
      ASSERT_EQ(server.Begin(0, "org-2", kAsked), COUNTERMARK_OK);
      simt::InjectFailure(function, nth, cudaErrorUnknown);
      const countermark_status status = server.Begin(0, "org-1", kAsked);
      simt::ClearFailures();
      countermark_metrics metrics = {};
      metrics.struct_size = sizeof metrics;
      ASSERT_EQ(countermark_metrics_read(server.hook, &metrics), COUNTERMARK_OK);
      if (status == COUNTERMARK_OK) continue;  // the function was not called so often
      const bool empty = server.Sample({.slots = {0}, .logits = {RowAfter(1, kVocabulary, 2)}}).causes[0] == Cause::kFault;
      EXPECT_EQ(metrics.slots_in_use, empty ? 0 : 1) << function << " " << nth;
      ASSERT_EQ(server.Begin(0, "org-1", kAsked), COUNTERMARK_OK) << "the next begin works";
    }
  }
}

// How often a key lies in the runtime's memory of a kind.
int Copies(const Secret32& key, cudaMemoryType type) {
  simt::Runtime& runtime = simt::Runtime::Get();
  const std::lock_guard<std::recursive_mutex> lock(runtime.mutex);
  int copies = 0;
  for (const auto& [at, allocation] : runtime.allocations) {
    if (allocation.type != type) continue;
    const auto* bytes = reinterpret_cast<const unsigned char*>(at);
    for (size_t i = 0; i + 32 <= allocation.bytes; i += 4) copies += std::memcmp(bytes + i, key.Reveal(SecretAccess()), 32) == 0;
  }
  return copies;
}

TEST(Device, KeysAreGoneWithTheirRequest) {
  const EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  const Secret32 key = epoch.Account("org-1");
  Serving server(epoch);
  ASSERT_EQ(server.Begin(1, "org-2", kAsked), COUNTERMARK_OK);
  ASSERT_EQ(server.Begin(0, "org-1", kAsked), COUNTERMARK_OK);  // no further call is needed to wipe the copy it was sent from
  EXPECT_EQ(Copies(key, cudaMemoryTypeDevice), 1);
  EXPECT_EQ(Copies(key, cudaMemoryTypeHost), 0);
  (void)server.Sample({.slots = {0, 1}, .logits = {RowAfter(1, kVocabulary, 2), RowAfter(2, kVocabulary, 2)}, .commit = true});
  EXPECT_EQ(Copies(key, cudaMemoryTypeDevice), 1);
  ASSERT_EQ(countermark_end(server.hook, 0, nullptr), COUNTERMARK_OK);
  EXPECT_EQ(Copies(key, cudaMemoryTypeDevice), 0);
  EXPECT_EQ(Copies(epoch.Account("org-2"), cudaMemoryTypeDevice), 1);
  ASSERT_EQ(server.Begin(1, "org-1", kAsked), COUNTERMARK_OK);  // over it
  EXPECT_EQ(Copies(epoch.Account("org-2"), cudaMemoryTypeDevice), 0);
}

// Where the stream that wipes cannot be had, it is done before the call returns.
TEST(Device, KeysAreGoneAlsoWhereWipingFails) {
  const EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  for (const char* function : {"cudaEventRecord", "cudaStreamWaitEvent", "cudaLaunchHostFunc"}) {
    Serving server(epoch);
    simt::InjectFailure(function, 1, cudaErrorUnknown);
    EXPECT_EQ(server.Begin(0, "org-1", kAsked), COUNTERMARK_DEVICE) << function;
    simt::ClearFailures();
    EXPECT_EQ(Copies(epoch.Account("org-1"), cudaMemoryTypeHost), 0) << function;
    EXPECT_EQ(Copies(epoch.Account("org-1"), cudaMemoryTypeDevice), 0) << function;
  }
}

// More calls than there are staging entries, and more tokens than one holds.
TEST(Device, LongTextsAndManyRequests) {
  const EpochKeys epoch = MakeEpoch(Scheme::kGumbel, kVocabulary);
  Serving server(epoch, [](countermark_hook_options* o) { o->max_length = 6000; });
  const Hook hook = ReferenceHook(epoch);
  Request request = *hook.Begin(kAsked.Options("org-1"));
  for (int i = 0; i < 80; ++i) ASSERT_EQ(server.Begin(i % 8, "org-1", kAsked), COUNTERMARK_OK);
  std::vector<uint32_t> text(5000);
  std::mt19937 random(1);
  for (uint32_t& t : text) t = static_cast<uint32_t>(random() % 9);
  ASSERT_EQ(server.Rebuild(3, text), COUNTERMARK_OK);
  request.Rebuild(text);
  EXPECT_EQ(server.Counters(3), CountersOf(request));
  ASSERT_EQ(server.Begin(4, "org-1", kAsked), COUNTERMARK_OK);
  ASSERT_EQ(server.Commit(4, text), COUNTERMARK_OK);
  RowScratch scratch;
  const std::vector<float> z = RowAfter(5, kVocabulary, 2);
  const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
  const Rows rows = server.Sample({.slots = {3, 4}, .logits = {z, z}});
  for (size_t r : {0, 1}) {
    EXPECT_EQ(rows.tokens[r], static_cast<int32_t>(choice.token));
    EXPECT_EQ(rows.causes[r], choice.cause);
  }
}

}  // namespace
}  // namespace countermark::testing
