#include "countermark/sampling/request.h"

#include <algorithm>
#include <string>

namespace countermark {

const char* CauseName(Cause cause) {
  switch (cause) {
    case Cause::kMarked: return "marked";
    case Cause::kStart: return "start";
    case Cause::kGreedy: return "greedy";
    case Cause::kRepeatedWindow: return "repeated_window";
    case Cause::kForced: return "forced";
    case Cause::kTail: return "tail";
    case Cause::kFault: return "fault";
    case Cause::kOff: return "off";
  }
  return "unknown";
}

uint64_t TokenCounters::total() const {
  uint64_t sum = 0;
  for (uint64_t n : by_cause) sum += n;
  return sum;
}

Request::WindowKey Request::KeyAt(size_t position) const {
  WindowKey key = {};
  std::copy_n(tokens_.begin() + static_cast<ptrdiff_t>(position - static_cast<size_t>(window_)), window_, key.begin());
  return key;
}

const uint32_t* Request::Window() const {
  const size_t h = static_cast<size_t>(window_);
  return tokens_.size() < h ? nullptr : tokens_.data() + (tokens_.size() - h);
}

bool Request::WindowRepeats() const {
  if (Window() == nullptr) return false;
  const auto it = first_seen_.find(KeyAt(tokens_.size()));
  return it != first_seen_.end() && it->second < tokens_.size();
}

void Request::Commit(uint32_t token, Cause cause) {
  // The window of the position that is filled now; the first position it stood at is kept.
  if (Window() != nullptr) first_seen_.try_emplace(KeyAt(tokens_.size()), tokens_.size());
  tokens_.push_back(token);
  causes_.push_back(cause);
  ++counters_.by_cause[static_cast<size_t>(cause)];
}

absl::Status Request::Rollback(size_t n) {
  if (n > tokens_.size()) {
    return absl::OutOfRangeError("cannot take back " + std::to_string(n) + " tokens: only " + std::to_string(tokens_.size()) +
                                 " are committed");
  }
  for (; n > 0; --n) {
    const size_t position = tokens_.size() - 1;
    --counters_.by_cause[static_cast<size_t>(causes_.back())];
    tokens_.pop_back();
    causes_.pop_back();
    if (Window() != nullptr) {
      const auto it = first_seen_.find(KeyAt(position));
      if (it != first_seen_.end() && it->second == position) first_seen_.erase(it);
    }
  }
  return absl::OkStatus();
}

void Request::Rebuild(std::span<const uint32_t> tokens) {
  const size_t common = static_cast<size_t>(
      std::mismatch(tokens.begin(), tokens.end(), tokens_.begin(), tokens_.end()).first - tokens.begin());
  (void)Rollback(tokens_.size() - common);
  for (size_t i = common; i < tokens.size(); ++i) Commit(tokens[i], Cause::kForced);
}

}  // namespace countermark
