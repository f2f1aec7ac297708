#include "tools/gpu_check/batch.h"

#include <numeric>
#include <random>

#include "tests/sampling/fixture.h"

namespace countermark::gpu_check {
namespace {

Hook MakeHook(const BatchShape& shape) {
  EpochKeys keys = testing::MakeEpoch(shape.scheme, static_cast<uint32_t>(shape.vocabulary));
  keys.record.channels = {{"base", 32768}, {"account", 32768}};
  keys.record.low_entropy = LowEntropyPolicy::kAllow;
  HookOptions options;
  options.marking = shape.marking;
  return *Hook::Create(std::move(keys), options);
}

int32_t SlotsOf(const BatchShape& shape) { return shape.slots > 0 ? shape.slots : shape.rows; }

}  // namespace

Batch::Batch(const BatchShape& shape)
    : shape_(shape),
      hook_(MakeHook(shape)),
      device_(SlotsOf(shape), shape.max_length, shape.rows, shape.vocabulary),
      slots_(static_cast<size_t>(shape.rows)),
      tokens_(static_cast<size_t>(shape.rows)),
      accepted_(static_cast<size_t>(shape.rows)),
      logprobs_(static_cast<size_t>(shape.rows)),
      causes_(static_cast<size_t>(shape.rows)) {
  std::mt19937_64 random(static_cast<uint64_t>(shape.vocabulary) + 7);
  const int32_t slots = SlotsOf(shape);
  for (int32_t s = 0; s < slots; ++s) {
    RequestOptions options;
    options.account = s % 2 ? "org-2" : "org-1";
    options.request = std::to_string(s);
    options.parameters = shape.parameters;
    options.seed = static_cast<uint64_t>(s);
    requests_.push_back(*hook_.Begin(options));
    Request& request = requests_.back();
    device_.Begin(s, testing::RecordOf(hook_, request, testing::StateOf(hook_, request)));
    std::vector<uint32_t> history(static_cast<size_t>(shape.history));
    for (uint32_t& t : history) t = static_cast<uint32_t>(random() % static_cast<uint64_t>(shape.vocabulary));
    if (!history.empty()) device_.Commit(s, history);
    for (uint32_t t : history) request.Commit(t, Cause::kForced);
  }
  std::vector<int32_t> order(static_cast<size_t>(shape.rows));
  for (size_t r = 0; r < order.size(); ++r) order[r] = static_cast<int32_t>(r) % slots;
  slots_.Set(order);
}

SampleBatch Batch::Step(void* logits, LogitType type) {
  SampleBatch step = {};
  step.slots = slots_.get();
  step.rows = shape_.rows;
  step.columns = step.vocabulary = shape_.vocabulary;
  step.type = type;
  step.logits = logits;
  step.stride = shape_.vocabulary;
  step.out_tokens = tokens_.get();
  step.out_causes = causes_.get();
  step.out_logprobs = logprobs_.get();
  step.out_accepted = accepted_.get();
  return step;
}

}  // namespace countermark::gpu_check
