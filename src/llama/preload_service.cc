#include "src/llama/preload_service.h"

#include <pthread.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <thread>
#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/llama/sampler.h"

namespace countermark {
namespace {

constexpr auto kLookAgain = std::chrono::seconds(3);
constexpr size_t kAccountKeys = 4096, kTickets = 1 << 16;
// A GGUF's vocabulary may be padded beyond the tokenizer's, to a multiple of some hundreds. A wrong epoch's differs by more, or is larger.
constexpr int64_t kMostPadding = 1024;

int64_t Seconds() { return static_cast<int64_t>(std::time(nullptr)); }

// Counts what becomes of one sampler and its clones.
class Tally : public LlamaSamplerListener {
 public:
  Tally(std::shared_ptr<Counters> counters, std::vector<Counters::Series> begun, bool faulty)
      : counters_(std::move(counters)), begun_(std::move(begun)), faulty_(faulty) {}

  void Began(bool prompted) noexcept override {
    served_ = prompted;
    counted_ = 0;
    if (!served_) return;  // a draft: llama.cpp resets its chain before each, and no prompt goes through it
    for (const Counters::Series series : begun_) counters_->Add(series);
  }

  void Took(size_t position, Cause cause) noexcept override {
    if (!served_) return counters_->Add(Counters::kDraftTokens);
    if (position < counted_) return;  // a clone has gone back
    counted_ = position + 1;
    counters_->Add(Counters::Of(faulty_ ? Cause::kFault : cause));
  }

 private:
  const std::shared_ptr<Counters> counters_;
  const std::vector<Counters::Series> begun_;
  const bool faulty_;  // no epoch was in use: whatever the sampler says, this is drawn plainly
  bool served_ = false;
  size_t counted_ = 0;
};

Counters::Series ReplacedBy(std::string_view name) {
  return name == "mirostat" ? Counters::kMirostat : name == "mirostat_v2" ? Counters::kMirostatV2 : Counters::kAdaptiveP;
}

absl::Status CheckVocabulary(const EpochRecord& record, int32_t vocabulary) {
  if (vocabulary < 0) return absl::OkStatus();
  const int64_t padding = int64_t{vocabulary} - int64_t{record.vocabulary};
  if (padding >= 0 && padding <= kMostPadding) return absl::OkStatus();
  return absl::FailedPreconditionError(Cat("epoch '", record.tenant, "/", record.epoch, "' is for a vocabulary of ", record.vocabulary,
                                           " tokens, and the model has ", vocabulary));
}

}  // namespace

PreloadService::PreloadService(ServingConfig config, std::unique_ptr<Counters> counters)
    : config_(std::move(config)), counters_(std::move(counters)), epochs_(Seconds) {}

absl::StatusOr<std::unique_ptr<PreloadService>> PreloadService::Start(const std::string& config_path) {
  CM_ASSIGN_OR_RETURN(ServingConfig config, ReadServingConfig(config_path));
  if (config.state_dir.empty()) return absl::InvalidArgumentError(Cat("'", config_path, "': state_dir is missing: the folder of the counters, which another program answers /metrics from"));
  CM_ASSIGN_OR_RETURN(std::unique_ptr<Counters> counters, Counters::Open(config.state_dir));
  std::unique_ptr<PreloadService> service(new PreloadService(std::move(config), std::move(counters)));
  if (!service->config_.ticket_key_file.empty()) {
    CM_ASSIGN_OR_RETURN(service->ticket_key_, server::TicketKey::FromFile(service->config_.ticket_key_file));
  }
  CM_RETURN_IF_ERROR(service->OpenBundles(/*all=*/true));
  const std::shared_ptr<const server::OpenedEpoch> epoch = service->epochs_.Current();
  if (epoch == nullptr) return absl::FailedPreconditionError(Cat("no epoch is in use at this time; open are: ", service->epochs_.Describe()));
  if (const std::string policy(LowEntropyPolicyName(epoch->keys.record.low_entropy)); policy != service->config_.low_entropy) {
    return absl::FailedPreconditionError(Cat("'", config_path, "': policy.low_entropy is ", service->config_.low_entropy, ", and epoch '", epoch->Name(), "' was made with ", policy));
  }
  if (!service->config_.account.empty() && !epoch->HasAccount(service->config_.account)) {
    return absl::NotFoundError(Cat("'", config_path, "': account '", service->config_.account, "' is not registered in epoch '", epoch->Name(), "'"));
  }
  {
    const std::lock_guard<std::mutex> lock(service->mutex_);
    if (service->Now() == nullptr) return absl::InternalError(Cat("epoch '", epoch->Name(), "' cannot be served"));
  }
  PreloadService* const watched = service.get();  // lives as long as the process, once it serves
  std::thread([watched] { watched->Watch(); }).detach();
  return service;
}

absl::Status PreloadService::OpenOne(const std::string& path) {
  PassphraseSource source;
  source.file = config_.passphrase_file;  // read again each time: neither it nor what it opens need stay in memory
  CM_ASSIGN_OR_RETURN(const SecretBytes passphrase, ReadPassphrase(source, ""));
  return epochs_.Open(path, passphrase);
}

absl::Status PreloadService::OpenBundles(bool all) {
  const std::vector<std::string> files = BundleFiles(config_);
  if (all && files.empty()) return absl::NotFoundError(Cat("no bundle matches '", config_.bundles.front(), "'"));
  for (const std::string& path : files) {
    struct stat s;
    if (stat(path.c_str(), &s) != 0) continue;
    const FileState state{s.st_dev, s.st_ino, s.st_size, int64_t{s.st_mtim.tv_sec} * 1000000000 + s.st_mtim.tv_nsec};
    const auto seen = seen_.find(path);
    if (seen != seen_.end() && seen->second == state) continue;
    seen_[path] = state;  // one that cannot be opened is not tried again until it changes
    const absl::Status status = OpenOne(path);
    if (status.ok()) continue;
    if (all) return status;
    counters_->Add(Counters::kBundleFailures);
    std::fprintf(stderr, "countermark: a bundle could not be opened, and what is open stays in use: %s\n", std::string(status.message()).c_str());
  }
  return absl::OkStatus();
}

void PreloadService::Watch() {
  sigset_t signals;
  sigfillset(&signals);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // they are the server's
  pthread_setname_np(pthread_self(), "countermark");
  for (;;) {
    std::this_thread::sleep_for(kLookAgain);
    try {
      (void)OpenBundles(/*all=*/false);
      const std::lock_guard<std::mutex> lock(mutex_);
      (void)Now();  // what a new epoch needs is made here and not in a request's way
    } catch (const std::exception& e) {
      std::fprintf(stderr, "countermark: looking at the bundles: %s\n", e.what());
    }
  }
}

std::shared_ptr<PreloadService::Served> PreloadService::Now() {
  std::shared_ptr<const server::OpenedEpoch> epoch = epochs_.Current();
  if (epoch == nullptr || !CheckVocabulary(epoch->keys.record, vocabulary_).ok()) return nullptr;
  if (current_ != nullptr && current_->epoch == epoch) return current_;
  absl::StatusOr<Hook> hook = Hook::Create(epoch->keys);
  if (!hook.ok()) {
    std::fprintf(stderr, "countermark: epoch '%s': %s\n", epoch->Name().c_str(), std::string(hook.status().message()).c_str());
    return nullptr;
  }
  if (plain_ == nullptr) {
    HookOptions options;
    options.marking = false;
    absl::StatusOr<Hook> plain = Hook::Create(epoch->keys, options);
    if (!plain.ok()) return nullptr;
    plain_ = std::make_shared<const Hook>(*std::move(plain));
  }
  auto accounts = std::make_unique<server::AccountKeys>(epoch, kAccountKeys);
  current_ = std::make_shared<Served>(Served{std::move(epoch), std::make_shared<const Hook>(*std::move(hook)), std::move(accounts)});
  return current_;
}

LowEntropyPolicy PreloadService::low_entropy() {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::shared_ptr<Served> served = Now();
  return served ? served->epoch->keys.record.low_entropy : LowEntropyPolicy::kFloor;
}

absl::Status PreloadService::CheckFirst(const AskedChain& asked) {
  const std::lock_guard<std::mutex> lock(mutex_);
  vocabulary_ = asked.vocabulary;
  if (current_) CM_RETURN_IF_ERROR(CheckVocabulary(current_->epoch->keys.record, vocabulary_));
  if (asked.instead_of != nullptr) {
    return absl::FailedPreconditionError(Cat("the server's own settings sample with ", asked.instead_of, ", which leaves text unmarked; start it without (--mirostat 0, no adaptive_p among --samplers)"));
  }
  if (!asked.has_dry && config_.account.empty()) {
    return absl::FailedPreconditionError("the server's own --samplers leave out dry, through which tickets travel; add it, or set account in the configuration");
  }
  return absl::OkStatus();
}

PreloadService::Admission PreloadService::Admit(const AskedChain& asked) {
  if (asked.tickets.empty()) {
    if (!config_.account.empty()) return {config_.account, "", Counters::kPort};
    return {"", "", Counters::kUnsigned};
  }
  if (asked.tickets.size() > 1 || !ticket_key_) return {"", "", Counters::kForged};
  const std::string& text = asked.tickets.front();
  const int64_t now = Seconds();
  const absl::StatusOr<server::Ticket> ticket = ticket_key_->Verify(text, now);
  if (!ticket.ok()) return {"", "", absl::IsDeadlineExceeded(ticket.status()) ? Counters::kStale : Counters::kForged};
  // Choices of n > 1, and a request's several prompts, share a ticket; each gets a label of its own.
  if (uses_.size() >= kTickets) std::erase_if(uses_, [&](const auto& use) { return use.second.second <= now; });
  auto& use = uses_[text];
  use.second = ticket->expiry;
  return {ticket->account, Cat(ticket->request, "/", use.first++), Counters::kSigned};
}

absl::StatusOr<llama_sampler*> PreloadService::Make(const AskedChain& asked, std::optional<uint64_t> seed) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::shared_ptr<Served> served = Now();
  Admission admission = Admit(asked);
  std::vector<Counters::Series> begun = {admission.outcome};
  RequestOptions options;
  options.seed = seed;
  LlamaSeat seat;
  if (served && !admission.account.empty()) {
    const absl::StatusOr<Secret32> key = served->accounts->KeyOf(admission.account);
    if (key.ok()) {
      options.account = std::move(admission.account);
      options.request = std::move(admission.label);
      seat.account_key = *key;
    } else {
      begun.push_back(Counters::kUnknownAccounts);
    }
  }
  options.base_only = !seat.account_key.has_value();
  if (!served) begun.push_back(Counters::kEndedEpochs);
  if (asked.instead_of != nullptr) begun.push_back(ReplacedBy(asked.instead_of));
  const bool allowed = served && served->epoch->keys.record.low_entropy == LowEntropyPolicy::kAllow;
  if (asked.below_floor && !allowed) {
    seat.floored = true;
    begun.push_back(Counters::kFloored);
  }
  // What is left of a row after temperature 0 is one token: it is counted as what was asked for.
  if (asked.greedy && allowed) options.parameters.temperature = 0;
  seat.listener = std::make_shared<Tally>(counters_, std::move(begun), !served);
  return MakeLlamaSampler(served ? served->hook : plain_, options, seat);
}

std::string PreloadService::Describe() {
  const std::lock_guard<std::mutex> lock(mutex_);
  const EpochRecord& record = current_->epoch->keys.record;
  return Cat("marking with epoch ", record.tenant, "/", record.epoch, ", ", SchemeName(record.mark.scheme), ", low entropy: ", LowEntropyPolicyName(record.low_entropy),
             ", accounts: ", ticket_key_ ? "by ticket" : "one for the port");
}

}  // namespace countermark
