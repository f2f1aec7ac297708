// One slot of the host's engine: a request, what the last step said of its next tokens, and the tokens beyond its length.
//
//   slot.Note(token, cause);                        // what a step gave for the position length()
//   slot.Commit({&token, 1}, max_length, &metrics); // counted under that cause, if it is that token
#ifndef COUNTERMARK_SRC_SERVER_CPU_SLOT_H_
#define COUNTERMARK_SRC_SERVER_CPU_SLOT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "src/server/engine.h"

namespace countermark::server {

class CpuSlot {
 public:
  void Begin(BegunRequest request);
  void End() { *this = CpuSlot(); }

  SlotState state() const { return state_; }
  bool begun() const { return state_ != kSlotEmpty; }
  // Valid in a slot that has begun. The request's tokens are those below the engine's length.
  Request& request() { return *request_; }
  const Request& request() const { return *request_; }
  const Hook& hook() const { return epoch_->hook; }  // valid unless faulty
  // Tokens committed, those beyond the engine's length included.
  uint64_t length() const { return request_->size() + beyond_; }
  std::array<uint64_t, kTableCauses> Counters() const;

  // A step begins to say what the next tokens are; what an earlier one said is forgotten.
  void ForgetNotes() { noted_ = 0; }
  // The next of them. `any`: the cause holds whatever token the host takes.
  void Note(uint32_t token, Cause cause, bool any);

  // A token is counted under the cause that was noted for its place, if it and those before it in this call are the tokens noted; else as forced. What
  // was noted holds for one call.
  void Commit(std::span<const uint32_t> tokens, uint64_t max_length, EngineMetrics* metrics);
  void Rollback(uint64_t n, EngineMetrics* metrics);
  void Rebuild(std::span<const uint32_t> tokens, uint64_t max_length, EngineMetrics* metrics);

 private:
  struct Noted {
    uint32_t token;
    Cause cause;
    bool any;
  };
  void CommitAs(uint32_t token, Cause cause, uint64_t max_length, EngineMetrics* metrics);

  SlotState state_ = kSlotEmpty;
  std::shared_ptr<const EpochHook> epoch_;
  std::optional<Request> request_;
  uint64_t beyond_ = 0;
  std::array<Noted, COUNTERMARK_MAX_DRAFTS + 1> notes_ = {};  // of the tokens from length() on
  size_t noted_ = 0;
};

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_CPU_SLOT_H_
