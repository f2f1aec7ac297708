#include "countermark/sampling/request.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>

#include "countermark/mark/window.h"

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

namespace {

// Secret and this process's own, so that nobody can make windows that collide.
uint64_t Salt() {
  static const uint64_t salt = [] {
    const Secret32 random = Secret32::Random();
    uint64_t bits;
    std::memcpy(&bits, random.Reveal(SecretAccess()), sizeof bits);
    return bits;
  }();
  return salt;
}

}  // namespace

// Where the window before `position` stands in the table, or the free place where it would; the table is never full.
size_t Request::PlaceOf(const std::vector<uint32_t>& table, size_t position) const {
  const uint32_t* window = tokens_.data() + position - window_;
  const size_t mask = table.size() - 1;
  size_t place = HashWindow(window, window_, Salt()) & mask;
  while (table[place] != 0 && !std::equal(window, window + window_, tokens_.data() + (table[place] - 1) - window_)) place = (place + 1) & mask;
  return place;
}

// For one token more. All that can fail is done before anything changes.
void Request::MakeRoom() {
  if (tokens_.size() == tokens_.capacity()) tokens_.reserve(std::max<size_t>(64, 2 * tokens_.size()));
  if (causes_.size() == causes_.capacity()) causes_.reserve(std::max<size_t>(64, 2 * causes_.size()));
  if (2 * (stood_ + 1) <= seen_.size()) return;
  // In the order of positions, as they came: a rollback takes entries out in the reverse order, and then none that was put in later can have passed by it.
  std::vector<uint32_t> larger(std::max<size_t>(128, 2 * seen_.size()));
  std::vector<uint32_t> positions;
  positions.reserve(stood_);
  std::copy_if(seen_.begin(), seen_.end(), std::back_inserter(positions), [](uint32_t entry) { return entry != 0; });
  std::sort(positions.begin(), positions.end());
  for (uint32_t entry : positions) larger[PlaceOf(larger, entry - 1)] = entry;
  seen_.swap(larger);
}

const uint32_t* Request::Window() const {
  const size_t h = static_cast<size_t>(window_);
  return tokens_.size() < h ? nullptr : tokens_.data() + (tokens_.size() - h);
}

bool Request::WindowRepeats() const {
  return Window() != nullptr && !seen_.empty() && seen_[PlaceOf(seen_, tokens_.size())] != 0;
}

void Request::Commit(uint32_t token, Cause cause) {
  MakeRoom();
  // The window of the position that is filled now; the first position it stood at is kept.
  if (Window() != nullptr) {
    uint32_t& entry = seen_[PlaceOf(seen_, tokens_.size())];
    if (entry == 0) {
      entry = static_cast<uint32_t>(tokens_.size() + 1);
      ++stood_;
    }
  }
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
      uint32_t& entry = seen_[PlaceOf(seen_, position)];
      if (entry == position + 1) {
        entry = 0;
        --stood_;
      }
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
