// libcountermark_llama_preload.so: the mark in an unmodified llama-server.
//
//   LD_PRELOAD=libcountermark_llama_preload.so COUNTERMARK_CONFIG=/etc/countermark/config.toml llama-server …
//
// llama.cpp's common_sampler_init makes one chain a request, on one thread: llama_sampler_chain_init, then each sampler's own init in the chain's order, at the end
// llama_sampler_init_dist (or mirostat's, or adaptive-p's). These calls cross from libllama-common into libllama by the dynamic linker, and end here instead:
// - dry's brings the account's ticket among the sequence breakers;
// - temperature's and the truncations' parameters are raised to the entropy floor, where the epoch's policy asks for it;
// - in the place of the terminal sampler comes ours (sampler.h), which chooses from what the others leave.
// Everything else goes on to libllama. In a program that does not sample through libllama, such as the shell around a server, nothing happens.
#include <dlfcn.h>
#include <llama.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/strings.h"
#include "src/llama/preload_program.h"
#include "src/llama/preload_service.h"

namespace countermark {
namespace {

constexpr const char* kConfigVariable = "COUNTERMARK_CONFIG";
constexpr std::string_view kTicketHead = "cm1.";
// Functions' parameters changed before this version, and may after it.
constexpr std::string_view kSupported = "0.5.";
constexpr EntropyFloor kFloor;
// The floor of truncations that mark-format.md does not name: as much left to chance.
constexpr float kFloorTypical = 0.5f, kFloorSigma = 1.0f;
// XTC takes the likely tokens away but the last of them, and a repetition penalty multiplies logits: at their extremes one token is left, or as good as one.
constexpr float kMostXtc = 0.5f, kLeastXtcThreshold = 0.1f, kLeastPenalty = 0.9f, kMostPenalty = 2.0f;

PreloadService* service = nullptr;  // null: the program is none of ours. Never freed: threads may still sample while a process ends.
bool first_chain_checked = false;   // on the thread that makes chains

// Of the chain that is being made on this thread.
thread_local AskedChain chain;
thread_local const llama_model* chain_model = nullptr;

[[noreturn]] void Refuse(std::string_view why) {
  std::fprintf(stderr, "countermark: not serving: %.*s\n", static_cast<int>(why.size()), why.data());
  _exit(1);
}

// The library's own function of that name, behind ours.
template <typename Function>
Function* Next(const char* name) {
  void* const address = dlsym(RTLD_NEXT, name);
  if (address == nullptr) Refuse(Cat("libllama has no ", name));
  return reinterpret_cast<Function*>(address);
}
#define COUNTERMARK_NEXT(name) ([] { static decltype(&name) const address = countermark::Next<decltype(name)>(#name); return address; }())

// Before main: the line that says why a server does not start comes before anything it does.
__attribute__((constructor)) void Start() {
  const Program program = LookAtProgram("llama_sampler_init_dist", &service);
  if (program.kind == Program::kOther) return;
  if (program.kind == Program::kUnreachable) Refuse(program.why);
  auto* const version = reinterpret_cast<decltype(&llama_version)>(dlsym(RTLD_DEFAULT, "llama_version"));
  const std::string_view found = version ? version() : "of before versions had numbers";
  if (found.substr(0, kSupported.size()) != kSupported) Refuse(Cat("llama.cpp ", found, " is not supported; ", kSupported, "x is"));
  const char* const config = std::getenv(kConfigVariable);
  if (config == nullptr || *config == '\0') Refuse(Cat(kConfigVariable, " is not set: it names the configuration file"));
  // The process will hold keys, and is not to leave them in a file. 1 byte, since the kernel takes 0 for "hand it to the program of core_pattern".
  const rlimit none{1, 1};
  setrlimit(RLIMIT_CORE, &none);
  try {
    absl::StatusOr<std::unique_ptr<PreloadService>> started = PreloadService::Start(config);
    if (!started.ok()) Refuse(std::string(started.status().message()));
    service = started->release();
    std::fprintf(stderr, "countermark: %s\n", service->Describe().c_str());
  } catch (const std::exception& e) {
    Refuse(e.what());
  }
}

int32_t VocabularyOf(const llama_model* model) {
  if (model == nullptr) return -1;
  auto* const vocab_of = COUNTERMARK_NEXT(llama_model_get_vocab);
  auto* const tokens_of = COUNTERMARK_NEXT(llama_vocab_n_tokens);
  return tokens_of(vocab_of(model));
}

// The chain's last sampler. What it throws ends in the server's handler for requests whose samplers cannot be made.
llama_sampler* Terminal(uint32_t seed, const char* instead_of) {
  AskedChain asked = std::move(chain);
  chain = AskedChain();
  asked.instead_of = instead_of;
  asked.vocabulary = VocabularyOf(chain_model);
  if (!first_chain_checked) {
    // The server makes a chain of its own settings for each slot, before it listens.
    first_chain_checked = true;
    if (const absl::Status status = service->CheckFirst(asked); !status.ok()) Refuse(std::string(status.message()));
  }
  const std::optional<uint64_t> given = seed == LLAMA_DEFAULT_SEED ? std::nullopt : std::optional<uint64_t>(seed);
  absl::StatusOr<llama_sampler*> sampler = service->Make(asked, given);
  if (!sampler.ok()) throw std::runtime_error(std::string(sampler.status().message()));
  return *sampler;
}

// Whether parameters below the floor are raised to it. `deny` is the gateway's to say in words; what comes past it is raised.
bool Raises() { return service->low_entropy() != LowEntropyPolicy::kAllow; }

// Notes that a parameter asks for less than the floor, and gives what is to be used.
template <typename T>
T Raised(T asked, T floor) {
  chain.below_floor = true;
  return Raises() ? floor : asked;
}

}  // namespace
}  // namespace countermark

using countermark::chain;
using countermark::kFloor;
using countermark::Raised;
using countermark::service;

extern "C" {

// sampler.cc makes its sampler with this: bound here, since the library is not linked to libllama, of which a second copy must not come into the server.
llama_sampler* llama_sampler_init(llama_sampler_i* iface, llama_sampler_context_t ctx) { return COUNTERMARK_NEXT(llama_sampler_init)(iface, ctx); }

// The first thing that common_sampler_init asks for: which model the chain is for.
const llama_vocab* llama_model_get_vocab(const llama_model* model) {
  countermark::chain_model = model;
  return COUNTERMARK_NEXT(llama_model_get_vocab)(model);
}

llama_sampler* llama_sampler_chain_init(llama_sampler_chain_params params) {
  chain = countermark::AskedChain();
  return COUNTERMARK_NEXT(llama_sampler_chain_init)(params);
}

llama_sampler* llama_sampler_init_dry(const llama_vocab* vocab, float multiplier, float base, int32_t allowed_length, int32_t last_n,
                                      const char** breakers, size_t count) {
  const auto next = COUNTERMARK_NEXT(llama_sampler_init_dry);
  if (service == nullptr) return next(vocab, multiplier, base, allowed_length, last_n, breakers, count);
  chain.has_dry = true;
  bool ticketed = false;
  for (size_t i = 0; i < count; ++i) {
    const std::string_view breaker = breakers[i] ? breakers[i] : "";
    if (breaker.substr(0, countermark::kTicketHead.size()) != countermark::kTicketHead) continue;
    ticketed = true;
    if (std::find(chain.tickets.begin(), chain.tickets.end(), breaker) == chain.tickets.end()) chain.tickets.emplace_back(breaker);
  }
  if (!ticketed) return next(vocab, multiplier, base, allowed_length, last_n, breakers, count);
  const char* defaults[] = {"\n", ":", "\"", "*"};  // llama.cpp's own: the ticket took their place
  return next(vocab, multiplier, base, allowed_length, last_n, defaults, sizeof defaults / sizeof *defaults);
}

llama_sampler* llama_sampler_init_temp(float t) {
  if (service != nullptr && !(t >= kFloor.temperature)) {
    chain.greedy |= !(t > 0);
    t = Raised(t, kFloor.temperature);
  }
  return COUNTERMARK_NEXT(llama_sampler_init_temp)(t);
}

llama_sampler* llama_sampler_init_temp_ext(float t, float delta, float exponent) {
  if (service != nullptr) {
    if (!(t >= kFloor.temperature)) {
      chain.greedy |= !(t > 0);
      t = Raised(t, kFloor.temperature);
    }
    // Dynamic temperature goes down to t − delta.
    const float most = std::max(t - kFloor.temperature, 0.0f);
    if (delta > most) delta = Raised(delta, most);
  }
  return COUNTERMARK_NEXT(llama_sampler_init_temp_ext)(t, delta, exponent);
}

llama_sampler* llama_sampler_init_top_k(int32_t k) {
  if (service != nullptr && k > 0 && k < kFloor.top_k) {
    chain.greedy |= k == 1;
    k = Raised(k, static_cast<int32_t>(kFloor.top_k));
  }
  return COUNTERMARK_NEXT(llama_sampler_init_top_k)(k);
}

llama_sampler* llama_sampler_init_top_p(float p, size_t min_keep) {
  if (service != nullptr && !(p >= static_cast<float>(kFloor.top_p))) p = Raised(p, static_cast<float>(kFloor.top_p));
  return COUNTERMARK_NEXT(llama_sampler_init_top_p)(p, min_keep);
}

llama_sampler* llama_sampler_init_min_p(float p, size_t min_keep) {
  if (service != nullptr && p > static_cast<float>(kFloor.min_p)) p = Raised(p, static_cast<float>(kFloor.min_p));
  return COUNTERMARK_NEXT(llama_sampler_init_min_p)(p, min_keep);
}

llama_sampler* llama_sampler_init_typical(float p, size_t min_keep) {
  if (service != nullptr && !(p >= countermark::kFloorTypical)) p = Raised(p, countermark::kFloorTypical);
  return COUNTERMARK_NEXT(llama_sampler_init_typical)(p, min_keep);
}

llama_sampler* llama_sampler_init_top_n_sigma(float n) {
  if (service != nullptr && n > 0 && n < countermark::kFloorSigma) n = Raised(n, countermark::kFloorSigma);
  return COUNTERMARK_NEXT(llama_sampler_init_top_n_sigma)(n);
}

llama_sampler* llama_sampler_init_xtc(float p, float t, size_t min_keep, uint32_t seed) {
  if (service != nullptr && p > 0) {
    if (p > countermark::kMostXtc) p = Raised(p, countermark::kMostXtc);
    if (!(t >= countermark::kLeastXtcThreshold)) t = Raised(t, countermark::kLeastXtcThreshold);
  }
  return COUNTERMARK_NEXT(llama_sampler_init_xtc)(p, t, min_keep, seed);
}

llama_sampler* llama_sampler_init_penalties(int32_t n_vocab, int32_t last_n, float repeat, float frequency, float present) {
  if (service != nullptr && last_n != 0 && !(repeat >= countermark::kLeastPenalty)) repeat = Raised(repeat, countermark::kLeastPenalty);
  if (service != nullptr && last_n != 0 && repeat > countermark::kMostPenalty) repeat = Raised(repeat, countermark::kMostPenalty);
  return COUNTERMARK_NEXT(llama_sampler_init_penalties)(n_vocab, last_n, repeat, frequency, present);
}

llama_sampler* llama_sampler_init_dist(uint32_t seed) {
  return service == nullptr ? COUNTERMARK_NEXT(llama_sampler_init_dist)(seed) : countermark::Terminal(seed, nullptr);
}

llama_sampler* llama_sampler_init_mirostat(int32_t n_vocab, uint32_t seed, float tau, float eta, int32_t m) {
  return service == nullptr ? COUNTERMARK_NEXT(llama_sampler_init_mirostat)(n_vocab, seed, tau, eta, m) : countermark::Terminal(seed, "mirostat");
}

llama_sampler* llama_sampler_init_mirostat_v2(uint32_t seed, float tau, float eta) {
  return service == nullptr ? COUNTERMARK_NEXT(llama_sampler_init_mirostat_v2)(seed, tau, eta) : countermark::Terminal(seed, "mirostat_v2");
}

llama_sampler* llama_sampler_init_adaptive_p(float target, float decay, uint32_t seed) {
  return service == nullptr ? COUNTERMARK_NEXT(llama_sampler_init_adaptive_p)(target, decay, seed) : countermark::Terminal(seed, "adaptive_p");
}

}  // extern "C"
