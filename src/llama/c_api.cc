// countermark/llama.h over the C++ sampler. Nothing of Abseil and no exception leaves this file.
#include "countermark/llama.h"

#include <cstdio>
#include <exception>
#include <memory>
#include <string>

#include "countermark/keys/key_store.h"
#include "src/llama/sampler.h"

struct countermark_llama_hook {
  std::shared_ptr<const countermark::Hook> hook;
};

namespace {

void Say(std::string_view message, char* error, size_t size) {
  if (error != nullptr && size > 0) std::snprintf(error, size, "%.*s", static_cast<int>(message.size()), message.data());
}

// Runs `body`; an exception (out of memory, in practice) becomes a message and a null.
template <typename Body>
auto Guarded(Body body, char* error, size_t size) -> decltype(body()) {
  try {
    return body();
  } catch (const std::exception& e) {
    Say(e.what(), error, size);
  } catch (...) {
    Say("unknown error", error, size);
  }
  return nullptr;
}

}  // namespace

extern "C" {

countermark_llama_hook* countermark_llama_open_bundle(const char* path, int passphrase_fd, char* error, size_t size) {
  return Guarded(
      [&]() -> countermark_llama_hook* {
        if (path == nullptr || passphrase_fd < 0) {
          Say("a bundle needs a path and a descriptor to read its passphrase from", error, size);
          return nullptr;
        }
        countermark::PassphraseSource source;
        source.descriptor = passphrase_fd;
        absl::StatusOr<countermark::SecretBytes> passphrase = countermark::ReadPassphrase(source, "");
        if (!passphrase.ok()) {
          Say(std::string(passphrase.status().message()), error, size);
          return nullptr;
        }
        absl::StatusOr<countermark::EpochKeys> keys = countermark::OpenBundle(path, *passphrase);
        if (!keys.ok()) {
          Say(std::string(keys.status().message()), error, size);
          return nullptr;
        }
        absl::StatusOr<countermark::Hook> hook = countermark::Hook::Create(*std::move(keys));
        if (!hook.ok()) {
          Say(std::string(hook.status().message()), error, size);
          return nullptr;
        }
        return new countermark_llama_hook{std::make_shared<const countermark::Hook>(*std::move(hook))};
      },
      error, size);
}

void countermark_llama_close(countermark_llama_hook* hook) { delete hook; }

uint32_t countermark_llama_vocabulary(const countermark_llama_hook* hook) { return hook ? hook->hook->record().vocabulary : 0; }

countermark_llama_options countermark_llama_default_options(void) {
  countermark_llama_options options = {};
  options.struct_size = sizeof options;
  options.temperature = 1.0f;
  options.top_p = 1.0f;
  return options;
}

llama_sampler* countermark_llama_sampler_init(const countermark_llama_hook* hook, const countermark_llama_options* options, char* error,
                                              size_t size) {
  return Guarded(
      [&]() -> llama_sampler* {
        if (hook == nullptr || options == nullptr || options->struct_size < sizeof *options || options->account == nullptr) {
          Say("a sampler needs a hook, options from countermark_llama_default_options, and an account", error, size);
          return nullptr;
        }
        countermark::RequestOptions request;
        request.account = options->account;
        request.base_only = request.account.empty();
        request.request = options->request ? options->request : "";
        request.parameters = {options->temperature, options->top_k, options->top_p, options->min_p};
        if (options->seeded) request.seed = options->seed;
        absl::StatusOr<llama_sampler*> sampler = countermark::MakeLlamaSampler(hook->hook, request);
        if (sampler.ok()) return *sampler;
        Say(std::string(sampler.status().message()), error, size);
        return nullptr;
      },
      error, size);
}

int countermark_llama_sampler_counters(const llama_sampler* sampler, countermark_llama_counters* counters) {
  const countermark::Request* request = countermark::LlamaSamplerRequest(sampler);
  if (request == nullptr || counters == nullptr) return -1;
  using countermark::Cause;
  const countermark::TokenCounters& c = request->counters();
  *counters = {c.of(Cause::kMarked), c.of(Cause::kStart), c.of(Cause::kGreedy), c.of(Cause::kRepeatedWindow),
               c.of(Cause::kForced), c.of(Cause::kTail),  c.of(Cause::kFault),  c.of(Cause::kOff)};
  return 0;
}

}  // extern "C"
