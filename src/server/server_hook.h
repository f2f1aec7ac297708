// The hook behind the C interface: requests begin here, with the epoch of the time and the account's key; the engine does the rest.
//
//   CM_ASSIGN_OR_RETURN(std::unique_ptr<ServerHook> hook, ServerHook::Create(epochs, options));
//   const countermark_status begun = hook->Begin(slot, request, stream, &message);
#ifndef COUNTERMARK_SRC_SERVER_SERVER_HOOK_H_
#define COUNTERMARK_SRC_SERVER_SERVER_HOOK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/countermark.h"
#include "src/server/engine.h"
#include "src/server/epochs.h"

namespace countermark::server {

// How a call ended: a status of the C interface and the line that goes with it.
struct Answer {
  countermark_status status = COUNTERMARK_OK;
  std::string message;
};

// What an absl::Status is called in the C interface, where nothing more is known.
Answer AnswerOf(const absl::Status& status);

class ServerHook {
 public:
  // FailedPrecondition: no epoch is in use now, or its scheme or vocabulary are not those of the options. Internal: a self-test failed.
  // InvalidArgument, Unavailable (the device), ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<ServerHook>> Create(std::shared_ptr<Epochs> epochs, const countermark_hook_options& options);

  Answer Begin(int32_t slot, const countermark_request& request, void* stream);
  Answer End(int32_t slot, void* stream);
  absl::StatusOr<countermark_metrics> Metrics();

  Engine& engine() { return *engine_; }
  const EngineShape& shape() const { return shape_; }
  bool HasSlot(int32_t slot) const { return slot >= 0 && slot < shape_.slots; }

 private:
  ServerHook(std::shared_ptr<Epochs> epochs, const countermark_hook_options& options) : epochs_(std::move(epochs)), options_(options) {}
  absl::StatusOr<std::shared_ptr<EpochHook>> Prepare(std::shared_ptr<const OpenedEpoch> epoch) const;
  // The epoch of a request that begins now; a status, FailedPrecondition, where there is none.
  absl::StatusOr<std::shared_ptr<EpochHook>> Now();
  // Begins in the engine and counts; what begins in part is ended again.
  absl::Status BeginInEngine(int32_t slot, BegunRequest request, void* stream);
  // A slot that is sampled plainly, by the request's own parameters.
  Answer BeginFaulty(int32_t slot, const RequestOptions& request, void* stream, Answer why);

  std::shared_ptr<Epochs> epochs_;
  countermark_hook_options options_;
  EngineShape shape_;
  std::shared_ptr<EpochHook> current_;
  std::unique_ptr<Engine> engine_;
  std::vector<uint8_t> in_use_;  // slots
  uint64_t requests_ = 0, unknown_accounts_ = 0, ended_epochs_ = 0;
};

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_SERVER_HOOK_H_
