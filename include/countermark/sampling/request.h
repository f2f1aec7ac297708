// The state of one request: the tokens it has committed, the windows they made, its keys, and what became of each token.
#ifndef COUNTERMARK_SAMPLING_REQUEST_H_
#define COUNTERMARK_SAMPLING_REQUEST_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "countermark/keys/secret.h"
#include "countermark/mark/scheme.h"
#include "countermark/sampling/parameters.h"

namespace countermark {

// Why a token carries the mark, or why it does not.
enum class Cause : uint8_t {
  kMarked,          // the mark chose it
  kStart,           // one of the first h tokens: no window
  kGreedy,          // the policy allows greedy requests, and this is one
  kRepeatedWindow,  // its window stood earlier in this request
  kForced,          // one candidate only, or the host put another token in the place of ours
  kTail,            // tournament: drawn plainly beyond the candidates of the tournament
  kFault,           // bad logits: drawn plainly from what was good
  kOff,             // the operator asked for no mark (--no-mark), or the window's channel has no key in this request (base_only)
};
inline constexpr int kCauses = 8;
const char* CauseName(Cause cause);  // "marked", "start", …

struct TokenCounters {
  std::array<uint64_t, kCauses> by_cause = {};
  uint64_t of(Cause cause) const { return by_cause[static_cast<int>(cause)]; }
  uint64_t total() const;
};

// What a host says of a request when it begins.
struct RequestOptions {
  std::string account;                // label of a registered account; an empty one, as by a slip, is refused: see base_only
  std::string request;                // label of the request, for the request channel
  SamplingParameters parameters;
  std::optional<uint64_t> seed;       // plain draws repeat for the same account and seed; none: fresh randomness
  std::span<const uint32_t> prompt;   // for floored requests: the same prompt gets the same draws
  // Nobody's: no account could be told from the request's authentication. It is marked in the base channel alone; windows of the other channels are drawn plainly
  // and counted as off. `account` must be empty then.
  bool base_only = false;
};

// Made by Hook::Begin. Copyable: a host that clones its sampler clones this. Not thread-safe; distinct requests are independent.
class Request {
 public:
  // Takes the next token of the output, whoever chose it. `cause` is what Hook::Choose said, if the token is the one it chose. Where memory is short
  // (std::bad_alloc) nothing has changed.
  void Commit(uint32_t token, Cause cause);
  // Forgets the last n tokens, counters included. n ≤ size().
  absl::Status Rollback(size_t n);
  // Replaces everything committed by `tokens`; the counters count them as kForced from the first that differs from what was
  // committed here, and keep their causes up to it.
  void Rebuild(std::span<const uint32_t> tokens);

  size_t size() const { return tokens_.size(); }
  std::span<const uint32_t> tokens() const { return tokens_; }
  std::span<const Cause> causes() const { return causes_; }
  const TokenCounters& counters() const { return counters_; }
  const SamplingParameters& parameters() const { return parameters_; }
  bool floored() const { return floored_; }

  // The window of the next token: its h tokens, oldest first, or null before position h.
  const uint32_t* Window() const;
  // Whether the next token's window stood at an earlier position. Compared exactly.
  bool WindowRepeats() const;

 private:
  friend class Hook;
  friend struct RequestAccess;  // src/sampling/request_access.h
  explicit Request(int window, const Secret32& sampling_key) : window_(window), sampling_key_(sampling_key) {}
  size_t PlaceOf(const std::vector<uint32_t>& table, size_t position) const;
  void MakeRoom();

  int window_;
  uint64_t hook_ = 0;  // Hook::id_ of the hook that began it
  SamplingParameters parameters_;
  bool floored_ = false;
  std::vector<Secret32> channel_keys_;  // one a channel of the epoch; zero where it has none
  uint32_t plain_channels_ = 0;         // bit c: channel c has no key in this request, and its windows are drawn plainly
  Secret32 sampling_key_;               // of the plain draws
  std::vector<uint32_t> tokens_;
  std::vector<Cause> causes_;
  TokenCounters counters_;
  // The windows that stood: an open-addressing table of 1 + the first position that each stood before; 0 is free. Windows are compared by their tokens.
  std::vector<uint32_t> seen_;
  size_t stood_ = 0;  // of them
};

}  // namespace countermark

#endif  // COUNTERMARK_SAMPLING_REQUEST_H_
