// countermark/countermark.h over ServerHook and Epochs. Nothing of Abseil and no exception leaves this file.
#include "countermark/countermark.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include "countermark/keys/key_store.h"
#include "src/base/strings.h"
#include "src/server/epochs.h"
#include "src/server/messages.h"
#include "src/server/server_hook.h"
#include "src/server/structs.h"

using countermark::Cat;
using countermark::server::Answer;
using countermark::server::AnswerOf;
using countermark::server::Epochs;
using countermark::server::Message;
using countermark::server::OpenedEpoch;
using countermark::server::ServerHook;
using countermark::server::SizeIsSound;
using countermark::server::TakeStruct;
using countermark::server::ThreadMessages;

struct countermark_keys {
  std::shared_ptr<Epochs> epochs;  // shared with the hooks
  mutable ThreadMessages messages;
};

struct countermark_hook {
  std::unique_ptr<ServerHook> hook;
  Message message;
};

namespace {

// The least sizes: up to the last member that a caller cannot do without.
constexpr size_t kPassphraseLeast = offsetof(countermark_passphrase, callback);
constexpr size_t kKeysLeast = sizeof(size_t);
constexpr size_t kOptionsLeast = sizeof(size_t);
constexpr size_t kRequestLeast = offsetof(countermark_request, request);
constexpr size_t kBatchLeast = offsetof(countermark_batch, out_logprobs);
constexpr size_t kMetricsLeast = offsetof(countermark_metrics, start);

constexpr char kBadSize[] = " has a struct_size that is no size of it, or members set that this library does not know";

// Runs `body`, which gives an Answer, and keeps its message. Whatever is thrown becomes a status.
template <typename Body>
countermark_status Guarded(Message* message, Body body) noexcept {
  if (message != nullptr) message->text[0] = '\0';
  const auto say = [message](const char* text) {
    if (message != nullptr) message->Set(text);
  };
  try {
    const Answer answer = body();
    if (answer.status != COUNTERMARK_OK && message != nullptr) message->Set(answer.message);
    return answer.status;
  } catch (const std::bad_alloc&) {
    say("out of memory");
    return COUNTERMARK_OUT_OF_MEMORY;
  } catch (const std::exception& e) {
    say(e.what());
  } catch (...) {
    say("an unknown exception");
  }
  return COUNTERMARK_INTERNAL;
}

Answer Invalid(std::string message) { return {COUNTERMARK_INVALID_ARGUMENT, std::move(message)}; }

int64_t SystemSeconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

absl::StatusOr<countermark::SecretBytes> PassphraseOf(const countermark_passphrase& source) {
  if (source.callback == nullptr) {
    if (source.fd < 0) return absl::InvalidArgumentError("a passphrase needs a callback, or a descriptor to read it from");
    countermark::PassphraseSource from;
    from.descriptor = source.fd;
    return countermark::ReadPassphrase(from, "");
  }
  constexpr size_t kMost = 4096;
  countermark::SecretBytes buffer(kMost);  // wiped when it goes
  const std::span<uint8_t> bytes = buffer.Mutable(countermark::SecretAccess());
  int n = source.callback(source.user, reinterpret_cast<char*>(bytes.data()), bytes.size());
  if (n < 0) return absl::PermissionDeniedError("the passphrase's callback gave none");
  if (static_cast<size_t>(n) > kMost) return absl::InvalidArgumentError(Cat("the passphrase's callback says it wrote ", n, " bytes, and had ", kMost));
  if (n > 0 && bytes[static_cast<size_t>(n) - 1] == '\n') --n;
  if (n == 0) return absl::InvalidArgumentError("the passphrase from the callback is empty");
  return countermark::SecretBytes(std::string_view(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(n)));
}

// A batch whose arrays can be read: everything that is wrong with all of it at once, before any row is looked at.
// Whether an output would be written where an input is still to be read.
bool OutputsOverlapInputs(const countermark_batch& b) {
  const size_t n = static_cast<size_t>(b.rows);
  const std::pair<const void*, size_t> outputs[] = {{b.out_tokens, 4 * n}, {b.out_logprobs, 4 * n}, {b.out_causes, n}, {b.out_accepted, 4 * n}};
  const void* const inputs[] = {b.slots, b.depths, b.drafts};
  for (const auto& [out, bytes] : outputs) {
    for (const void* in : inputs) {
      if (out == nullptr || in == nullptr) continue;
      const uintptr_t o = reinterpret_cast<uintptr_t>(out), i = reinterpret_cast<uintptr_t>(in);
      if (o < i + 4 * n && i < o + bytes) return true;
    }
  }
  return false;
}

Answer CheckBatch(const countermark_batch& b, const countermark::server::EngineShape& shape) {
  if (b.rows < 0 || b.rows > shape.rows) return Invalid(Cat("rows is ", b.rows, ", and the hook takes from 0 to ", shape.rows));
  if (b.rows == 0) return {};
  if (b.slots == nullptr || b.logits == nullptr || b.out_tokens == nullptr) return Invalid("slots, logits and out_tokens must not be null");
  if (b.depths != nullptr && b.drafts == nullptr) return Invalid("depths needs drafts");
  if (b.dtype < COUNTERMARK_F32 || b.dtype > COUNTERMARK_BF16) return Invalid(Cat("dtype is ", static_cast<int>(b.dtype), ", which is none"));
  if (b.columns < shape.vocabulary || b.columns > shape.columns) {
    return Invalid(Cat("columns is ", b.columns, ", and must be from the vocabulary's ", shape.vocabulary, " to the hook's ", shape.columns));
  }
  if (b.row_stride < b.columns) return Invalid(Cat("row_stride is ", b.row_stride, ", less than the ", b.columns, " columns"));
  if (b.row_stride > int64_t{1} << 40) return Invalid(Cat("row_stride is ", b.row_stride, ", which is beyond any memory"));
  if (OutputsOverlapInputs(b)) return Invalid("an output lies where slots, depths or drafts are still to be read");
  const uintptr_t alignment = b.dtype == COUNTERMARK_F32 ? 4 : 2;
  if (reinterpret_cast<uintptr_t>(b.logits) % alignment != 0) return Invalid("logits is not aligned to its type");
  return {};
}

template <typename Run>
countermark_status RunStep(countermark_hook* hook, const countermark_batch* given, const char* name, Run run) {
  if (hook == nullptr) return COUNTERMARK_INVALID_ARGUMENT;
  return Guarded(&hook->message, [&]() -> Answer {
    countermark_batch batch = countermark_default_batch();
    if (given == nullptr) return Invalid(Cat(name, " needs a batch"));
    if (!TakeStruct(given, kBatchLeast, &batch)) return Invalid(Cat("the batch", kBadSize));
    if (Answer bad = CheckBatch(batch, hook->hook->shape()); bad.status != COUNTERMARK_OK) return bad;
    return run(batch);
  });
}

// A call on one slot that is within the hook's.
template <typename Run>
countermark_status RunOnSlot(countermark_hook* hook, int32_t slot, Run run) {
  if (hook == nullptr) return COUNTERMARK_INVALID_ARGUMENT;
  return Guarded(&hook->message, [&]() -> Answer {
    if (!hook->hook->HasSlot(slot)) return Invalid(Cat("slot ", slot, " is not one of 0 to ", hook->hook->shape().slots - 1));
    return run(*hook->hook);
  });
}

}  // namespace

extern "C" {

const char* countermark_version(void) { return COUNTERMARK_SERVER_VERSION; }

const char* countermark_status_name(countermark_status status) {
  switch (status) {
    case COUNTERMARK_OK: return "ok";
    case COUNTERMARK_INVALID_ARGUMENT: return "invalid argument";
    case COUNTERMARK_NOT_FOUND: return "not found";
    case COUNTERMARK_DENIED: return "denied";
    case COUNTERMARK_CORRUPT: return "corrupt";
    case COUNTERMARK_WRONG_EPOCH: return "wrong epoch";
    case COUNTERMARK_SELF_TEST_FAILED: return "self-test failed";
    case COUNTERMARK_UNKNOWN_ACCOUNT: return "unknown account";
    case COUNTERMARK_POLICY: return "policy";
    case COUNTERMARK_DEVICE: return "device";
    case COUNTERMARK_OUT_OF_MEMORY: return "out of memory";
    case COUNTERMARK_INTERNAL: return "internal";
  }
  return "unknown status";
}

int countermark_has_cuda(void) { return COUNTERMARK_SERVER_CUDA; }

// ---- Keys -----------------------------------------------------------------------------------------------------------------

countermark_keys* countermark_keys_new(const countermark_keys_options* options) {
  try {
    countermark_keys_options taken = {sizeof taken, nullptr, nullptr};
    if (options != nullptr && !TakeStruct(options, kKeysLeast, &taken)) return nullptr;
    Epochs::Clock clock = SystemSeconds;
    if (taken.now != nullptr) clock = [taken] { return taken.now(taken.user); };
    return new countermark_keys{std::make_shared<Epochs>(std::move(clock)), {}};
  } catch (...) {
    return nullptr;
  }
}

countermark_status countermark_keys_open_bundle(countermark_keys* keys, const char* path, const countermark_passphrase* source) {
  if (keys == nullptr) return COUNTERMARK_INVALID_ARGUMENT;
  return Guarded(keys->messages.Mine(), [&]() -> Answer {
    countermark_passphrase taken = {sizeof taken, -1, nullptr, nullptr};
    if (path == nullptr || source == nullptr) return Invalid("a bundle needs a path and a source of its passphrase");
    if (!TakeStruct(source, kPassphraseLeast, &taken)) return Invalid(Cat("the passphrase's source", kBadSize));
    const absl::StatusOr<countermark::SecretBytes> passphrase = PassphraseOf(taken);
    if (!passphrase.ok()) return AnswerOf(passphrase.status());
    const absl::Status opened = keys->epochs->Open(path, *passphrase);
    Answer answer = AnswerOf(opened);
    if (absl::IsOutOfRange(opened)) answer.status = COUNTERMARK_CORRUPT;      // longer than any bundle
    if (absl::IsUnavailable(opened)) answer.status = COUNTERMARK_INTERNAL;    // the system could not read it
    return answer;
  });
}

const char* countermark_keys_epoch(countermark_keys* keys) {
  if (keys == nullptr) return nullptr;
  Message* mine = keys->messages.Mine();
  if (mine == nullptr) return nullptr;
  try {
    mine->text[0] = '\0';
    const std::shared_ptr<const OpenedEpoch> epoch = keys->epochs->Current();
    if (epoch == nullptr) return nullptr;
    // A name of its own a thread: it may be longer than a message.
    thread_local std::string name;
    name = epoch->Name();
    return name.c_str();
  } catch (...) {
    return nullptr;
  }
}

const char* countermark_keys_message(const countermark_keys* keys) {
  if (keys == nullptr) return "no keys";
  const Message* mine = keys->messages.Mine();
  return mine != nullptr ? mine->text : "out of memory";
}

void countermark_keys_free(countermark_keys* keys) { delete keys; }

// ---- The hook -------------------------------------------------------------------------------------------------------------

countermark_hook_options countermark_hook_default_options(void) {
  countermark_hook_options options = {};
  options.struct_size = sizeof options;
  options.device = COUNTERMARK_CPU;
  options.max_slots = 256;
  options.max_length = 32768;
  options.marking = 1;
  return options;
}

countermark_status countermark_hook_create(countermark_keys* keys, const countermark_hook_options* options, countermark_hook** hook) {
  if (hook != nullptr) *hook = nullptr;
  if (keys == nullptr) return COUNTERMARK_INVALID_ARGUMENT;
  return Guarded(keys->messages.Mine(), [&]() -> Answer {
    if (hook == nullptr) return Invalid("countermark_hook_create needs a place for the hook");
    countermark_hook_options taken = countermark_hook_default_options();
    if (options != nullptr && !TakeStruct(options, kOptionsLeast, &taken)) return Invalid(Cat("the hook's options", kBadSize));
    absl::StatusOr<std::unique_ptr<ServerHook>> created = ServerHook::Create(keys->epochs, taken);
    if (!created.ok()) {
      Answer answer = AnswerOf(created.status());
      if (absl::IsFailedPrecondition(created.status())) answer.status = COUNTERMARK_WRONG_EPOCH;
      if (absl::IsInternal(created.status())) answer.status = COUNTERMARK_SELF_TEST_FAILED;
      return answer;
    }
    *hook = new countermark_hook{*std::move(created), {}};
    return {};
  });
}

const char* countermark_hook_message(const countermark_hook* hook) { return hook != nullptr ? hook->message.text : "no hook"; }

void countermark_hook_free(countermark_hook* hook) { delete hook; }

// ---- Requests -------------------------------------------------------------------------------------------------------------

countermark_request countermark_default_request(void) {
  countermark_request request = {};
  request.struct_size = sizeof request;
  request.temperature = 1.0f;
  request.top_p = 1.0f;
  return request;
}

countermark_status countermark_begin(countermark_hook* hook, int32_t slot, const countermark_request* request, void* stream) {
  return RunOnSlot(hook, slot, [&](ServerHook& server) -> Answer {
    countermark_request taken = countermark_default_request();
    if (request == nullptr || !TakeStruct(request, kRequestLeast, &taken)) {
      (void)server.End(slot, stream);  // the slot is empty after a failure, whichever
      return Invalid(request == nullptr ? std::string("countermark_begin needs a request") : Cat("the request", kBadSize));
    }
    return server.Begin(slot, taken, stream);
  });
}

countermark_status countermark_commit(countermark_hook* hook, int32_t slot, const uint32_t* tokens, size_t n, void* stream) {
  return RunOnSlot(hook, slot, [&](ServerHook& server) -> Answer {
    if (n == 0) return {};
    if (tokens == nullptr) return Invalid("tokens is null");
    return AnswerOf(server.engine().Commit(slot, {tokens, n}, stream));
  });
}

countermark_status countermark_commit_rows(countermark_hook* hook, const int32_t* slots, const int32_t* tokens, int32_t rows, void* stream) {
  if (hook == nullptr) return COUNTERMARK_INVALID_ARGUMENT;
  return Guarded(&hook->message, [&]() -> Answer {
    if (rows < 0 || rows > hook->hook->shape().rows) return Invalid(Cat("rows is ", rows, ", and the hook takes from 0 to ", hook->hook->shape().rows));
    if (rows == 0) return {};
    if (slots == nullptr || tokens == nullptr) return Invalid("slots and tokens must not be null");
    return AnswerOf(hook->hook->engine().CommitRows(slots, tokens, rows, stream));
  });
}

countermark_status countermark_rollback(countermark_hook* hook, int32_t slot, size_t n, void* stream) {
  return RunOnSlot(hook, slot, [&](ServerHook& server) { return AnswerOf(server.engine().Rollback(slot, n, stream)); });
}

countermark_status countermark_rebuild(countermark_hook* hook, int32_t slot, const uint32_t* tokens, size_t n, void* stream) {
  return RunOnSlot(hook, slot, [&](ServerHook& server) -> Answer {
    if (tokens == nullptr && n != 0) return Invalid("tokens is null");
    return AnswerOf(server.engine().Rebuild(slot, {tokens, n}, stream));
  });
}

countermark_status countermark_end(countermark_hook* hook, int32_t slot, void* stream) {
  return RunOnSlot(hook, slot, [&](ServerHook& server) { return server.End(slot, stream); });
}

// ---- A decoding step ------------------------------------------------------------------------------------------------------

countermark_batch countermark_default_batch(void) {
  countermark_batch batch = {};
  batch.struct_size = sizeof batch;
  return batch;
}

countermark_status countermark_sample(countermark_hook* hook, const countermark_batch* batch) {
  return RunStep(hook, batch, "countermark_sample", [hook](const countermark_batch& b) { return AnswerOf(hook->hook->engine().Sample(b)); });
}

countermark_status countermark_bias(countermark_hook* hook, const countermark_batch* batch) {
  return RunStep(hook, batch, "countermark_bias", [hook](const countermark_batch& b) -> Answer {
    if (b.commit != 0) return Invalid("countermark_bias commits nothing: the host says afterwards which token it took");
    return AnswerOf(hook->hook->engine().Bias(b));
  });
}

// ---- What happened --------------------------------------------------------------------------------------------------------

countermark_status countermark_metrics_read(countermark_hook* hook, countermark_metrics* metrics) {
  if (hook == nullptr) return COUNTERMARK_INVALID_ARGUMENT;
  return Guarded(&hook->message, [&]() -> Answer {
    if (metrics == nullptr) return Invalid("countermark_metrics_read needs a place for the metrics");
    if (!SizeIsSound(metrics, kMetricsLeast)) return Invalid(Cat("the metrics' place", kBadSize));
    const absl::StatusOr<countermark_metrics> read = hook->hook->Metrics();
    if (!read.ok()) return AnswerOf(read.status());
    const size_t size = metrics->struct_size;
    std::memcpy(metrics, &*read, std::min(size, sizeof *metrics));
    metrics->struct_size = size;
    return {};
  });
}

countermark_status countermark_request_counters(countermark_hook* hook, int32_t slot, uint64_t counters[8]) {
  return RunOnSlot(hook, slot, [&](ServerHook& server) -> Answer {
    if (counters == nullptr) return Invalid("countermark_request_counters needs a place for the counters");
    const auto read = server.engine().Counters(slot);
    if (!read.ok()) return AnswerOf(read.status());
    std::copy(read->begin(), read->end(), counters);
    return {};
  });
}

}  // extern "C"
