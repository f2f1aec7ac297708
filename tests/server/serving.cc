#include "tests/server/serving.h"

#include "src/server/epochs.h"

namespace countermark::testing {

TestKeys::TestKeys(const std::string& at) {
  SetTime(at);
  const countermark_keys_options options = {sizeof options, [](void* user) { return *static_cast<const int64_t*>(user); }, &now};
  keys = countermark_keys_new(&options);
}

void TestKeys::SetTime(const std::string& utc) { now = server::SecondsOf(utc); }

Serving::Serving(const EpochKeys& epoch, const Configure& configure) : own_keys(std::make_unique<TestKeys>()) {
  own_keys->Open(epoch);
  Create(own_keys.get(), configure);
}

Serving::Serving(TestKeys* shared, const Configure& configure) { Create(shared, configure); }

void Serving::Create(TestKeys* keys, const Configure& configure) {
  countermark_hook_options options = countermark_hook_default_options();
  options.device = kTestDevice;
  options.max_slots = 8;
  options.max_rows = 64;
  options.max_length = 1024;
  if (configure) configure(&options);
  const countermark_status created = countermark_hook_create(keys->keys, &options, &hook);
  EXPECT_EQ(created, COUNTERMARK_OK) << countermark_keys_message(keys->keys);
}

countermark_status Serving::Begin(int32_t slot, const std::string& account, const Asked& asked) {
  countermark_request request = countermark_default_request();
  request.account = account.c_str();
  request.request = asked.request.c_str();
  request.temperature = asked.temperature;
  request.top_k = asked.top_k;
  request.top_p = asked.top_p;
  request.min_p = asked.min_p;
  request.seeded = asked.seed.has_value();
  request.seed = asked.seed.value_or(0);
  request.prompt = asked.prompt.data();
  request.prompt_size = asked.prompt.size();
  return countermark_begin(hook, slot, &request, nullptr);
}

std::vector<uint64_t> Serving::Counters(int32_t slot) {
  std::vector<uint64_t> counters(8, 99);
  EXPECT_EQ(countermark_request_counters(hook, slot, counters.data()), COUNTERMARK_OK) << message();
  return counters;
}

countermark_metrics Serving::Metrics() {
  countermark_metrics metrics = {};
  metrics.struct_size = sizeof metrics;
  EXPECT_EQ(countermark_metrics_read(hook, &metrics), COUNTERMARK_OK) << message();
  return metrics;
}

Rows Serving::Step(const StepInput& step, countermark_status (*call)(countermark_hook*, const countermark_batch*)) {
  const size_t rows = step.slots.size(), given = rows ? step.logits[0].size() : 0, columns = given + static_cast<size_t>(step.padding);
  const size_t stride = columns + 3;
  Reachable<float> singles(step.dtype == COUNTERMARK_F32 ? rows * stride : 0, 100.0f);  // padding is tempting: never chosen
  Reachable<uint16_t> halves(step.dtype == COUNTERMARK_F32 ? 0 : rows * stride, step.dtype == COUNTERMARK_F16 ? server::HalfOf(100.0f) : server::BfloatOf(100.0f));
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < given; ++i) {
      const float z = step.logits[r][i];
      if (step.dtype == COUNTERMARK_F32) singles[r * stride + i] = z;
      if (step.dtype == COUNTERMARK_F16) halves[r * stride + i] = server::HalfOf(z);
      if (step.dtype == COUNTERMARK_BF16) halves[r * stride + i] = server::BfloatOf(z);
    }
  }
  const Reachable<int32_t> slots(step.slots.begin(), step.slots.end()), depths(step.depths.begin(), step.depths.end()),
      drafts(step.drafts.begin(), step.drafts.end());
  Reachable<int32_t> tokens(rows, 77777), accepted(rows, 77777);
  Reachable<float> logprobs(rows, 77.0f);
  Reachable<uint8_t> causes(rows, 77);
  countermark_batch batch = countermark_default_batch();
  batch.rows = static_cast<int32_t>(rows);
  batch.slots = slots.data();
  batch.depths = depths.empty() ? nullptr : depths.data();
  batch.drafts = drafts.empty() ? nullptr : drafts.data();
  batch.logits = step.dtype == COUNTERMARK_F32 ? static_cast<void*>(singles.data()) : halves.data();
  batch.dtype = step.dtype;
  batch.columns = static_cast<int32_t>(columns);
  batch.row_stride = static_cast<int64_t>(stride);
  batch.out_tokens = tokens.data();
  batch.out_logprobs = logprobs.data();
  batch.out_causes = causes.data();
  batch.out_accepted = accepted.data();
  batch.commit = step.commit ? 1 : 0;
  Rows out;
  out.status = call(hook, &batch);
  WaitForDevice();
  out.tokens.assign(tokens.begin(), tokens.end());
  out.accepted.assign(accepted.begin(), accepted.end());
  out.logprobs.assign(logprobs.begin(), logprobs.end());
  for (uint8_t cause : causes) out.causes.push_back(static_cast<Cause>(cause));
  for (size_t r = 0; r < rows; ++r) {
    std::vector<float> row(columns);
    for (size_t i = 0; i < columns; ++i) {
      row[i] = step.dtype == COUNTERMARK_F32   ? singles[r * stride + i]
               : step.dtype == COUNTERMARK_F16 ? server::FloatOfHalf(halves[r * stride + i])
                                               : server::FloatOfBfloat(halves[r * stride + i]);
    }
    out.logits.push_back(std::move(row));
  }
  return out;
}

Hook ReferenceHook(const EpochKeys& epoch, const HookOptions& options) {
  absl::StatusOr<Hook> hook = Hook::Create(epoch, options);
  EXPECT_TRUE(hook.ok()) << hook.status();
  return *std::move(hook);
}

std::vector<uint64_t> CountersOf(const Request& request) {
  return {request.counters().by_cause.begin(), request.counters().by_cause.end()};
}

}  // namespace countermark::testing
