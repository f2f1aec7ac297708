// Keys and Hook over the C interface (countermark/countermark.h), whose rules hold here. The GIL is released while the library works, and a lock held for
// each hook, so that Python's threads may share one.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cstring>
#include <memory>
#include <mutex>

#include "countermark/countermark.h"
#include "python/src/bindings.h"
#include "python/src/errors.h"
#include "python/src/logits.h"
#include "python/src/passphrase.h"
#include "src/base/strings.h"

namespace countermark::python {
namespace {

using namespace nb::literals;
using Tokens = nb::ndarray<const uint32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void* Stream(uintptr_t stream) { return reinterpret_cast<void*>(stream); }

// Gives a passphrase that is already here to the library, which reads it once.
struct Handover {
  const SecretBytes* secret;
  static int Give(void* user, char* buffer, size_t size) {
    const auto bytes = static_cast<Handover*>(user)->secret->Reveal(SecretAccess());
    if (bytes.size() > size) return -1;
    std::memcpy(buffer, bytes.data(), bytes.size());
    return static_cast<int>(bytes.size());
  }
};

class Keys {
 public:
  Keys() : keys_(countermark_keys_new(nullptr), &countermark_keys_free) {
    if (keys_ == nullptr) Raise("OutOfMemoryError", "out of memory");
  }
  countermark_keys* get() const { return keys_.get(); }

  void OpenBundle(const std::filesystem::path& path, const std::optional<std::filesystem::path>& file, std::optional<int> fd, const nb::object& function) {
    const SecretBytes secret = PassphraseOf(file, fd, function);
    Handover handover{&secret};
    countermark_passphrase source = {sizeof source, -1, &Handover::Give, &handover};
    countermark_status status;
    std::string message;
    {
      nb::gil_scoped_release unlocked;
      status = countermark_keys_open_bundle(keys_.get(), path.c_str(), &source);
      if (status != COUNTERMARK_OK) message = countermark_keys_message(keys_.get());  // the thread's own
    }
    if (status != COUNTERMARK_OK) RaiseStatus(status, message);
  }

  std::optional<std::string> Epoch() {
    const char* epoch = countermark_keys_epoch(keys_.get());
    return epoch == nullptr ? std::nullopt : std::optional<std::string>(epoch);
  }

 private:
  std::unique_ptr<countermark_keys, decltype(&countermark_keys_free)> keys_;
};

class Hook {
 public:
  Hook(Keys& keys, int32_t device, int32_t max_slots, int32_t max_rows, int32_t max_length, int32_t vocabulary, int32_t max_columns, int32_t tournament_candidates,
       int32_t account_cache, bool marking)
      : device_(device) {
    countermark_hook_options options = countermark_hook_default_options();
    options.device = device;
    options.max_slots = max_slots;
    options.max_rows = max_rows;
    options.max_length = max_length;
    options.vocabulary = vocabulary;
    options.max_columns = max_columns;
    options.tournament_candidates = tournament_candidates;
    options.account_cache = account_cache;
    options.marking = marking;
    countermark_status status;
    std::string message;
    {
      nb::gil_scoped_release unlocked;
      status = countermark_hook_create(keys.get(), &options, &hook_);
      if (status != COUNTERMARK_OK) message = countermark_keys_message(keys.get());
    }
    if (status != COUNTERMARK_OK) RaiseStatus(status, message);
  }
  ~Hook() { countermark_hook_free(hook_); }

  void Close() {
    nb::gil_scoped_release unlocked;
    std::lock_guard<std::mutex> lock(mutex_);
    countermark_hook_free(hook_);
    hook_ = nullptr;
  }

  // 0, or the status of a slot that has begun unmarked.
  int Begin(int32_t slot, const std::string& account, const std::optional<std::string>& request, float temperature, int32_t top_k, float top_p, float min_p,
            std::optional<uint64_t> seed, const std::optional<Tokens>& prompt, uintptr_t stream) {
    if (account.find('\0') != std::string::npos) Raise("InvalidArgumentError", "the account's label holds a NUL");
    if (request && request->find('\0') != std::string::npos) Raise("InvalidArgumentError", "the request's label holds a NUL");
    countermark_request r = countermark_default_request();
    r.account = account.c_str();
    r.request = request ? request->c_str() : nullptr;
    r.temperature = temperature;
    r.top_k = top_k;
    r.top_p = top_p;
    r.min_p = min_p;
    r.seeded = seed.has_value();
    r.seed = seed.value_or(0);
    r.prompt = prompt ? prompt->data() : nullptr;
    r.prompt_size = prompt ? prompt->size() : 0;
    return Call([&] { return countermark_begin(hook_, slot, &r, Stream(stream)); }, /*unmarked_is_fine=*/true);
  }

  void Commit(int32_t slot, const Tokens& tokens, uintptr_t stream) {
    Call([&] { return countermark_commit(hook_, slot, tokens.data(), tokens.size(), Stream(stream)); });
  }
  void CommitRows(const ReadArray& slots, const ReadArray& tokens, uintptr_t stream) {
    const int32_t rows = static_cast<int32_t>(slots.ndim() == 1 ? slots.shape(0) : 0);
    const auto* s = static_cast<const int32_t*>(DataOf(slots, "slots", nb::dlpack::dtype_code::Int, 32, rows, device_));
    const auto* t = static_cast<const int32_t*>(DataOf(tokens, "tokens", nb::dlpack::dtype_code::Int, 32, rows, device_));
    Call([&] { return countermark_commit_rows(hook_, s, t, rows, Stream(stream)); });
  }
  void Rollback(int32_t slot, size_t n, uintptr_t stream) {
    Call([&] { return countermark_rollback(hook_, slot, n, Stream(stream)); });
  }
  void Rebuild(int32_t slot, const Tokens& tokens, uintptr_t stream) {
    Call([&] { return countermark_rebuild(hook_, slot, tokens.data(), tokens.size(), Stream(stream)); });
  }
  void End(int32_t slot, uintptr_t stream) {
    Call([&] { return countermark_end(hook_, slot, Stream(stream)); });
  }

  void Sample(const ReadArray& slots, const ReadArray& logits, const AnyArray& out_tokens, const std::optional<AnyArray>& out_logprobs,
              const std::optional<AnyArray>& out_causes, const std::optional<AnyArray>& out_accepted, const std::optional<ReadArray>& depths,
              const std::optional<ReadArray>& drafts, bool commit, uintptr_t stream) {
    Step(slots, logits, out_tokens, out_logprobs, out_causes, out_accepted, depths, drafts, commit, stream, &countermark_sample);
  }
  void Bias(const ReadArray& slots, const AnyArray& logits, const AnyArray& out_tokens, const std::optional<AnyArray>& out_causes, const std::optional<ReadArray>& depths,
            const std::optional<ReadArray>& drafts, uintptr_t stream) {
    Step(slots, logits, out_tokens, std::nullopt, out_causes, std::nullopt, depths, drafts, false, stream, &countermark_bias);
  }

  nb::dict Metrics() {
    countermark_metrics m;
    std::memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    Call([&] { return countermark_metrics_read(hook_, &m); });
    nb::dict out;
    out["marked"] = m.marked;
    out["start"] = m.start;
    out["greedy"] = m.greedy;
    out["repeated_window"] = m.repeated_window;
    out["forced"] = m.forced;
    out["tail"] = m.tail;
    out["fault"] = m.fault;
    out["off"] = m.off;
    out["bad_slots"] = m.bad_slots;
    out["bad_rows"] = m.bad_rows;
    out["too_long"] = m.too_long;
    out["unknown_accounts"] = m.unknown_accounts;
    out["ended_epochs"] = m.ended_epochs;
    out["requests"] = m.requests;
    out["slots_in_use"] = m.slots_in_use;
    out["slots"] = m.slots;
    out["steps"] = m.steps;
    out["last_step_seconds"] = m.last_step_seconds;
    out["all_steps_seconds"] = m.all_steps_seconds;
    return out;
  }

  std::vector<uint64_t> RequestCounters(int32_t slot) {
    std::array<uint64_t, 8> counters = {};
    Call([&] { return countermark_request_counters(hook_, slot, counters.data()); });
    return {counters.begin(), counters.end()};
  }

 private:
  template <typename Run>
  int Call(Run run, bool unmarked_is_fine = false) {
    countermark_status status = COUNTERMARK_OK;
    std::string message;
    bool closed = false;
    {
      nb::gil_scoped_release unlocked;
      std::lock_guard<std::mutex> lock(mutex_);
      closed = hook_ == nullptr;
      if (!closed) {
        status = run();
        if (status != COUNTERMARK_OK) message = countermark_hook_message(hook_);
      }
    }
    if (closed) Raise("InvalidArgumentError", "the hook is closed");
    if (unmarked_is_fine && (status == COUNTERMARK_UNKNOWN_ACCOUNT || status == COUNTERMARK_WRONG_EPOCH)) return status;
    if (status != COUNTERMARK_OK) RaiseStatus(status, message);
    return 0;
  }

  template <typename Logits>
  void Step(const ReadArray& slots, const Logits& logits, const AnyArray& out_tokens, const std::optional<AnyArray>& out_logprobs,
            const std::optional<AnyArray>& out_causes, const std::optional<AnyArray>& out_accepted, const std::optional<ReadArray>& depths,
            const std::optional<ReadArray>& drafts, bool commit, uintptr_t stream, countermark_status (*step)(countermark_hook*, const countermark_batch*)) {
    using Code = nb::dlpack::dtype_code;
    countermark_batch b = countermark_default_batch();
    SetLogits(logits, device_, &b);
    const auto ints = [&](const std::optional<ReadArray>& array, const char* name) {
      return array ? static_cast<const int32_t*>(DataOf(*array, name, Code::Int, 32, b.rows, device_)) : nullptr;
    };
    b.slots = ints(slots, "slots");
    b.depths = ints(depths, "depths");
    b.drafts = ints(drafts, "drafts");
    b.out_tokens = static_cast<int32_t*>(DataOf(out_tokens, "out_tokens", Code::Int, 32, b.rows, device_));
    if (out_logprobs) b.out_logprobs = static_cast<float*>(DataOf(*out_logprobs, "out_logprobs", Code::Float, 32, b.rows, device_));
    if (out_causes) b.out_causes = static_cast<uint8_t*>(DataOf(*out_causes, "out_causes", Code::UInt, 8, b.rows, device_));
    if (out_accepted) b.out_accepted = static_cast<int32_t*>(DataOf(*out_accepted, "out_accepted", Code::Int, 32, b.rows, device_));
    b.commit = commit;
    b.stream = Stream(stream);
    Call([&] { return step(hook_, &b); });
  }

  const int32_t device_;
  countermark_hook* hook_ = nullptr;
  std::mutex mutex_;
};

}  // namespace

void BindHook(nb::module_& m) {
  auto keys = nb::class_<Keys>(m, "Keys", "The epoch bundles that a serving host holds. Cannot be printed, pickled or copied. Any thread may open another bundle.");
  keys.def(nb::init<>())
      .def("open_bundle", &Keys::OpenBundle, "path"_a, nb::kw_only(), "passphrase_file"_a = nb::none(), "passphrase_fd"_a = nb::none(),
           "passphrase_callback"_a = nb::none(), nb::sig("def open_bundle(self, path: str | os.PathLike[str], *, " COUNTERMARK_PASSPHRASE_SIGNATURE ") -> None"),
           "Opens a bundle; the next epoch's, too, while serving. A request begins with the epoch in use at that time and keeps it to its end.")
      .def_prop_ro("epoch", &Keys::Epoch, "'tenant/epoch' that a request beginning now would get, or None.")
      .def("__repr__", [](Keys& k) { return Cat("<countermark.Keys ", k.Epoch().value_or("without an epoch in use"), ">"); });
  RefusePickle(keys, "keys are secret: they are neither pickled nor copied");

  auto hook = nb::class_<Hook>(m, "Hook", "countermark_hook. Use countermark.Hook.");
  hook.def(nb::init<Keys&, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, bool>(), "keys"_a, nb::kw_only(), "device"_a, "max_slots"_a, "max_rows"_a,
           "max_length"_a, "vocabulary"_a, "max_columns"_a, "tournament_candidates"_a, "account_cache"_a, "marking"_a)
      .def("close", &Hook::Close)
      .def("begin", &Hook::Begin, "slot"_a, nb::kw_only(), "account"_a, "request"_a.none(), "temperature"_a, "top_k"_a, "top_p"_a, "min_p"_a, "seed"_a.none(),
           "prompt"_a.noconvert().none(), "stream"_a, "0, or the status of a slot that has begun unmarked.")
      .def("commit", &Hook::Commit, "slot"_a, "tokens"_a.noconvert(), "stream"_a)
      .def("commit_rows", &Hook::CommitRows, "slots"_a.noconvert(), "tokens"_a.noconvert(), "stream"_a,
           nb::sig("def commit_rows(self, slots: typing.Any, tokens: typing.Any, stream: int) -> None"))
      .def("rollback", &Hook::Rollback, "slot"_a, "n"_a, "stream"_a)
      .def("rebuild", &Hook::Rebuild, "slot"_a, "tokens"_a.noconvert(), "stream"_a)
      .def("end", &Hook::End, "slot"_a, "stream"_a)
      .def("sample", &Hook::Sample, "slots"_a.noconvert(), "logits"_a.noconvert(), "out_tokens"_a.noconvert(), nb::kw_only(), "out_logprobs"_a.noconvert().none(),
           "out_causes"_a.noconvert().none(), "out_accepted"_a.noconvert().none(), "depths"_a.noconvert().none(), "drafts"_a.noconvert().none(), "commit"_a, "stream"_a,
           nb::sig("def sample(self, slots: typing.Any, logits: typing.Any, out_tokens: typing.Any, *, out_logprobs: typing.Any, out_causes: typing.Any, "
                   "out_accepted: typing.Any, depths: typing.Any, drafts: typing.Any, commit: bool, stream: int) -> None"))
      .def("bias", &Hook::Bias, "slots"_a.noconvert(), "logits"_a.noconvert(), "out_tokens"_a.noconvert(), nb::kw_only(), "out_causes"_a.noconvert().none(),
           "depths"_a.noconvert().none(), "drafts"_a.noconvert().none(), "stream"_a,
           nb::sig("def bias(self, slots: typing.Any, logits: typing.Any, out_tokens: typing.Any, *, out_causes: typing.Any, depths: typing.Any, "
                   "drafts: typing.Any, stream: int) -> None"))
      .def("metrics", &Hook::Metrics, nb::sig("def metrics(self) -> dict[str, typing.Any]"))
      .def("request_counters", &Hook::RequestCounters, "slot"_a, "Tokens by cause, in countermark_cause's order.");
  RefusePickle(hook, "a hook holds keys: it is neither pickled nor copied");
}

}  // namespace countermark::python
