#include "src/server/cpu_slot.h"

#include <algorithm>
#include <utility>

namespace countermark::server {

void CpuSlot::Begin(BegunRequest request) {
  End();
  epoch_ = std::move(request.epoch);
  request_.emplace(std::move(request.request));
  state_ = request.state;
}

std::array<uint64_t, kTableCauses> CpuSlot::Counters() const {
  std::array<uint64_t, kTableCauses> counters = {};
  if (!begun()) return counters;
  counters = request_->counters().by_cause;
  counters[kRowFault] += beyond_;
  return counters;
}

void CpuSlot::Note(uint32_t token, Cause cause, bool any) {
  if (noted_ < notes_.size()) notes_[noted_++] = {token, cause, any};
}

void CpuSlot::CommitAs(uint32_t token, Cause cause, uint64_t max_length, EngineMetrics* metrics) {
  if (state_ == kSlotFaulty || length() >= max_length) cause = Cause::kFault;
  if (length() >= max_length) {
    ++beyond_;
  } else {
    request_->Commit(token, cause);
  }
  ++metrics->tokens[static_cast<size_t>(cause)];
}

void CpuSlot::Commit(std::span<const uint32_t> tokens, uint64_t max_length, EngineMetrics* metrics) {
  const uint64_t before = length();
  bool matching = true;
  try {
    for (size_t i = 0; i < tokens.size(); ++i) {
      matching = matching && i < noted_ && (notes_[i].any || notes_[i].token == tokens[i]);
      CommitAs(tokens[i], matching ? notes_[i].cause : Cause::kForced, max_length, metrics);
    }
  } catch (...) {  // memory is short: all or nothing
    const size_t noted = noted_;
    Rollback(length() - before, metrics);
    noted_ = noted;
    throw;
  }
  if (length() > max_length) metrics->too_long += length() - std::max(before, max_length);
  if (!tokens.empty()) ForgetNotes();
}

void CpuSlot::Rollback(uint64_t n, EngineMetrics* metrics) {
  if (n == 0) return;
  ForgetNotes();
  const uint64_t beyond = std::min(n, beyond_);
  beyond_ -= beyond;
  metrics->tokens[kRowFault] -= beyond;
  n = std::min<uint64_t>(n - beyond, request_->size());
  for (size_t i = request_->size() - n; i < request_->size(); ++i) --metrics->tokens[static_cast<size_t>(request_->causes()[i])];
  (void)request_->Rollback(n);  // not more than there are
}

void CpuSlot::Rebuild(std::span<const uint32_t> tokens, uint64_t max_length, EngineMetrics* metrics) {
  ForgetNotes();
  const std::span<const uint32_t> had = request_->tokens();
  const size_t common = static_cast<size_t>(std::mismatch(tokens.begin(), tokens.end(), had.begin(), had.end()).first - tokens.begin());
  Rollback(length() - common, metrics);
  for (size_t i = common; i < tokens.size(); ++i) CommitAs(tokens[i], Cause::kForced, max_length, metrics);
}

}  // namespace countermark::server
