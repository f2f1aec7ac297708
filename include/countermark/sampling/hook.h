// The sampling hook: logits and a request's state in, a marked token out. The CPU form, and the reference of every other one.
//
//   CM_ASSIGN_OR_RETURN(Hook hook, Hook::Create(epoch_keys));
//   CM_ASSIGN_OR_RETURN(Request request, hook.Begin({.account = "org-1", .parameters = {.temperature = 0.8f, .top_p = 0.95}}));
//   RowScratch scratch;
//   for (;;) {
//     Row row = {logits, n_vocab};                       // after the server's penalties and grammar
//     CM_ASSIGN_OR_RETURN(Choice choice, hook.Choose(request, row, &scratch));
//     request.Commit(choice.token, choice.cause);
//   }
//
// A hook is immutable and may be used from many threads; a request and a scratch belong to one thread at a time.
#ifndef COUNTERMARK_SAMPLING_HOOK_H_
#define COUNTERMARK_SAMPLING_HOOK_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/keys/epoch.h"
#include "countermark/mark/tournament.h"
#include "countermark/sampling/request.h"
#include "countermark/sampling/row.h"

namespace countermark {

struct HookOptions {
  bool require_registered_accounts = true;  // an unknown account is an error at Begin
  bool marking = true;                      // false: the same hook with the mark left out, for comparisons and --no-mark
  int tournament_candidates = kDefaultTournamentCandidates;  // M, fixed for a deployment
  EntropyFloor floor;
};

struct Choice {
  uint32_t token = 0;
  Cause cause = Cause::kFault;
  int channel = -1;            // the window's channel when marked, else −1
  uint32_t candidates = 0;     // how many tokens truncation left
};

class Hook {
 public:
  // Runs the built-in self-test first: Internal if this build or machine does not reproduce the format's known answers, so that a server
  // refuses to start. InvalidArgument: a record that does not validate.
  static absl::StatusOr<Hook> Create(EpochKeys keys, const HookOptions& options = {});

  // NotFound: the account is not registered. InvalidArgument, PermissionDenied: the parameters (sampling/parameters.h). InvalidArgument: no account, and not
  // base_only either; or both.
  absl::StatusOr<Request> Begin(const RequestOptions& options) const;
  // The same for a host that keeps accounts' keys derived: `account_key` is EpochKeys::Account of the label, which the host has seen to be registered;
  // a request that is base_only has none, and begins by the function above.
  absl::StatusOr<Request> Begin(const RequestOptions& options, const Secret32& account_key) const;

  // The next token. Pure: the state moves in Request::Commit alone. `row` has at least the vocabulary's tokens (rows padded beyond are
  // never chosen) or names its tokens. InvalidArgument: too few logits, or a request that another hook began. Unavailable: nothing finite in the row.
  //
  // `attempt`: how many tokens the host has already refused at this position and masked (a grammar checked after sampling). Each attempt draws
  // anew: with the same noise the second choice would lean towards the neighbours of the refused token. A tournament is not played again, since its words
  // have already spoken; its further attempts are plain draws, counted as forced. Gumbel's race among those left is right as it is.
  absl::StatusOr<Choice> Choose(const Request& request, const Row& row, RowScratch* scratch, uint32_t attempt = 0) const;

  // For hosts that keep their own sampler and let the logits be changed alone; logits[0 … size) is changed in place. Partition adds δ to the green
  // tokens' logits, and leaves a position without a mark (start, repeated window, off) to the host; such a host truncates before this, and samples
  // with request.parameters(), or the entropy floor is not kept. Tournament, gumbel, greedy requests and faults leave one token finite: the one
  // Choose gives.
  absl::StatusOr<Choice> Bias(const Request& request, std::span<float> logits, RowScratch* scratch) const;

  const EpochRecord& record() const { return keys_.record; }
  const std::vector<std::string>& accounts() const { return keys_.accounts; }

 private:
  friend struct RequestAccess;  // src/sampling/request_access.h: what an engine on a device must know
  struct Position;
  Hook(EpochKeys keys, const HookOptions& options);
  absl::StatusOr<Request> BeginWith(const RequestOptions& options, const Secret32& noise_key, const Secret32* account_key) const;
  absl::Status CheckBegunHere(const Request& request) const;
  Position Locate(const Request& request) const;
  absl::StatusOr<Choice> ChooseMarked(const Request& request, const Position& position, const CandidateSet& set, RowScratch* scratch, uint32_t attempt) const;
  uint64_t Random(const Request& request, uint32_t draw, uint32_t attempt) const;

  uint64_t id_;  // of this hook and its copies: a request goes with the hook that began it, also while epochs change
  EpochKeys keys_;
  HookOptions options_;
  uint64_t red_factor_;
  std::vector<uint32_t> weights_;  // of the channels
  Secret32 base_, route_;
  Secret32 base_only_;  // in the place of an account's key for the plain draws of requests that are base_only, and for nothing else
};

// The known answers every hook is tried on when it is made: pseudorandom function, weights, logarithms, one selection of each scheme.
absl::Status SelfTest();

}  // namespace countermark

#endif  // COUNTERMARK_SAMPLING_HOOK_H_
