#include "src/server/server_hook.h"

#include <algorithm>
#include <utility>

#include "countermark/mark/weight.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/sampling/request_access.h"
#include "src/server/cpu_engine.h"
#if COUNTERMARK_SERVER_CUDA
#include "src/server/cuda_engine.h"
#endif

namespace countermark::server {
namespace {

constexpr int32_t kDefaultCandidates = kDefaultTournamentCandidates, kDefaultAccounts = 4096;
constexpr int32_t kMostSlots = 1 << 20, kMostLength = 1 << 28, kMostColumns = 1 << 26, kMostRows = 1 << 24;

absl::Status CheckOptions(const countermark_hook_options& o) {
  const auto within = [](const char* name, int64_t value, int64_t least, int64_t most) {
    if (value >= least && value <= most) return absl::OkStatus();
    return absl::InvalidArgumentError(Cat(name, " is ", value, ", and must be from ", least, " to ", most));
  };
  CM_RETURN_IF_ERROR(within("device", o.device, COUNTERMARK_CPU, 1 << 16));
  CM_RETURN_IF_ERROR(within("max_slots", o.max_slots, 1, kMostSlots));
  CM_RETURN_IF_ERROR(within("max_rows", o.max_rows, 0, kMostRows));
  CM_RETURN_IF_ERROR(within("max_length", o.max_length, 1, kMostLength));
  CM_RETURN_IF_ERROR(within("vocabulary", o.vocabulary, 0, kTokenLimit - 1));
  CM_RETURN_IF_ERROR(within("max_columns", o.max_columns, 0, kMostColumns));
  CM_RETURN_IF_ERROR(within("scheme", o.scheme, 0, 3));
  CM_RETURN_IF_ERROR(within("tournament_candidates", o.tournament_candidates, 0, kMostColumns));
  CM_RETURN_IF_ERROR(within("account_cache", o.account_cache, 0, 1 << 26));
  return within("marking", o.marking, 0, 1);
}

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const EngineShape& shape, int32_t device, const HookOptions& options) {
  if (device == COUNTERMARK_CPU) return MakeCpuEngine(shape);
#if COUNTERMARK_SERVER_CUDA
  return MakeCudaEngine(shape, device, options);
#else
  (void)options;
  return absl::UnavailableError(Cat("device ", device, ": this build has no CUDA; COUNTERMARK_CPU is there"));
#endif
}

HookOptions OptionsOf(const countermark_hook_options& o) {
  HookOptions options;
  options.marking = o.marking != 0;
  options.tournament_candidates = o.tournament_candidates != 0 ? o.tournament_candidates : kDefaultCandidates;
  return options;
}

}  // namespace

Answer AnswerOf(const absl::Status& status) {
  countermark_status as = COUNTERMARK_INTERNAL;
  switch (status.code()) {
    case absl::StatusCode::kOk: as = COUNTERMARK_OK; break;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange: as = COUNTERMARK_INVALID_ARGUMENT; break;
    case absl::StatusCode::kNotFound: as = COUNTERMARK_NOT_FOUND; break;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kFailedPrecondition: as = COUNTERMARK_DENIED; break;
    case absl::StatusCode::kDataLoss: as = COUNTERMARK_CORRUPT; break;
    case absl::StatusCode::kResourceExhausted: as = COUNTERMARK_OUT_OF_MEMORY; break;
    case absl::StatusCode::kUnavailable: as = COUNTERMARK_DEVICE; break;
    default: break;
  }
  return {as, std::string(status.message())};
}

absl::StatusOr<std::unique_ptr<ServerHook>> ServerHook::Create(std::shared_ptr<Epochs> epochs, const countermark_hook_options& options) {
  CM_RETURN_IF_ERROR(CheckOptions(options));
  std::unique_ptr<ServerHook> hook(new ServerHook(std::move(epochs), options));
  const std::shared_ptr<const OpenedEpoch> epoch = hook->epochs_->Current();
  if (epoch == nullptr) return absl::FailedPreconditionError(Cat("no epoch is in use at this time; open are: ", hook->epochs_->Describe()));
  // What the options leave open is the epoch's; from here on it is the hook's.
  const EpochRecord& record = epoch->keys.record;
  if (hook->options_.vocabulary == 0) hook->options_.vocabulary = static_cast<int32_t>(std::min<uint32_t>(record.vocabulary, kTokenLimit));
  if (hook->options_.scheme == 0) hook->options_.scheme = static_cast<int32_t>(record.mark.scheme);
  CM_ASSIGN_OR_RETURN(hook->current_, hook->Prepare(epoch));
  EngineShape& shape = hook->shape_;
  shape.slots = options.max_slots;
  shape.rows = options.max_rows != 0 ? options.max_rows : options.max_slots;
  shape.max_length = options.max_length;
  shape.vocabulary = hook->options_.vocabulary;
  shape.columns = options.max_columns != 0 ? options.max_columns : (shape.vocabulary + 255) / 256 * 256;
  shape.scheme = static_cast<Scheme>(hook->options_.scheme);
  if (shape.columns < shape.vocabulary) {
    return absl::InvalidArgumentError(Cat("max_columns is ", shape.columns, ", and the vocabulary has ", shape.vocabulary, " tokens"));
  }
  CM_ASSIGN_OR_RETURN(hook->engine_, MakeEngine(shape, options.device, OptionsOf(options)));
  hook->in_use_.resize(static_cast<size_t>(shape.slots));
  return hook;
}

absl::StatusOr<std::shared_ptr<EpochHook>> ServerHook::Prepare(std::shared_ptr<const OpenedEpoch> epoch) const {
  const EpochRecord& record = epoch->keys.record;
  if (record.vocabulary != static_cast<uint32_t>(options_.vocabulary)) {
    return absl::FailedPreconditionError(
        Cat("epoch '", epoch->Name(), "' is for a vocabulary of ", record.vocabulary, " tokens, and this hook for ", options_.vocabulary));
  }
  if (static_cast<int32_t>(record.mark.scheme) != options_.scheme) {
    return absl::FailedPreconditionError(Cat("epoch '", epoch->Name(), "' marks with the ", SchemeName(record.mark.scheme),
                                             " scheme, and this hook with ", SchemeName(static_cast<Scheme>(options_.scheme))));
  }
  CM_ASSIGN_OR_RETURN(Hook hook, Hook::Create(epoch->keys, OptionsOf(options_)));
  const size_t accounts = static_cast<size_t>(options_.account_cache != 0 ? options_.account_cache : kDefaultAccounts);
  return std::make_shared<EpochHook>(EpochHook{epoch, std::move(hook), AccountKeys(epoch, accounts)});
}

absl::StatusOr<std::shared_ptr<EpochHook>> ServerHook::Now() {
  const std::shared_ptr<const OpenedEpoch> epoch = epochs_->Current();
  if (epoch == nullptr) return absl::FailedPreconditionError(Cat("no epoch is in use at this time; open are: ", epochs_->Describe()));
  if (current_ == nullptr || current_->epoch != epoch) {
    CM_ASSIGN_OR_RETURN(current_, Prepare(epoch));
  }
  return current_;
}

Answer ServerHook::BeginFaulty(int32_t slot, const RequestOptions& request, void* stream, Answer why) {
  BegunRequest begun{kSlotFaulty, nullptr, RequestAccess::WithoutKeys(kMinWindow, request.parameters)};
  const absl::Status status = BeginInEngine(slot, std::move(begun), stream);
  return status.ok() ? why : AnswerOf(status);
}

Answer ServerHook::Begin(int32_t slot, const countermark_request& asked, void* stream) {
  // Whatever goes wrong from here on, nothing of the slot's last request is left.
  if (Answer ended = End(slot, stream); ended.status != COUNTERMARK_OK) return ended;
  if (asked.account == nullptr) return {COUNTERMARK_INVALID_ARGUMENT, "a request needs an account"};
  if (asked.prompt == nullptr && asked.prompt_size != 0) return {COUNTERMARK_INVALID_ARGUMENT, "prompt is null, and prompt_size is not 0"};
  RequestOptions request;
  request.account = asked.account;
  request.base_only = request.account.empty();
  if (asked.request != nullptr) request.request = asked.request;
  request.parameters = {asked.temperature, asked.top_k, asked.top_p, asked.min_p};
  if (asked.seeded != 0) request.seed = asked.seed;
  request.prompt = {asked.prompt, asked.prompt_size};
  // A parameter out of range is the caller's error, whoever asks; only then is the account looked at.
  if (const auto checked = ApplyLowEntropyPolicy(request.parameters, LowEntropyPolicy::kAllow); !checked.ok()) return AnswerOf(checked.status());

  const absl::StatusOr<std::shared_ptr<EpochHook>> epoch = Now();
  if (!epoch.ok()) {
    Answer why = AnswerOf(epoch.status());
    if (!absl::IsFailedPrecondition(epoch.status())) return why;  // a self-test that failed only now: this machine must not mark
    why.status = COUNTERMARK_WRONG_EPOCH;
    why = BeginFaulty(slot, request, stream, std::move(why));
    if (why.status == COUNTERMARK_WRONG_EPOCH) ++ended_epochs_;
    return why;
  }
  absl::StatusOr<Request> begun = absl::UnknownError("not begun");
  if (request.base_only) {
    begun = (*epoch)->hook.Begin(request);
  } else {
    const absl::StatusOr<Secret32> account_key = (*epoch)->accounts.KeyOf(request.account);
    if (!account_key.ok()) {
      Answer why = BeginFaulty(slot, request, stream, {COUNTERMARK_UNKNOWN_ACCOUNT, std::string(account_key.status().message())});
      if (why.status == COUNTERMARK_UNKNOWN_ACCOUNT) ++unknown_accounts_;
      return why;
    }
    begun = (*epoch)->hook.Begin(request, *account_key);
  }
  if (!begun.ok()) {
    if (absl::IsPermissionDenied(begun.status())) return {COUNTERMARK_POLICY, std::string(begun.status().message())};
    return AnswerOf(begun.status());
  }
  const SamplingParameters& p = begun->parameters();
  const bool greedy = p.temperature < kMinTemperature || p.top_k == 1;
  const SlotState state = greedy ? kSlotGreedy : options_.marking == 0 ? kSlotOff : kSlotMarked;
  return AnswerOf(BeginInEngine(slot, {state, *epoch, *std::move(begun)}, stream));
}

Answer ServerHook::End(int32_t slot, void* stream) {
  const absl::Status status = engine_->End(slot, stream);
  if (status.ok()) in_use_[static_cast<size_t>(slot)] = 0;  // else the slot still holds what it held, and is counted
  return AnswerOf(status);
}

absl::Status ServerHook::BeginInEngine(int32_t slot, BegunRequest request, void* stream) {
  const absl::Status status = engine_->Begin(slot, std::move(request), stream);
  if (status.ok()) {
    in_use_[static_cast<size_t>(slot)] = 1;
    ++requests_;
    return status;
  }
  // It may have begun in part: the slot is to be empty.
  if (!engine_->End(slot, stream).ok()) in_use_[static_cast<size_t>(slot)] = 1;
  return status;
}

absl::StatusOr<countermark_metrics> ServerHook::Metrics() {
  CM_ASSIGN_OR_RETURN(const EngineMetrics totals, engine_->Metrics());
  countermark_metrics m = {};
  m.struct_size = sizeof m;
  m.marked = totals.tokens[kRowMarked];
  m.start = totals.tokens[kRowStart];
  m.greedy = totals.tokens[kRowGreedy];
  m.repeated_window = totals.tokens[kRowRepeatedWindow];
  m.forced = totals.tokens[kRowForced];
  m.tail = totals.tokens[kRowTail];
  m.fault = totals.tokens[kRowFault];
  m.off = totals.tokens[kRowOff];
  m.bad_slots = totals.bad_slots;
  m.bad_rows = totals.bad_rows;
  m.too_long = totals.too_long;
  m.unknown_accounts = unknown_accounts_;
  m.ended_epochs = ended_epochs_;
  m.requests = requests_;
  m.slots_in_use = static_cast<int32_t>(std::count(in_use_.begin(), in_use_.end(), 1));
  m.slots = shape_.slots;
  m.steps = totals.steps;
  m.last_step_seconds = totals.last_step_seconds;
  m.all_steps_seconds = totals.all_steps_seconds;
  return m;
}

}  // namespace countermark::server
