// What the C interface needs of a place where rows are sampled: a host (cpu_engine.h) or a CUDA device (cuda_engine.h). The two agree on tokens,
// causes and counts.
//
// An engine's caller has checked the batch and the slots' numbers. Functions return Unavailable for an error of the device's runtime, and
// ResourceExhausted where memory is short; nothing in a row or a request is an error.
#ifndef COUNTERMARK_SRC_SERVER_ENGINE_H_
#define COUNTERMARK_SRC_SERVER_ENGINE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/countermark.h"
#include "countermark/mark/weight.h"
#include "countermark/sampling/hook.h"
#include "kernels/request_table.h"
#include "src/server/account_keys.h"
#include "src/server/epochs.h"

namespace countermark::server {

// The sizes that an engine allocates for, once.
struct EngineShape {
  int32_t slots = 0;
  int32_t rows = 0;        // a call, at most
  int32_t max_length = 0;  // tokens a request
  int32_t vocabulary = 0;
  int32_t columns = 0;     // logits a row, at most
  Scheme scheme = Scheme::kGumbel;
};

// An epoch with the hook made for it. Requests hold theirs to their end.
struct EpochHook {
  std::shared_ptr<const OpenedEpoch> epoch;
  Hook hook;
  AccountKeys accounts;
};

// A request as it begins. `epoch` is null in a faulty one, whose request has no keys.
struct BegunRequest {
  SlotState state = kSlotEmpty;
  std::shared_ptr<const EpochHook> epoch;
  Request request;
};

// The parameters that a row is drawn by where no hook chooses for it. A greedy request keeps its likeliest candidate.
inline SamplingParameters DrawnBy(SamplingParameters p) {
  if (p.temperature < kMinTemperature) {
    p.temperature = kMinTemperature;
    p.top_k = 1;
  }
  return p;
}

// Totals since the engine was made.
struct EngineMetrics {
  std::array<uint64_t, kTableCauses> tokens = {};
  uint64_t bad_slots = 0, bad_rows = 0, too_long = 0, steps = 0;
  double last_step_seconds = 0, all_steps_seconds = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual absl::Status Begin(int32_t slot, BegunRequest request, void* stream) = 0;
  virtual absl::Status Commit(int32_t slot, std::span<const uint32_t> tokens, void* stream) = 0;
  virtual absl::Status CommitRows(const int32_t* slots, const int32_t* tokens, int32_t rows, void* stream) = 0;
  virtual absl::Status Rollback(int32_t slot, size_t n, void* stream) = 0;
  virtual absl::Status Rebuild(int32_t slot, std::span<const uint32_t> tokens, void* stream) = 0;
  virtual absl::Status End(int32_t slot, void* stream) = 0;

  virtual absl::Status Sample(const countermark_batch& batch) = 0;
  virtual absl::Status Bias(const countermark_batch& batch) = 0;

  virtual absl::StatusOr<EngineMetrics> Metrics() = 0;
  virtual absl::StatusOr<std::array<uint64_t, kTableCauses>> Counters(int32_t slot) = 0;
};

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_ENGINE_H_
