#include "tools/gpu_check/checks.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <random>
#include <sstream>
#include <thread>
#include <vector>

#include "tools/gpu_check/batch.h"

namespace countermark::gpu_check {
namespace {

using testing::Check;
using testing::DeviceArray;

constexpr Scheme kSchemes[] = {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel};

// Rows of normal logits, repeatable.
std::vector<float> NormalRows(int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 2.5f);
  std::vector<float> z(static_cast<size_t>(n));
  for (float& x : z) x = normal(random);
  return z;
}

template <typename T>
std::string FirstDifference(const char* what, const std::vector<T>& got, const std::vector<T>& wanted) {
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (std::memcmp(&got[i], &wanted[i], sizeof(T)) == 0) continue;
    std::ostringstream out;
    out << what << " of row " << i << " is " << +got[i] << " and should be " << +wanted[i];
    return out.str();
  }
  return "";
}

// What a hook's request gives for one row of logits.
Choice Chosen(const Hook& hook, const Request& request, const float* z, int32_t n, RowScratch* scratch) {
  return *hook.Choose(request, {z, static_cast<size_t>(n)}, scratch);
}

}  // namespace

std::string ParityGrid(uint64_t first, uint64_t count, const testing::CaseLimits& limits, int threads, const std::function<void(uint64_t)>& said) {
  std::atomic<uint64_t> next{0};
  std::atomic<bool> wrong{false};
  std::mutex mutex;
  std::string difference;
  const auto work = [&] {
    for (uint64_t i; !wrong && (i = next++) < count;) {
      const std::string found = testing::CheckCase(first + i, limits);
      const std::lock_guard<std::mutex> lock(mutex);
      if (!found.empty() && !wrong.exchange(true)) difference = found;
      said(i + 1);
    }
  };
  if (threads <= 1) {
    work();
    return difference;
  }
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  return difference;
}

std::string GraphReplay(const CheckSize& size) {
  constexpr int kSteps = 3;
  const int64_t n = int64_t{size.rows} * size.vocabulary;
  for (const Scheme scheme : kSchemes) {
    const BatchShape shape = {.scheme = scheme, .rows = size.rows, .vocabulary = size.vocabulary, .max_length = 64, .history = 20};
    Batch plain(shape), graphed(shape);
    std::vector<std::vector<float>> logits;
    for (int s = 0; s < kSteps; ++s) logits.push_back(NormalRows(n, static_cast<uint64_t>(s) + 1));
    DeviceArray<float> on_device(static_cast<size_t>(n));
    cudaStream_t stream;
    Check(cudaStreamCreate(&stream), "cudaStreamCreate");
    SampleBatch step = graphed.Step(on_device.get(), kFloat32);
    step.commit = 1;
    cudaGraph_t graph;
    cudaGraphExec_t replay;
    Check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "cudaStreamBeginCapture");
    Check(graphed.Launch(step, stream), "a captured step");
    Check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    Check(cudaGraphInstantiate(&replay, graph, 0), "cudaGraphInstantiate");
    std::string difference;
    for (int s = 0; s < kSteps && difference.empty(); ++s) {
      on_device.Set(logits[static_cast<size_t>(s)]);
      SampleBatch same = plain.Step(on_device.get(), kFloat32);
      same.commit = 1;
      Check(plain.Launch(same, stream), "a step");
      Check(cudaGraphLaunch(replay, stream), "cudaGraphLaunch");
      Check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      difference = FirstDifference("the token", graphed.Tokens(), plain.Tokens());
      if (difference.empty()) difference = FirstDifference("the cause", graphed.Causes(), plain.Causes());
    }
    for (int32_t r = 0; r < size.rows && difference.empty(); ++r) {
      if (graphed.device().SlotAt(r).length != 20 + kSteps) difference = "slot " + std::to_string(r) + " has not committed its tokens";
    }
    Check(cudaGraphExecDestroy(replay), "cudaGraphExecDestroy");
    Check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    Check(cudaStreamDestroy(stream), "cudaStreamDestroy");
    if (!difference.empty()) return std::string(SchemeName(scheme)) + ": " + difference;
  }
  return "";
}

std::string BatchInvariance(const CheckSize& size) {
  const int64_t n = int64_t{size.rows} * size.vocabulary;
  const std::vector<float> z = NormalRows(n, 11);
  DeviceArray<float> on_device{std::span<const float>(z)};
  for (const Scheme scheme : kSchemes) {
    for (const SamplingParameters& parameters : {SamplingParameters{0.9f}, SamplingParameters{1.0f, 50, 0.9}}) {
      Batch batch({.scheme = scheme, .parameters = parameters, .rows = size.rows, .vocabulary = size.vocabulary, .max_length = 64, .history = 9});
      Check(batch.Launch(batch.Step(on_device.get(), kFloat32), nullptr), "a step");
      const std::vector<int32_t> tokens = batch.Tokens();
      const std::vector<float> logprobs = batch.LogProbabilities();
      std::vector<int32_t> alone_tokens(tokens.size());
      std::vector<float> alone_logprobs(tokens.size());
      for (int32_t r = 0; r < size.rows; ++r) {
        SampleBatch alone = batch.Step(on_device.get() + int64_t{r} * size.vocabulary, kFloat32);
        alone.slots += r;
        alone.rows = 1;
        Check(batch.Launch(alone, nullptr), "a row alone");
        alone_tokens[static_cast<size_t>(r)] = batch.Tokens()[0];
        alone_logprobs[static_cast<size_t>(r)] = batch.LogProbabilities()[0];
      }
      std::string difference = FirstDifference("the token", tokens, alone_tokens);
      if (difference.empty()) difference = FirstDifference("the log-probability", logprobs, alone_logprobs);
      if (!difference.empty()) return std::string(SchemeName(scheme)) + ": " + difference + " as alone";
    }
  }
  return "";
}

std::string Drafts(const CheckSize& size) {
  constexpr int32_t kDepth = 4, kWrong = 2;  // of the drafts for rows 0 … 3, that of row 2 is wrong
  const int32_t vocabulary = size.vocabulary;
  const std::vector<float> z = NormalRows(int64_t{kDepth} * vocabulary, 23);
  DeviceArray<float> on_device{std::span<const float>(z)};
  for (const Scheme scheme : kSchemes) {
    Batch batch({.scheme = scheme, .rows = kDepth, .slots = 1, .vocabulary = vocabulary, .max_length = 64, .history = 12});
    Request request = batch.requests()[0];
    RowScratch scratch;
    std::vector<int32_t> wanted, drafts;
    for (int32_t d = 0; d < kDepth; ++d) {
      const Choice choice = Chosen(batch.hook(), request, z.data() + int64_t{d} * vocabulary, vocabulary, &scratch);
      wanted.push_back(static_cast<int32_t>(choice.token));
      drafts.push_back(d == kWrong ? (wanted.back() + 1) % vocabulary : wanted.back());
      request.Commit(static_cast<uint32_t>(drafts.back()), choice.cause);
    }
    const std::vector<int32_t> depths = {0, 1, 2, 3}, holds = {kWrong + 1, 0, 0, 0};
    DeviceArray<int32_t> depths_there{std::span<const int32_t>(depths)}, drafts_there{std::span<const int32_t>(drafts)};
    SampleBatch step = batch.Step(on_device.get(), kFloat32);
    step.depths = depths_there.get();
    step.drafts = drafts_there.get();
    step.commit = 1;
    Check(batch.Launch(step, nullptr), "a step with drafts");
    std::string difference = FirstDifference("the token", batch.Tokens(), wanted);
    if (difference.empty()) difference = FirstDifference("how many hold", batch.Accepted(), holds);
    if (difference.empty() && batch.device().SlotAt(0).length != 12 + kWrong + 1) difference = "the slot has not committed what holds";
    if (!difference.empty()) return std::string(SchemeName(scheme)) + ": " + difference;
  }
  return "";
}

std::string Bias(const CheckSize& size) {
  const int32_t vocabulary = size.vocabulary, rows = std::min(size.rows, 4);
  const std::vector<float> z = NormalRows(int64_t{rows} * vocabulary, 31);
  for (const Scheme scheme : kSchemes) {
    Batch batch({.scheme = scheme, .parameters = {0.8f}, .rows = rows, .vocabulary = vocabulary, .max_length = 64, .history = 12});
    DeviceArray<float> on_device{std::span<const float>(z)};
    const SampleBatch step = batch.Step(on_device.get(), kFloat32);
    Check(countermark_launch_bias(batch.device().table(), batch.device().space(), step, nullptr), "bias");
    Check(cudaDeviceSynchronize(), "bias");
    std::vector<float> wanted = z;
    RowScratch scratch;
    for (int32_t r = 0; r < rows; ++r) {
      const std::span<float> row(wanted.data() + int64_t{r} * vocabulary, static_cast<size_t>(vocabulary));
      (void)*batch.hook().Bias(batch.requests()[static_cast<size_t>(r)], row, &scratch);
    }
    const std::vector<float> got = on_device.Get();
    for (size_t i = 0; i < wanted.size(); ++i) {
      // Where one token is left, it keeps its logit here and gets 0 there: a softmax sees no difference.
      if (std::memcmp(&got[i], &wanted[i], sizeof(float)) == 0 || (scheme != Scheme::kPartition && wanted[i] == 0.0f && got[i] == z[i])) continue;
      std::ostringstream out;
      out << SchemeName(scheme) << ": the logit of token " << i % static_cast<size_t>(vocabulary) << " of row " << i / static_cast<size_t>(vocabulary) << " is " << got[i] << " and should be "
          << wanted[i];
      return out.str();
    }
  }
  return "";
}

std::string Lifecycle(const CheckSize& size) {
  const int32_t vocabulary = size.vocabulary;
  const std::vector<float> z = NormalRows(2 * int64_t{vocabulary}, 41);
  DeviceArray<float> on_device{std::span<const float>(z)};
  for (const Scheme scheme : kSchemes) {
    Batch batch({.scheme = scheme, .rows = 2, .vocabulary = vocabulary, .max_length = 64, .history = 10});
    testing::DeviceTable& device = batch.device();
    // Slot 0 takes three tokens back and gets others in their place; slot 1 is rebuilt from another list.
    std::mt19937_64 random(5);
    std::vector<uint32_t> list(batch.requests()[0].tokens().begin(), batch.requests()[0].tokens().end() - 3);
    device.Rollback(0, 3);
    Check(cudaDeviceSynchronize(), "rollback");
    std::vector<uint32_t> more(4);
    for (uint32_t& t : more) t = static_cast<uint32_t>(random() % static_cast<uint64_t>(vocabulary));
    device.Commit(0, more);
    list.insert(list.end(), more.begin(), more.end());
    Request first = batch.requests()[0], second = batch.requests()[1];
    (void)first.Rollback(3);
    for (uint32_t t : more) first.Commit(t, Cause::kForced);
    device.Rebuild(1, list);
    second.Rebuild(list);
    Check(batch.Launch(batch.Step(on_device.get(), kFloat32), nullptr), "a step");
    RowScratch scratch;
    const std::vector<int32_t> wanted = {static_cast<int32_t>(Chosen(batch.hook(), first, z.data(), vocabulary, &scratch).token),
                                         static_cast<int32_t>(Chosen(batch.hook(), second, z.data() + vocabulary, vocabulary, &scratch).token)};
    const std::string difference = FirstDifference("the token", batch.Tokens(), wanted);
    if (!difference.empty()) return std::string(SchemeName(scheme)) + ": " + difference;
    for (int32_t s = 0; s < 2; ++s) {
      if (device.IsZero(s)) return std::string(SchemeName(scheme)) + ": a slot in use is zero";
      device.End(s);
      Check(cudaDeviceSynchronize(), "end");
      if (!device.IsZero(s)) return std::string(SchemeName(scheme)) + ": slot " + std::to_string(s) + " is not zero after its end";
    }
  }
  return "";
}

}  // namespace countermark::gpu_check
