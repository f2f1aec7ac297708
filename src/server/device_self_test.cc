#include "src/server/device_self_test.h"

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "countermark/mark/channel.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/select.h"
#include "countermark/mark/tournament.h"
#include "countermark/mark/weight.h"
#include "kernels/mark_words.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/server/cpu_engine.h"
#include "src/server/cuda_engine.h"
#include "src/server/device_memory.h"

namespace countermark::server {
namespace {

constexpr int kRows = 3, kWindow = 3, kChannels = 2, kCandidates = 203, kLayers = 30;
constexpr uint32_t kWords = 203;

absl::Status Differs(std::string_view what) {
  return absl::InternalError(Cat("self-test failed: ", what, " on the device differs from the host's; this device must not mark"));
}

// An array here and on the device.
template <typename T>
class Both {
 public:
  explicit Both(size_t n) : host_(n) {}
  explicit Both(std::vector<T> values) : host_(std::move(values)) {}
  absl::Status Send() {
    CM_RETURN_IF_ERROR(device_.Allocate(host_.size() * sizeof(T), "the self-test"));
    return CudaStatus(cudaMemcpy(device_.as<void>(), host_.data(), host_.size() * sizeof(T), cudaMemcpyHostToDevice), "the self-test's input");
  }
  absl::Status Fetch() {
    CM_RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "the self-test"));
    return CudaStatus(cudaMemcpy(host_.data(), device_.as<void>(), host_.size() * sizeof(T), cudaMemcpyDeviceToHost), "the self-test's result");
  }
  // Whether the device holds just these bits.
  absl::Status Expect(const std::vector<T>& expected, std::string_view what) {
    CM_RETURN_IF_ERROR(Fetch());
    if (host_.size() == expected.size() && std::memcmp(host_.data(), expected.data(), expected.size() * sizeof(T)) == 0) return absl::OkStatus();
    return Differs(what);
  }
  T* device() const { return device_.as<T>(); }
  std::vector<T>& host() { return host_; }

 private:
  std::vector<T> host_;
  DeviceBytes device_;
};

// A sequence that any machine gives.
class Numbers {
 public:
  explicit Numbers(uint32_t seed) : state_(seed) {}
  uint32_t Next() {
    state_ = state_ * 1664525u + 1013904223u;
    return state_ ^ state_ >> 15;
  }
  std::vector<uint32_t> Some(size_t n, uint32_t below) {
    std::vector<uint32_t> out(n);
    for (uint32_t& x : out) x = below ? Next() % below : Next();
    return out;
  }
  float Logit() { return static_cast<float>(Next() >> 8) * 0x1p-20f - 12.0f; }  // in [−12, 4)

 private:
  uint32_t state_;
};

absl::Status Run(cudaError_t error) { return CudaStatus(error, "the self-test's kernels"); }

absl::Status TestWords() {
  Numbers numbers(1);
  Both<uint32_t> windows(numbers.Some(kRows * kWindow, kTokenLimit)), keys(numbers.Some(kChannels * 8, 0)), route(numbers.Some(8, 0)), seeds(kRows * 8),
      words(kRows * kWords);
  Both<int32_t> channels(kRows);
  Both<uint8_t> bytes(kRows * kWords);
  CM_RETURN_IF_ERROR(windows.Send());
  CM_RETURN_IF_ERROR(keys.Send());
  CM_RETURN_IF_ERROR(route.Send());
  CM_RETURN_IF_ERROR(seeds.Send());
  CM_RETURN_IF_ERROR(words.Send());
  CM_RETURN_IF_ERROR(channels.Send());
  CM_RETURN_IF_ERROR(bytes.Send());
  const uint32_t weights[kChannels] = {30000, 35536};
  CM_RETURN_IF_ERROR(Run(countermark_launch_seeds(windows.device(), kRows, kWindow, static_cast<int>(Scheme::kGumbel), keys.device(), route.device(), weights,
                                                  kChannels, seeds.device(), channels.device(), nullptr)));
  CM_RETURN_IF_ERROR(Run(countermark_launch_word_rows(seeds.device(), kRows, kWords, words.device(), kWords, nullptr)));
  CM_RETURN_IF_ERROR(Run(countermark_launch_byte_rows(seeds.device(), kRows, kWords, bytes.device(), kWords, nullptr)));
  std::vector<uint32_t> seeds_here(kRows * 8), words_here;
  std::vector<int32_t> channels_here;
  std::vector<uint8_t> bytes_here;
  for (int r = 0; r < kRows; ++r) {
    const uint32_t* window = windows.host().data() + r * kWindow;
    const int channel = RouteWindow(route.host().data(), Scheme::kGumbel, window, kWindow, weights, kChannels);
    channels_here.push_back(channel);
    uint32_t* seed = seeds_here.data() + 8 * r;
    MarkSeed(keys.host().data() + 8 * channel, Scheme::kGumbel, window, kWindow, seed);
    for (uint32_t t = 0; t < kWords; ++t) {
      words_here.push_back(WordOf(seed, t));
      bytes_here.push_back(ByteOf(seed, t));
    }
  }
  CM_RETURN_IF_ERROR(channels.Expect(channels_here, "a window's channel"));
  CM_RETURN_IF_ERROR(seeds.Expect(seeds_here, "a window's seed"));
  CM_RETURN_IF_ERROR(words.Expect(words_here, "a token's word"));
  return bytes.Expect(bytes_here, "a token's byte");
}

absl::Status TestArithmetic() {
  Numbers numbers(2);
  Both<float> logits(kCandidates);
  for (float& z : logits.host()) z = numbers.Logit();
  Both<uint32_t> words(numbers.Some(kCandidates, 0)), counts(kCandidates), keys(numbers.Some(8, 0));
  Both<uint64_t> weights(kCandidates), red(kCandidates), scores(kCandidates), positions(1);
  Both<double> arrivals(kCandidates);
  Both<int32_t> token(1);
  positions.host()[0] = 12345678901ull;
  CM_RETURN_IF_ERROR(logits.Send());
  CM_RETURN_IF_ERROR(words.Send());
  CM_RETURN_IF_ERROR(counts.Send());
  CM_RETURN_IF_ERROR(keys.Send());
  CM_RETURN_IF_ERROR(weights.Send());
  CM_RETURN_IF_ERROR(red.Send());
  CM_RETURN_IF_ERROR(scores.Send());
  CM_RETURN_IF_ERROR(positions.Send());
  CM_RETURN_IF_ERROR(arrivals.Send());
  CM_RETURN_IF_ERROR(token.Send());
  constexpr float kLargest = 4.0f, kTemperature = 0.7f;
  constexpr double kDelta = 2.0;
  CM_RETURN_IF_ERROR(Run(countermark_launch_candidates(logits.device(), kLargest, kTemperature, kDelta, words.device(), kLayers, kCandidates,
                                                       {weights.device(), red.device(), arrivals.device(), scores.device(), counts.device()}, nullptr)));
  std::vector<uint64_t> weights_here, red_here, scores_here;
  std::vector<double> arrivals_here;
  std::vector<uint32_t> counts_here;
  uint64_t total = 0;
  for (int i = 0; i < kCandidates; ++i) {
    const uint64_t w = Weight(logits.host()[static_cast<size_t>(i)], kLargest, InverseTemperature(kTemperature));
    const uint32_t word = words.host()[static_cast<size_t>(i)];
    total += w;
    weights_here.push_back(w);
    red_here.push_back(RedWeight(w, RedFactor(kDelta)));
    arrivals_here.push_back(w > 0 ? GumbelArrival(word, static_cast<double>(w)) : HUGE_VAL);
    scores_here.push_back(GumbelScore(word));
    counts_here.push_back(TournamentScore(word, kLayers));
  }
  CM_RETURN_IF_ERROR(weights.Expect(weights_here, "a token's weight"));
  CM_RETURN_IF_ERROR(red.Expect(red_here, "a red token's weight"));
  CM_RETURN_IF_ERROR(arrivals.Expect(arrivals_here, "an arrival time"));
  CM_RETURN_IF_ERROR(scores.Expect(scores_here, "a gumbel score"));
  CM_RETURN_IF_ERROR(counts.Expect(counts_here, "a tournament score"));

  CM_RETURN_IF_ERROR(Run(countermark_launch_plain_draws(weights.device(), 1, kCandidates, kCandidates, keys.device(), positions.device(), 1, token.device(), nullptr)));
  uint64_t x = DrawTarget(DrawBits(keys.host().data(), positions.host()[0], 1), total);
  int32_t drawn = 0;
  for (; x >= weights_here[static_cast<size_t>(drawn)]; ++drawn) x -= weights_here[static_cast<size_t>(drawn)];
  CM_RETURN_IF_ERROR(token.Expect({drawn}, "a plain draw"));

  CM_RETURN_IF_ERROR(Run(countermark_launch_tournament_rows(weights.device(), words.device(), 1, kCandidates, kCandidates, kLayers, nullptr)));
  const int shift = TournamentShift(total);
  total <<= shift;
  for (uint64_t& w : weights_here) w <<= shift;
  for (int layer = 0; layer < kLayers; ++layer) {
    uint64_t ones = 0, after = 0;
    const auto bit = [&](size_t i) { return words.host()[i] >> layer & 1; };
    for (size_t i = 0; i < weights_here.size(); ++i) ones += bit(i) ? weights_here[i] : 0;
    const uint64_t ratio = TournamentRatio(total, ones);
    for (size_t i = 0; i < weights_here.size(); ++i) {
      weights_here[i] = TournamentWeight(weights_here[i], bit(i), ratio);
      after += weights_here[i];
    }
    total = after;
  }
  return weights.Expect(weights_here, "a tournament");
}

constexpr int kVocabulary = 331, kColumns = 336, kSlots = 4, kDrafts = 2, kStepRows = kSlots + kDrafts, kSteps = 4;

EpochKeys BuiltInEpoch(Scheme scheme) {
  EpochRecord record;
  record.tenant = "self-test";
  record.epoch = "self-test";
  record.mark.scheme = scheme;
  record.channels = {{"base", 20000}, {"account", 20000}, {"request", 25536}};
  record.vocabulary = kVocabulary;
  record.tokenizer_sha256 = std::string(64, '0');
  record.first_use = "2000-01-01T00:00:00Z";
  record.last_use = "2000-01-02T00:00:00Z";
  std::array<uint8_t, 32> key;
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i);
  return {record, Secret32(key), {"account"}};
}

// Steps through both engines, rows with drafts among them; each must give the same tokens, causes and counts.
absl::Status TestSteps(Scheme scheme, int device) {
  const EngineShape shape = {kSlots, kStepRows, /*max_length=*/64, kVocabulary, kColumns, scheme};
  CM_ASSIGN_OR_RETURN(Hook made, Hook::Create(BuiltInEpoch(scheme), [] {
                        HookOptions options;
                        options.tournament_candidates = 100;  // fewer than there are: some draws go beyond
                        return options;
                      }()));
  const auto epoch = std::make_shared<const OpenedEpoch>(BuiltInEpoch(scheme));
  const auto hook = std::make_shared<const EpochHook>(EpochHook{epoch, std::move(made), AccountKeys(epoch, 1)});
  const std::unique_ptr<Engine> here = MakeCpuEngine(shape);
  CM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> there, MakeUntestedCudaEngine(shape, device));
  const SamplingParameters parameters[kSlots] = {{1.0f, 0, 1.0, 0}, {0.8f, 0, 0.9, 0}, {1.2f, 40, 1.0, 0.01}, {0.9f, 20, 0.8, 0}};
  for (int s = 0; s < kSlots; ++s) {
    RequestOptions options;
    options.base_only = s == 1;
    if (!options.base_only) options.account = "account";
    options.request = std::to_string(s);
    options.parameters = parameters[s];
    options.seed = 1;
    CM_ASSIGN_OR_RETURN(Request request, hook->hook.Begin(options));
    CM_RETURN_IF_ERROR(here->Begin(s, {kSlotMarked, hook, request}, nullptr));
    CM_RETURN_IF_ERROR(there->Begin(s, {kSlotMarked, hook, std::move(request)}, nullptr));
  }
  Numbers numbers(3);
  for (int step = 0; step < kSteps; ++step) {
    Both<int32_t> slots({0, 1, 2, 3, 3, 3}), depths({0, 0, 0, 0, 1, 2}), drafts(kStepRows), tokens(kStepRows), accepted(kStepRows);
    Both<uint8_t> causes(kStepRows);
    Both<float> logits(static_cast<size_t>(kStepRows) * kColumns);
    for (float& z : logits.host()) z = numbers.Logit();
    for (int32_t& d : drafts.host()) d = static_cast<int32_t>(numbers.Next() % kVocabulary);
    countermark_batch batch = {};
    batch.rows = kStepRows;
    batch.dtype = COUNTERMARK_F32;
    batch.columns = batch.row_stride = kColumns;
    batch.commit = 1;
    batch.slots = slots.host().data();
    batch.depths = depths.host().data();
    batch.drafts = drafts.host().data();
    batch.logits = logits.host().data();
    batch.out_tokens = tokens.host().data();
    batch.out_causes = causes.host().data();
    batch.out_accepted = accepted.host().data();
    if (step % 2 == 1) {  // a draft that holds: what the slot's first row gives
      countermark_batch first = batch;
      first.commit = 0;
      CM_RETURN_IF_ERROR(here->Sample(first));
      drafts.host()[3] = tokens.host()[3];
    }
    CM_RETURN_IF_ERROR(here->Sample(batch));
    const std::vector<int32_t> tokens_here = tokens.host(), accepted_here = accepted.host();
    const std::vector<uint8_t> causes_here = causes.host();
    CM_RETURN_IF_ERROR(slots.Send());
    CM_RETURN_IF_ERROR(depths.Send());
    CM_RETURN_IF_ERROR(drafts.Send());
    CM_RETURN_IF_ERROR(logits.Send());
    CM_RETURN_IF_ERROR(tokens.Send());
    CM_RETURN_IF_ERROR(causes.Send());
    CM_RETURN_IF_ERROR(accepted.Send());
    batch.slots = slots.device();
    batch.depths = depths.device();
    batch.drafts = drafts.device();
    batch.logits = logits.device();
    batch.out_tokens = tokens.device();
    batch.out_causes = causes.device();
    batch.out_accepted = accepted.device();
    CM_RETURN_IF_ERROR(there->Sample(batch));
    const std::string what = Cat("a step of the ", SchemeName(scheme), " scheme");
    CM_RETURN_IF_ERROR(tokens.Expect(tokens_here, what));
    CM_RETURN_IF_ERROR(causes.Expect(causes_here, what));
    CM_RETURN_IF_ERROR(accepted.Expect(accepted_here, what));
  }
  for (int s = 0; s < kSlots; ++s) {
    CM_ASSIGN_OR_RETURN(const auto counted_here, here->Counters(s));
    CM_ASSIGN_OR_RETURN(const auto counted_there, there->Counters(s));
    if (counted_here != counted_there) return Differs("a count of tokens");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status DeviceSelfTest(int device) {
  const OnDevice on(device);
  CM_RETURN_IF_ERROR(on.status());
  CM_RETURN_IF_ERROR(TestWords());
  CM_RETURN_IF_ERROR(TestArithmetic());
  for (Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) CM_RETURN_IF_ERROR(TestSteps(scheme, device));
  return absl::OkStatus();
}

}  // namespace countermark::server
