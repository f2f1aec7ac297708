#include "src/server/cuda_engine.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include <openssl/crypto.h>

#include "countermark/mark/chacha.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/select.h"
#include "kernels/sample.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/sampling/request_access.h"
#include "src/server/device_memory.h"
#include "src/server/device_self_test.h"

namespace countermark::server {
namespace {

constexpr size_t kStagingEntries = 32, kStagingBytes = 16384;
constexpr int kMostCandidates = 1024;  // of a tournament on a device

void LoadKey(const Secret32& key, uint32_t words[8]) { LoadKeyWords(key.Reveal(SecretAccess()), words); }

// The request as the kernels know it, written where it is wiped: `record` is zero.
void FillRecord(const BegunRequest& begun, const EngineShape& shape, SlotRecord* record) {
  const bool plain = begun.state == kSlotGreedy || begun.state == kSlotFaulty;
  const SamplingParameters p = plain ? DrawnBy(begun.request.parameters()) : begun.request.parameters();
  record->state = begun.state;
  record->scheme = static_cast<uint8_t>(shape.scheme);
  record->window = kMinWindow;
  record->channels = 1;
  record->candidates = 1;
  record->layers = 1;
  record->scale = InverseTemperature(p.temperature);
  record->temperature = p.temperature;
  record->top_k = std::max(p.top_k, 0);
  record->top_p = Threshold(p.top_p);
  record->least = std::max<uint64_t>(1, Threshold(p.min_p) << (kWeightBits - 32));
  LoadKey(RequestAccess::SamplingKey(begun.request), record->sampling_key);
  const Secret32 salt = Secret32::Random();
  std::memcpy(&record->window_salt, salt.Reveal(SecretAccess()), sizeof record->window_salt);
  if (begun.epoch == nullptr) return;
  const Hook& hook = begun.epoch->hook;
  const MarkParameters& mark = hook.record().mark;
  record->window = static_cast<uint8_t>(mark.window);
  record->green = static_cast<uint8_t>(mark.green);
  record->layers = static_cast<uint8_t>(mark.layers);
  record->delta = static_cast<float>(mark.delta);
  record->red_factor = static_cast<uint32_t>(RequestAccess::RedFactorOf(hook));
  record->candidates = RequestAccess::Options(hook).tournament_candidates;
  const std::span<const Secret32> keys = RequestAccess::ChannelKeys(begun.request);
  record->channels = static_cast<uint8_t>(keys.size());
  record->plain_channels = static_cast<uint8_t>(RequestAccess::PlainChannels(begun.request));
  for (size_t c = 0; c < keys.size(); ++c) {
    LoadKey(keys[c], record->channel_keys[c]);
    record->channel_weights[c] = RequestAccess::ChannelWeights(hook)[c];
  }
  LoadKey(RequestAccess::RouteKey(hook), record->route_key);
}

class CudaEngine : public Engine {
 public:
  CudaEngine(const EngineShape& shape, int device) : shape_(shape), device_(device) {}

  ~CudaEngine() override {
    const OnDevice here(device_);
    (void)cudaDeviceSynchronize();
    memory_.reset();  // zeroes and frees while the device is the thread's
  }

  absl::Status Allocate() {
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    int multiprocessors = 0;
    CM_RETURN_IF_ERROR(CudaStatus(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device_), "the device's properties"));
    const size_t slots = static_cast<size_t>(shape_.slots), length = static_cast<size_t>(shape_.max_length);
    size_t seen = 2;
    while (seen < 2 * length) seen *= 2;
    memory_ = std::make_unique<Memory>();
    CM_RETURN_IF_ERROR(memory_->slots.Allocate(slots * sizeof(Slot), "slots"));
    CM_RETURN_IF_ERROR(memory_->tokens.Allocate(slots * length * sizeof(uint32_t), "the slots' tokens"));
    CM_RETURN_IF_ERROR(memory_->causes.Allocate(slots * length, "the causes of tokens"));
    CM_RETURN_IF_ERROR(memory_->seen.Allocate(slots * seen * sizeof(uint32_t), "the windows that stood"));
    CM_RETURN_IF_ERROR(memory_->metrics.Allocate(sizeof(TableMetrics), "metrics"));
    CM_RETURN_IF_ERROR(memory_->spare_key.Allocate(Secret32::kSize, "a key"));
    CM_RETURN_IF_ERROR(memory_->workspace.Allocate(countermark_workspace_bytes(shape_.rows, shape_.columns), "the workspace of a step"));
    CM_RETURN_IF_ERROR(memory_->records.Allocate(kStagingEntries * sizeof(SlotRecord), "records"));
    CM_RETURN_IF_ERROR(memory_->new_tokens.Allocate(length * sizeof(int32_t), "new tokens"));
    CM_RETURN_IF_ERROR(memory_->staging.Allocate(kStagingEntries, kStagingBytes));
    const Secret32 spare = Secret32::Random();
    CM_RETURN_IF_ERROR(CudaStatus(
        cudaMemcpy(memory_->spare_key.as<void>(), spare.Reveal(SecretAccess()), Secret32::kSize, cudaMemcpyHostToDevice), "copying a key"));
    table_ = {memory_->slots.as<Slot>(), memory_->tokens.as<uint32_t>(), memory_->causes.as<uint8_t>(), memory_->seen.as<uint32_t>(),
              memory_->metrics.as<TableMetrics>(), memory_->spare_key.as<const uint32_t>(), shape_.slots, shape_.max_length, static_cast<uint32_t>(seen)};
    workspace_ = {memory_->workspace.as<void>(), shape_.rows, shape_.columns, multiprocessors};
    return CudaStatus(cudaDeviceSynchronize(), "setting up the device's memory");
  }

  absl::Status Begin(int32_t slot, BegunRequest request, void* stream_of_host) override {
    const cudaStream_t stream = static_cast<cudaStream_t>(stream_of_host);
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    CM_ASSIGN_OR_RETURN(const Staging::Entry entry, memory_->staging.Take());
    auto* record = reinterpret_cast<SlotRecord*>(entry.host);
    FillRecord(request, shape_, record);
    SlotRecord* on_device = memory_->records.as<SlotRecord>() + entry.index;
    absl::Status status = CudaStatus(cudaMemcpyAsync(on_device, record, sizeof *record, cudaMemcpyHostToDevice, stream), "copying a request");
    if (status.ok()) status = CudaStatus(countermark_launch_begin(table_, slot, on_device, stream), "beginning a request");
    const absl::Status wiped = CudaStatus(cudaMemsetAsync(on_device, 0, sizeof *on_device, stream), "wiping a request's copy");
    const absl::Status queued = memory_->staging.Queued(entry, stream);
    CM_RETURN_IF_ERROR(status);
    CM_RETURN_IF_ERROR(wiped);
    return queued;
  }

  absl::Status Commit(int32_t slot, std::span<const uint32_t> tokens, void* stream) override {
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    for (bool first = true; !tokens.empty(); first = false) {
      const size_t n = std::min(tokens.size(), static_cast<size_t>(shape_.max_length));
      CM_RETURN_IF_ERROR(SendTokens(tokens.first(n), static_cast<cudaStream_t>(stream)));
      CM_RETURN_IF_ERROR(CudaStatus(countermark_launch_commit(table_, slot, memory_->new_tokens.as<int32_t>(), static_cast<int32_t>(n),
                                                              static_cast<cudaStream_t>(stream), first), "committing tokens"));
      tokens = tokens.subspan(n);
    }
    return absl::OkStatus();
  }

  absl::Status CommitRows(const int32_t* slots, const int32_t* tokens, int32_t rows, void* stream) override {
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    return CudaStatus(countermark_launch_commit_rows(table_, slots, tokens, rows, static_cast<cudaStream_t>(stream)), "committing rows");
  }

  absl::Status Rollback(int32_t slot, size_t n, void* stream) override {
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    return CudaStatus(countermark_launch_rollback(table_, slot, Count(n), static_cast<cudaStream_t>(stream)), "rolling back");
  }

  absl::Status Rebuild(int32_t slot, std::span<const uint32_t> tokens, void* stream) override {
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    // Beyond max_length tokens are counted and not looked at.
    const size_t held = std::min(tokens.size(), static_cast<size_t>(shape_.max_length));
    CM_RETURN_IF_ERROR(SendTokens(tokens.first(held), static_cast<cudaStream_t>(stream)));
    return CudaStatus(countermark_launch_rebuild(table_, slot, memory_->new_tokens.as<int32_t>(), Count(tokens.size()), static_cast<cudaStream_t>(stream)),
                      "rebuilding a request");
  }

  absl::Status End(int32_t slot, void* stream) override {
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    // What was last committed or rebuilt from may be this slot's text.
    CM_RETURN_IF_ERROR(CudaStatus(cudaMemsetAsync(memory_->new_tokens.as<void>(), 0, static_cast<size_t>(shape_.max_length) * sizeof(int32_t),
                                                  static_cast<cudaStream_t>(stream)), "wiping tokens"));
    return CudaStatus(countermark_launch_end(table_, slot, static_cast<cudaStream_t>(stream)), "ending a request");
  }

  absl::Status Sample(const countermark_batch& batch) override {
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    return CudaStatus(countermark_launch_sample(table_, workspace_, BatchOf(batch), static_cast<cudaStream_t>(batch.stream)), "sampling");
  }

  absl::Status Bias(const countermark_batch& batch) override {
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    return CudaStatus(countermark_launch_bias(table_, workspace_, BatchOf(batch), static_cast<cudaStream_t>(batch.stream)), "changing logits");
  }

  absl::StatusOr<EngineMetrics> Metrics() override {
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    TableMetrics table = {};
    CM_RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "waiting for the device"));
    CM_RETURN_IF_ERROR(CudaStatus(cudaMemcpy(&table, table_.metrics, sizeof table, cudaMemcpyDeviceToHost), "reading metrics"));
    EngineMetrics metrics;
    std::copy(std::begin(table.tokens), std::end(table.tokens), metrics.tokens.begin());
    metrics.bad_slots = table.bad_slots;
    metrics.bad_rows = table.bad_rows;
    metrics.too_long = table.too_long;
    metrics.steps = table.steps;
    metrics.last_step_seconds = static_cast<double>(table.last_step_ns) * 1e-9;
    metrics.all_steps_seconds = static_cast<double>(table.all_steps_ns) * 1e-9;
    return metrics;
  }

  absl::StatusOr<std::array<uint64_t, kTableCauses>> Counters(int32_t slot) override {
    const OnDevice here(device_);
    CM_RETURN_IF_ERROR(here.status());
    std::array<uint64_t, kTableCauses> counters;
    CM_RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "waiting for the device"));
    CM_RETURN_IF_ERROR(CudaStatus(cudaMemcpy(counters.data(), table_.slots[slot].counters, sizeof counters, cudaMemcpyDeviceToHost), "reading counters"));
    return counters;
  }

 private:
  struct Memory {
    DeviceBytes slots, tokens, causes, seen, metrics, spare_key, workspace, records, new_tokens;
    Staging staging;
  };

  static int32_t Count(size_t n) { return static_cast<int32_t>(std::min(n, static_cast<size_t>(std::numeric_limits<int32_t>::max()))); }

  // Into new_tokens, in order on the stream: what read it before has been queued before.
  absl::Status SendTokens(std::span<const uint32_t> tokens, cudaStream_t stream) {
    char* to = memory_->new_tokens.as<char>();
    while (!tokens.empty()) {
      const size_t n = std::min(tokens.size(), kStagingBytes / sizeof(uint32_t));
      CM_ASSIGN_OR_RETURN(const Staging::Entry entry, memory_->staging.Take());
      std::memcpy(entry.host, tokens.data(), n * sizeof(uint32_t));
      const absl::Status sent = CudaStatus(cudaMemcpyAsync(to, entry.host, n * sizeof(uint32_t), cudaMemcpyHostToDevice, stream), "copying tokens");
      const absl::Status queued = memory_->staging.Queued(entry, stream);
      CM_RETURN_IF_ERROR(sent);
      CM_RETURN_IF_ERROR(queued);
      to += n * sizeof(uint32_t);
      tokens = tokens.subspan(n);
    }
    return absl::OkStatus();
  }

  SampleBatch BatchOf(const countermark_batch& b) const {
    return {b.slots,        b.depths,     b.drafts,     b.rows,       b.columns,        shape_.vocabulary,
            static_cast<LogitType>(b.dtype), b.logits, b.row_stride, b.out_tokens, b.out_logprobs, b.out_causes, b.out_accepted, b.commit};
  }

  EngineShape shape_;
  int device_;
  std::unique_ptr<Memory> memory_;
  RequestTable table_ = {};
  Workspace workspace_ = {};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeUntestedCudaEngine(const EngineShape& shape, int device) {
  auto engine = std::make_unique<CudaEngine>(shape, device);
  CM_RETURN_IF_ERROR(engine->Allocate());
  return engine;
}

absl::StatusOr<std::unique_ptr<Engine>> MakeCudaEngine(const EngineShape& shape, int device, const HookOptions& options) {
  int count = 0;
  CM_RETURN_IF_ERROR(CudaStatus(cudaGetDeviceCount(&count), "no CUDA device can be used"));
  if (device >= count) return absl::InvalidArgumentError(Cat("device ", device, " is not there; there are ", count));
  if (options.tournament_candidates > kMostCandidates) {
    return absl::InvalidArgumentError(Cat("tournament_candidates is ", options.tournament_candidates, ", and a device takes ", kMostCandidates, " at most"));
  }
  CM_RETURN_IF_ERROR(DeviceSelfTest(device));
  return MakeUntestedCudaEngine(shape, device);
}

}  // namespace countermark::server
