// The hook of a llama.cpp server that was not built with it: keys, accounts and counters of one process, and the sampler for each chain.
//
//   CM_ASSIGN_OR_RETURN(std::unique_ptr<PreloadService> service, PreloadService::Start("/etc/countermark/config.toml"));   // else: do not serve
//   llama_sampler* sampler = service->Make(asked, seed);   // at the end of the chain, in the place of llama.cpp's dist
//
// May be used from many threads. Bundles are looked at again every few seconds: the next epoch's, and new accounts, are taken in while serving, and requests
// that run keep their epoch.
#ifndef COUNTERMARK_SRC_LLAMA_PRELOAD_SERVICE_H_
#define COUNTERMARK_SRC_LLAMA_PRELOAD_SERVICE_H_

#include <llama.h>
#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/sampling/hook.h"
#include "src/llama/preload_config.h"
#include "src/llama/preload_counters.h"
#include "src/server/account_keys.h"
#include "src/server/epochs.h"
#include "src/server/ticket.h"

namespace countermark {

// How one chain of samplers was asked for, as far as its making showed on the thread that made it.
struct AskedChain {
  std::vector<std::string> tickets;  // each different one that came in the place of sequence breakers
  bool has_dry = false;              // a chain without it has lost its ticket
  bool below_floor = false;          // temperature or truncation asked for less than the floor
  bool greedy = false;               // temperature 0 or top-k 1
  const char* instead_of = nullptr;  // the terminal sampler that was asked for, if it is not dist
  int32_t vocabulary = -1;           // tokens of the model; −1: not seen
};

class PreloadService {
 public:
  // Errors are lines for the operator, and none of them holds a secret.
  static absl::StatusOr<std::unique_ptr<PreloadService>> Start(const std::string& config_path);

  // What the epoch of a request that begins now says; the floor, where there is none.
  LowEntropyPolicy low_entropy();

  // Whether a server that makes this chain first, from its own command line, can be served. FailedPrecondition says why not.
  absl::Status CheckFirst(const AskedChain& asked);

  // Never a sampler that leaves text unmarked and uncounted. An error only where memory is short.
  absl::StatusOr<llama_sampler*> Make(const AskedChain& asked, std::optional<uint64_t> seed);

  // One line for the log: what is marked, and how.
  std::string Describe();

 private:
  // An epoch with what is made for it once. Requests hold it to their end.
  struct Served {
    std::shared_ptr<const server::OpenedEpoch> epoch;
    std::shared_ptr<const Hook> hook;
    std::unique_ptr<server::AccountKeys> accounts;  // under the service's lock
  };
  struct Admission {
    std::string account;  // "": of none, the base channel alone
    std::string label;
    Counters::Series outcome;
  };
  using FileState = std::tuple<dev_t, ino_t, off_t, int64_t>;

  PreloadService(ServingConfig config, std::unique_ptr<Counters> counters);
  absl::Status OpenBundles(bool all);
  absl::Status OpenOne(const std::string& path);
  // Null: no epoch is in use that goes with the model.
  std::shared_ptr<Served> Now();
  Admission Admit(const AskedChain& asked);
  void Watch();

  const ServingConfig config_;
  const std::shared_ptr<Counters> counters_;
  std::optional<server::TicketKey> ticket_key_;
  server::Epochs epochs_;
  std::map<std::string, FileState> seen_;  // of bundles; the watching thread's, after the start

  std::mutex mutex_;  // of what follows
  std::shared_ptr<Served> current_;
  std::shared_ptr<const Hook> plain_;  // draws where there is no epoch in use
  int32_t vocabulary_ = -1;            // of the model
  std::map<std::string, std::pair<uint32_t, int64_t>> uses_;  // of tickets: how often, and until when they matter
};

}  // namespace countermark

#endif  // COUNTERMARK_SRC_LLAMA_PRELOAD_SERVICE_H_
