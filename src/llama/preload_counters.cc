#include "src/llama/preload_counters.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "src/base/hex.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

constexpr size_t kHeader = 64, kEntry = 192, kCapacity = 254, kSize = kHeader + kEntry * kCapacity;
static_assert(Counters::kSeriesCount <= static_cast<int>(kCapacity));

std::string NameOf(int series) {
  if (series < kCauses) return std::string("countermark_tokens_total{cause=\"") + CauseName(static_cast<Cause>(series)) + "\"}";
  switch (series) {
    case Counters::kSigned: return "countermark_requests_total{outcome=\"signed\"}";
    case Counters::kPort: return "countermark_requests_total{outcome=\"port\"}";
    case Counters::kUnsigned: return "countermark_requests_total{outcome=\"unsigned\"}";
    case Counters::kStale: return "countermark_requests_total{outcome=\"stale\"}";
    case Counters::kForged: return "countermark_requests_total{outcome=\"forged\"}";
    case Counters::kUnknownAccounts: return "countermark_unknown_accounts_total";
    case Counters::kEndedEpochs: return "countermark_ended_epochs_total";
    case Counters::kBundleFailures: return "countermark_bundle_failures_total";
    case Counters::kDraftTokens: return "countermark_draft_tokens_total";
    case Counters::kFloored: return "countermark_floored_requests_total";
    case Counters::kMirostat: return "countermark_replaced_samplers_total{sampler=\"mirostat\"}";
    case Counters::kMirostatV2: return "countermark_replaced_samplers_total{sampler=\"mirostat_v2\"}";
    default: return "countermark_replaced_samplers_total{sampler=\"adaptive_p\"}";
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Counters>> Counters::Open(const std::string& folder) {
  std::array<uint8_t, 4> random;
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) return absl::InternalError("the random generator has nothing to give");
  const std::string name = Cat("llama-", getpid(), "-", HexEncode(random));
  // Made under a name that nobody reads, so that no reader finds it unlocked or short.
  const std::string part = folder + "/." + name + ".part", path = folder + "/" + name + ".counters";
  FileDescriptor file(open(part.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  const auto failed = [&](int error) { return ErrnoStatus(error, "no counters can be kept in state_dir", folder); };
  if (file.get() < 0) return failed(errno);
  void* map = MAP_FAILED;
  int error = posix_fallocate(file.get(), 0, kSize);  // a full disk is an error here and not a SIGBUS later
  if (error == 0 && flock(file.get(), LOCK_EX) != 0) error = errno;
  if (error == 0 && (map = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0)) == MAP_FAILED) error = errno;
  if (error == 0) {
    auto* const bytes = static_cast<unsigned char*>(map);
    for (int series = 0; series < kSeriesCount; ++series) {
      const std::string text = NameOf(series);
      std::memcpy(bytes + kHeader + kEntry * static_cast<size_t>(series) + 8, text.data(), text.size());
    }
    const uint32_t entries = kSeriesCount;
    std::memcpy(bytes + 8, &entries, sizeof entries);
    std::memcpy(bytes, "CMCNT001", 8);
    if (std::rename(part.c_str(), path.c_str()) != 0) error = errno;
  }
  if (error != 0) {
    unlink(part.c_str());
    if (map != MAP_FAILED) munmap(map, kSize);
    return failed(error);
  }
  return std::unique_ptr<Counters>(new Counters(std::move(file), static_cast<unsigned char*>(map)));
}

Counters::~Counters() { munmap(map_, kSize); }

uint64_t* Counters::ValueOf(Series series) const noexcept {
  return reinterpret_cast<uint64_t*>(map_ + kHeader + kEntry * static_cast<size_t>(series));
}

void Counters::Add(Series series, uint64_t n) noexcept { std::atomic_ref(*ValueOf(series)).fetch_add(n, std::memory_order_relaxed); }

uint64_t Counters::Value(Series series) const noexcept { return std::atomic_ref(*ValueOf(series)).load(std::memory_order_relaxed); }

}  // namespace countermark
