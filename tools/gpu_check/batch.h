// A batch of one hook's requests, with their histories, in a device's table: what the checks and the timings are about.
//
//   Batch batch({.scheme = Scheme::kGumbel, .rows = 64, .vocabulary = 128256, .history = 100});
//   SampleBatch step = batch.Step(logits, kBfloat16, 128256);
//   cudaError_t error = batch.Launch(step, stream);
#ifndef COUNTERMARK_TOOLS_GPU_CHECK_BATCH_H_
#define COUNTERMARK_TOOLS_GPU_CHECK_BATCH_H_

#include <string>
#include <vector>

#include "countermark/sampling/hook.h"
#include "kernels/sample.h"
#include "tests/kernels/device_table.h"

namespace countermark::gpu_check {

struct BatchShape {
  Scheme scheme = Scheme::kGumbel;
  bool marking = true;
  SamplingParameters parameters = {};
  int32_t rows = 1;
  int32_t slots = 0;          // 0: rows; row r is slot r
  int32_t vocabulary = 0;
  int32_t max_length = 1024;
  int history = 0;            // tokens of each slot, random: windows seldom come again
};

class Batch {
 public:
  explicit Batch(const BatchShape& shape);

  // Rows 0 … rows − 1 over `logits`, stride = vocabulary, tokens and causes out, nothing committed.
  SampleBatch Step(void* logits, LogitType type);
  cudaError_t Launch(const SampleBatch& step, cudaStream_t stream) const { return countermark_launch_sample(device_.table(), device_.space(), step, stream); }

  std::vector<int32_t> Tokens() const { return tokens_.Get(); }
  std::vector<uint8_t> Causes() const { return causes_.Get(); }
  std::vector<float> LogProbabilities() const { return logprobs_.Get(); }
  std::vector<int32_t> Accepted() const { return accepted_.Get(); }
  const Hook& hook() const { return hook_; }
  std::vector<Request>& requests() { return requests_; }
  testing::DeviceTable& device() { return device_; }
  int32_t* slots() { return slots_.get(); }
  int32_t* tokens() { return tokens_.get(); }

 private:
  BatchShape shape_;
  Hook hook_;
  std::vector<Request> requests_;
  testing::DeviceTable device_;
  testing::DeviceArray<int32_t> slots_, tokens_, accepted_;
  testing::DeviceArray<float> logprobs_;
  testing::DeviceArray<uint8_t> causes_;
};

}  // namespace countermark::gpu_check

#endif  // COUNTERMARK_TOOLS_GPU_CHECK_BATCH_H_
