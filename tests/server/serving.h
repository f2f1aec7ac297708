// A server in small: an epoch's bundle, a clock that stands still, a hook on the device under test, and steps of rows.
//
//   Serving server(MakeEpoch(Scheme::kGumbel, 300));
//   ASSERT_EQ(server.Begin(0, "org-1", {.temperature = 0.9f, .seed = 7}), COUNTERMARK_OK);
//   const Rows step = server.Sample({.slots = {0}, .logits = {RowAfter(1, 300, 2)}, .commit = true});
//
// The same tests run on the host and, compiled with COUNTERMARK_TEST_DEVICE, through the engine of a device.
#ifndef COUNTERMARK_TESTS_SERVER_SERVING_H_
#define COUNTERMARK_TESTS_SERVER_SERVING_H_

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#if defined(COUNTERMARK_TEST_MANAGED)
#include <cuda_runtime_api.h>
#endif

#include "countermark/countermark.h"
#include "countermark/keys/key_store.h"
#include "src/server/half.h"
#include "tests/sampling/fixture.h"

#ifndef COUNTERMARK_TEST_DEVICE
#define COUNTERMARK_TEST_DEVICE COUNTERMARK_CPU
#endif

namespace countermark::testing {

inline constexpr int kTestDevice = COUNTERMARK_TEST_DEVICE;
inline constexpr bool kOnHost = kTestDevice == COUNTERMARK_CPU;
// The emulator works some thousand times slower than a host: fewer rounds there.
inline constexpr int Rounds(int on_host, int on_device) { return kOnHost ? on_host : on_device; }

inline const Scheme kSchemes[] = {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel};

// Memory that the device under test can reach, and the host too.
template <typename T>
struct ReachableAllocator {
  using value_type = T;
  ReachableAllocator() = default;
  template <typename U>
  ReachableAllocator(const ReachableAllocator<U>&) {}
  T* allocate(size_t n) {
    void* at = nullptr;
#if defined(COUNTERMARK_TEST_MANAGED)
    if (cudaMallocManaged(&at, n * sizeof(T)) != cudaSuccess) std::abort();
#else
    at = ::operator new(n * sizeof(T));
#endif
    return static_cast<T*>(at);
  }
  void deallocate(T* at, size_t) {
#if defined(COUNTERMARK_TEST_MANAGED)
    cudaFree(at);
#else
    ::operator delete(at);
#endif
  }
  friend bool operator==(const ReachableAllocator&, const ReachableAllocator&) { return true; }
};
template <typename T>
using Reachable = std::vector<T, ReachableAllocator<T>>;

inline void WaitForDevice() {
#if defined(COUNTERMARK_TEST_MANAGED)
  cudaDeviceSynchronize();
#endif
}

// Bundles of this process, each written once: sealing one costs a second of scrypt.
class Bundles {
 public:
  static std::string PathOf(const EpochKeys& keys) {
    static Bundles bundles;
    const std::lock_guard<std::mutex> lock(bundles.mutex_);
    std::string name = keys.record.CanonicalJson();
    for (const std::string& account : keys.accounts) name += "|" + account;
    name += std::string(reinterpret_cast<const char*>(keys.epoch_key.Reveal(SecretAccess())), 32);
    std::string& path = bundles.paths_[name];
    if (path.empty()) {
      path = bundles.folder_ + "/" + std::to_string(bundles.paths_.size()) + ".cmkb";
      const absl::Status written = WriteBundle(path, keys, SecretBytes(std::string_view(kPassphrase)));
      EXPECT_TRUE(written.ok()) << written;
    }
    return path;
  }
  static constexpr char kPassphrase[] = "of the test";

 private:
  Bundles() {
    std::string pattern = (std::filesystem::temp_directory_path() / "countermark-server-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~Bundles() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::mutex mutex_;
  std::string folder_;
  std::map<std::string, std::string> paths_;
};

inline int GivePassphrase(void* user, char* buffer, size_t size) {
  const std::string& text = *static_cast<const std::string*>(user);
  if (text.size() > size) return -1;
  std::copy(text.begin(), text.end(), buffer);
  return static_cast<int>(text.size());
}

// Keys with a clock that the test sets.
class TestKeys {
 public:
  explicit TestKeys(const std::string& at = "2026-11-15T12:00:00Z");
  ~TestKeys() { countermark_keys_free(keys); }
  TestKeys(const TestKeys&) = delete;
  TestKeys& operator=(const TestKeys&) = delete;

  countermark_status Open(const std::string& path, std::string passphrase = Bundles::kPassphrase) {
    countermark_passphrase source = {sizeof source, -1, GivePassphrase, &passphrase};
    return countermark_keys_open_bundle(keys, path.c_str(), &source);
  }
  void Open(const EpochKeys& epoch) { ASSERT_EQ(Open(Bundles::PathOf(epoch)), COUNTERMARK_OK) << countermark_keys_message(keys); }
  void SetTime(const std::string& utc);

  countermark_keys* keys = nullptr;
  int64_t now = 0;
};

// What a request asks for, as the C++ hook and the C interface take it.
struct Asked {
  std::string request = {};
  float temperature = 1.0f;
  int top_k = 0;
  float top_p = 1.0f;
  float min_p = 0.0f;
  std::optional<uint64_t> seed = {};
  std::vector<uint32_t> prompt = {};

  RequestOptions Options(const std::string& account) const {
    RequestOptions o;
    o.account = account;
    o.base_only = account.empty();
    o.request = request;
    o.parameters = {temperature, top_k, top_p, min_p};
    o.seed = seed;
    o.prompt = prompt;
    return o;
  }
};

struct StepInput {
  std::vector<int32_t> slots = {};
  std::vector<std::vector<float>> logits = {};  // one a row
  std::vector<int32_t> depths = {}, drafts = {};  // empty: none
  bool commit = false;
  countermark_dtype dtype = COUNTERMARK_F32;
  int32_t padding = 0;                     // columns beyond the logits given
};

struct Rows {
  countermark_status status = COUNTERMARK_INTERNAL;
  std::vector<int32_t> tokens, accepted;
  std::vector<float> logprobs;
  std::vector<Cause> causes;
  std::vector<std::vector<float>> logits;  // after bias
};

// Logits as their type holds them: what a reference must be given.
inline std::vector<float> AsStored(std::vector<float> z, countermark_dtype dtype) {
  for (float& x : z) {
    if (dtype == COUNTERMARK_F16) x = server::FloatOfHalf(server::HalfOf(x));
    if (dtype == COUNTERMARK_BF16) x = server::FloatOfBfloat(server::BfloatOf(x));
  }
  return z;
}

class Serving {
 public:
  using Configure = std::function<void(countermark_hook_options*)>;
  explicit Serving(const EpochKeys& epoch, const Configure& configure = {});
  explicit Serving(TestKeys* shared, const Configure& configure = {});  // keys with bundles opened
  ~Serving() { countermark_hook_free(hook); }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

  countermark_status Begin(int32_t slot, const std::string& account, const Asked& asked = {});
  countermark_status Commit(int32_t slot, const std::vector<uint32_t>& tokens) {
    return countermark_commit(hook, slot, tokens.data(), tokens.size(), nullptr);
  }
  countermark_status Rebuild(int32_t slot, const std::vector<uint32_t>& tokens) {
    return countermark_rebuild(hook, slot, tokens.data(), tokens.size(), nullptr);
  }
  Rows Sample(const StepInput& step) { return Step(step, countermark_sample); }
  Rows Bias(const StepInput& step) { return Step(step, countermark_bias); }
  std::vector<uint64_t> Counters(int32_t slot);
  countermark_metrics Metrics();
  const char* message() const { return countermark_hook_message(hook); }

  std::unique_ptr<TestKeys> own_keys;
  countermark_hook* hook = nullptr;

 private:
  void Create(TestKeys* keys, const Configure& configure);
  Rows Step(const StepInput& step, countermark_status (*call)(countermark_hook*, const countermark_batch*));
};

// A hook of the C++ interface for the same epoch.
Hook ReferenceHook(const EpochKeys& epoch, const HookOptions& options = {});
std::vector<uint64_t> CountersOf(const Request& request);

}  // namespace countermark::testing

#endif  // COUNTERMARK_TESTS_SERVER_SERVING_H_
