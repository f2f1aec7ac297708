// An epoch and requests for the benchmarks: fixed keys, two channels, account "org-1".
#ifndef COUNTERMARK_TOOLS_BENCHMARKS_EPOCH_H_
#define COUNTERMARK_TOOLS_BENCHMARKS_EPOCH_H_

#include <array>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "countermark/sampling/hook.h"
#include "tools/benchmarks/logits_file.h"

namespace countermark::bench {

inline EpochKeys MakeEpoch(Scheme scheme, uint32_t vocabulary) {
  EpochRecord record;
  record.tenant = "bench";
  record.epoch = "2026-11";
  record.mark.scheme = scheme;
  record.vocabulary = vocabulary;
  record.tokenizer_sha256 = std::string(64, 'a');
  record.first_use = "2026-11-01T00:00:00Z";
  record.last_use = "2026-11-30T23:59:59Z";
  std::array<uint8_t, 32> key;
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(37 * i + 1);
  return EpochKeys{record, Secret32(key), {"org-1"}};
}

inline std::shared_ptr<const Hook> MakeHook(Scheme scheme, uint32_t vocabulary, bool marking = true) {
  HookOptions options;
  options.marking = marking;
  absl::StatusOr<Hook> hook = Hook::Create(MakeEpoch(scheme, vocabulary), options);
  if (!hook.ok()) Die(std::string(hook.status().message()));
  return std::make_shared<const Hook>(*std::move(hook));
}

// Requests that stand at different windows, each seen for the first time there.
inline std::vector<Request> MakeRequests(const Hook& hook, const SamplingParameters& parameters, size_t count) {
  std::mt19937 random(2);
  std::vector<Request> requests;
  for (size_t i = 0; i < count; ++i) {
    RequestOptions options;
    options.account = "org-1";
    options.parameters = parameters;
    options.seed = i;
    absl::StatusOr<Request> request = hook.Begin(options);
    if (!request.ok()) Die(std::string(request.status().message()));
    for (int t = 0; t < 8; ++t) request->Commit(static_cast<uint32_t>(random() % hook.record().vocabulary), Cause::kMarked);
    requests.push_back(*std::move(request));
  }
  return requests;
}

}  // namespace countermark::bench

#endif  // COUNTERMARK_TOOLS_BENCHMARKS_EPOCH_H_
