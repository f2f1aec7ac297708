#include "tools/gpu_check/timing.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "tools/gpu_check/batch.h"
#include "tools/gpu_check/clocks.h"
#include "tools/gpu_check/limits.h"

namespace countermark::gpu_check {
namespace {

using testing::Check;
using testing::DeviceArray;

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

// Works of many launches each, captured once, timed in turn.
class Race {
 public:
  Race() {
    Check(cudaStreamCreate(&stream_), "cudaStreamCreate");
    Check(cudaEventCreate(&start_), "cudaEventCreate");
    Check(cudaEventCreate(&stop_), "cudaEventCreate");
  }
  ~Race() {
    for (Work& w : works_) cudaGraphExecDestroy(w.graph);
    cudaEventDestroy(start_);
    cudaEventDestroy(stop_);
    cudaStreamDestroy(stream_);
  }
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

  size_t Add(int launches, const std::function<cudaError_t(int i, cudaStream_t)>& launch) {
    cudaGraph_t graph;
    Check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), "cudaStreamBeginCapture");
    for (int i = 0; i < launches; ++i) Check(launch(i, stream_), "a captured launch");
    Check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    Work work = {nullptr, launches, {}};
    Check(cudaGraphInstantiate(&work.graph, graph, 0), "cudaGraphInstantiate");
    Check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    works_.push_back(std::move(work));
    return works_.size() - 1;
  }

  void Run(int rounds) {
    std::mt19937 random(1);
    std::vector<size_t> order(works_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    for (int round = -2; round < rounds; ++round) {  // two that do not count
      std::shuffle(order.begin(), order.end(), random);
      for (const size_t i : order) {
        Work& work = works_[i];
        float milliseconds = 0;
        Check(cudaEventRecord(start_, stream_), "cudaEventRecord");
        Check(cudaGraphLaunch(work.graph, stream_), "cudaGraphLaunch");
        Check(cudaEventRecord(stop_, stream_), "cudaEventRecord");
        Check(cudaEventSynchronize(stop_), "cudaEventSynchronize");
        Check(cudaEventElapsedTime(&milliseconds, start_, stop_), "cudaEventElapsedTime");
        if (round >= 0) work.us.push_back(1e3 * static_cast<double>(milliseconds) / work.launches);
      }
    }
  }

  double Median(size_t i) const { return Quantile(works_[i].us, 0.5); }
  double Spread(size_t i) const { return 0.5 * (Quantile(works_[i].us, 0.75) - Quantile(works_[i].us, 0.25)); }
  double Difference(size_t a, size_t b) const { return Joined(a, b, [](double x, double y) { return x - y; }); }
  double Ratio(size_t a, size_t b) const { return Joined(a, b, [](double x, double y) { return x / y; }); }

 private:
  struct Work {
    cudaGraphExec_t graph;
    int launches;
    std::vector<double> us;
  };
  template <typename F>
  double Joined(size_t a, size_t b, F f) const {
    std::vector<double> all;
    for (size_t i = 0; i < works_[a].us.size(); ++i) all.push_back(f(works_[a].us[i], works_[b].us[i]));
    return Quantile(std::move(all), 0.5);
  }
  cudaStream_t stream_;
  cudaEvent_t start_, stop_;
  std::vector<Work> works_;
};

constexpr Scheme kSchemes[] = {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel};

struct Shape {
  int32_t rows, vocabulary;
  LogitType type;
  SamplingParameters parameters = {};
  RowKind kind = RowKind::kNormal;
  std::string told = {};            // "top-k 50, top-p 0.9, "
  const char* target_us = "";       // of a marked step
  bool cached = false;              // one buffer only: logits in L2 where they fit

  int64_t bytes() const { return int64_t{rows} * vocabulary * (type == kFloat32 ? 4 : 2); }
  std::string Name() const {
    return "B=" + std::to_string(rows) + " V=" + std::to_string(vocabulary) + (type == kFloat32 ? " fp32" : " bf16") + ", " + told +
           (kind == RowKind::kPeaked ? "peaked rows" : "normal rows") + (cached ? ", in L2" : "");
  }
};

class Timings {
 public:
  Timings(bool quick, bool small, Report* report) : report_(report), rounds_(small ? 1 : quick ? 8 : 30), small_(small) {
    int device = 0;
    Check(cudaGetDevice(&device), "cudaGetDevice");
    cudaDeviceProp properties;
    Check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    multiprocessors_ = properties.multiProcessorCount;
    cache_ = properties.l2CacheSize;
  }

  // All works of one shape; marked ones against the same step unmarked.
  void Step(Shape shape) {
    if (small_) {
      shape.rows = std::min(shape.rows, 3);
      shape.vocabulary = 1000;
      shape.parameters.top_k = std::min(shape.parameters.top_k, 100);
    }
    const int buffers = shape.cached ? 1 : Buffers(shape.bytes());
    const int launches = small_ ? 2 : std::max(buffers, shape.cached ? 200 : 8);
    DeviceArray<uint8_t> logits(static_cast<size_t>(shape.bytes()) * static_cast<size_t>(buffers));
    Check(LaunchFill(logits.get(), shape.type, shape.rows * buffers, shape.vocabulary, shape.kind, 1, nullptr), "filling");
    Check(cudaDeviceSynchronize(), "filling");
    DeviceArray<uint8_t> copy(static_cast<size_t>(shape.bytes()));
    DeviceArray<uint32_t> out(4096);
    const auto at = [&](int i) { return logits.get() + int64_t{i % buffers} * shape.bytes(); };
    Race race;
    const size_t read = race.Add(launches, [&](int i, cudaStream_t s) { return LaunchRead(at(i), shape.bytes(), out.get(), multiprocessors_, s); });
    const size_t copied = race.Add(launches, [&](int i, cudaStream_t s) { return LaunchCopy(at(i), copy.get(), shape.bytes(), multiprocessors_, s); });
    std::vector<std::unique_ptr<Batch>> batches;
    std::vector<size_t> works;
    for (int k = 0; k < 4; ++k) {  // 0: unmarked
      batches.push_back(std::make_unique<Batch>(BatchShape{.scheme = k == 0 ? Scheme::kGumbel : kSchemes[k - 1], .marking = k > 0, .parameters = shape.parameters,
                                                           .rows = shape.rows, .vocabulary = shape.vocabulary, .max_length = 128, .history = 64}));
      Batch& batch = *batches.back();
      works.push_back(race.Add(launches, [&](int i, cudaStream_t s) { return batch.Launch(Lean(batch.Step(at(i), shape.type)), s); }));
    }
    race.Run(rounds_);
    const std::string name = shape.Name();
    report_->Figure("reading the logits and no more, " + name, race.Median(read), "us", "", race.Spread(read));
    report_->Figure("copying the logits, " + name, race.Median(copied), "us", "", race.Spread(copied));
    report_->Figure("step, unmarked, " + name, race.Median(works[0]), "us", "reading the logits and no more", race.Spread(works[0]));
    report_->Figure("step, unmarked / reading, " + name, race.Ratio(works[0], read), "x");
    for (size_t k = 1; k < 4; ++k) {
      const Scheme scheme = kSchemes[k - 1];
      const std::string mark = std::string(SchemeName(scheme)) + ", " + name;
      const std::string target = *shape.target_us ? std::string("target <= ") + shape.target_us : "";
      report_->Figure("step, " + mark, race.Median(works[k]), "us", target, race.Spread(works[k]));
      if (shape.cached) continue;
      const double more = race.Difference(works[k], works[0]);
      const bool field = scheme == Scheme::kTournament && shape.parameters.top_k == 1024;  // 1,024 candidates, all in the tournament
      report_->Figure("marked less unmarked, " + mark, more, "us", field ? "target <= 10" : shape.rows <= 32 ? "target <= 1" : "");
      report_->Figure("marked / unmarked, " + mark, race.Ratio(works[k], works[0]), "x", shape.rows >= 64 ? "target <= 1.03" : "");
      if (shape.kind == RowKind::kNormal) CheckMarked(*batches[k], mark);
    }
  }

  // What a long history and a commitment add.
  void History(int32_t rows) {
    const int32_t vocabulary = small_ ? 1000 : 128256, many_tokens = small_ ? 320 : 32000;
    if (small_) rows = std::min(rows, 3);
    const int64_t bytes = int64_t{rows} * vocabulary * 2;
    const int buffers = Buffers(bytes), launches = small_ ? 2 : std::min(std::max(buffers, 8), 64);
    DeviceArray<uint8_t> logits(static_cast<size_t>(bytes) * static_cast<size_t>(buffers));
    Check(LaunchFill(logits.get(), kBfloat16, rows * buffers, vocabulary, RowKind::kNormal, 1, nullptr), "filling");
    Check(cudaDeviceSynchronize(), "filling");
    std::vector<std::unique_ptr<Batch>> batches;
    Race race;
    const auto add = [&](int history, bool commit) {
      batches.push_back(std::make_unique<Batch>(BatchShape{.scheme = Scheme::kGumbel, .rows = rows, .vocabulary = vocabulary, .max_length = small_ ? 512 : 32768, .history = history}));
      Batch& batch = *batches.back();
      return race.Add(launches, [&, commit](int i, cudaStream_t s) {
        SampleBatch step = Lean(batch.Step(logits.get() + int64_t{i % buffers} * bytes, kBfloat16));
        step.commit = commit;
        return batch.Launch(step, s);
      });
    };
    // Rounds × launches tokens are committed: within what is left of 32,768.
    const int rounds = std::min(rounds_, 700 / launches - 2);
    const size_t few = add(64, false), few_committed = add(64, true), many = add(many_tokens, false), many_committed = add(many_tokens, true);
    race.Run(rounds);
    const std::string name = "gumbel, B=" + std::to_string(rows) + " V=128256 bf16, normal rows";
    report_->Figure("committing the tokens, history of 64, " + name, race.Difference(few_committed, few), "us", "the same step without commit");
    report_->Figure("history of 32,000 tokens rather than 64, " + name, race.Difference(many, few), "us", "target <= 5");
    report_->Figure("history of 32,000 rather than 64, committing, " + name, race.Difference(many_committed, few_committed), "us", "target <= 5");
    CheckMarked(*batches[3], "committing at 32,000 tokens, " + name);
  }

  void Launches() {
    Race race;
    const size_t empty = race.Add(small_ ? 2 : 500, [](int, cudaStream_t s) { return LaunchEmpty(s); });
    race.Run(rounds_);
    report_->Figure("an empty kernel in a graph", race.Median(empty), "us", "", race.Spread(empty));
  }

 private:
  // No more outputs than a server asks for.
  static SampleBatch Lean(SampleBatch step) {
    step.out_logprobs = nullptr;
    step.out_accepted = nullptr;
    return step;
  }
  int Buffers(int64_t bytes) const { return small_ ? 2 : static_cast<int>(std::clamp<int64_t>((4 * static_cast<int64_t>(cache_) + bytes - 1) / bytes, 2, 1000)); }

  // A timing of rows that were not marked would say nothing.
  void CheckMarked(const Batch& batch, const std::string& what) {
    const std::vector<uint8_t> causes = batch.Causes();
    const auto others = std::count_if(causes.begin(), causes.end(), [](uint8_t c) { return c != kRowMarked && c != kRowTail; });
    report_->Check("the rows timed are marked, " + what, others * 20 <= static_cast<int64_t>(causes.size()) ? "" : std::to_string(others) + " are not");
  }

  Report* report_;
  int rounds_, multiprocessors_ = 0, cache_ = 0;
  bool small_;
};

}  // namespace

void RunTimings(bool quick, bool small, Report* report) {
  report->Section("times; a target that is missed fails nothing");
  const ClockReading before = ReadClocks(small ? 0.004 : quick ? 0.5 : 2.0);
  std::printf("before: %s\n", before.Text().c_str());
  report->Machine("clocks before", before.Json());
  if (!before.driver.empty()) report->Machine("driver", before.driver);
  Timings timings(quick, small, report);
  timings.Launches();
  const std::vector<int32_t> all = {1, 32, 64, 128, 256}, ends = {1, 256};
  for (const int32_t rows : quick ? ends : all) {
    timings.Step({.rows = rows, .vocabulary = 128256, .type = kBfloat16, .target_us = rows == 256 ? "30" : rows == 1 ? "8" : ""});
    if (rows <= 32) timings.Step({.rows = rows, .vocabulary = 128256, .type = kBfloat16, .cached = true});
    if (quick) continue;
    timings.Step({.rows = rows, .vocabulary = 128256, .type = kFloat32});
    timings.Step({.rows = rows, .vocabulary = 151936, .type = kBfloat16});
  }
  const SamplingParameters truncated = {1.0f, 50, 0.9}, served = {0.7f, 0, 0.95};
  timings.Step({.rows = 128, .vocabulary = 131072, .type = kFloat32, .parameters = truncated, .told = "top-k 50, top-p 0.9, ", .target_us = "60"});
  timings.Step({.rows = 256, .vocabulary = 128256, .type = kBfloat16, .parameters = {1.0f, 1024}, .told = "top-k 1024, "});
  if (!quick) {
    timings.Step({.rows = 128, .vocabulary = 131072, .type = kFloat32, .parameters = truncated, .kind = RowKind::kPeaked, .told = "top-k 50, top-p 0.9, ", .target_us = "60"});
    for (const int32_t rows : {32, 256}) {
      timings.Step({.rows = rows, .vocabulary = 128256, .type = kBfloat16, .kind = RowKind::kPeaked});
      timings.Step({.rows = rows, .vocabulary = 128256, .type = kBfloat16, .parameters = {0.7f}, .kind = RowKind::kPeaked, .told = "temperature 0.7, "});
      timings.Step({.rows = rows, .vocabulary = 128256, .type = kBfloat16, .parameters = served, .kind = RowKind::kPeaked, .told = "temperature 0.7, top-p 0.95, "});
    }
    timings.History(1);
  }
  timings.History(256);
  const ClockReading after = ReadClocks(small ? 0.004 : 0.05);
  std::printf("after:  %s\n", after.Text().c_str());
  report->Machine("clocks after", after.Json());
  const bool moved = before.measured_mhz > 0 && std::abs(after.measured_mhz / before.measured_mhz - 1) > 0.03;
  if (moved || !ThrottlingOf(before.throttling | after.throttling).empty()) {
    std::printf("the clock moved or was throttled: read ratios, and times with care\n");
    report->Machine("clocks steady", false);
  } else {
    report->Machine("clocks steady", true);
  }
}

}  // namespace countermark::gpu_check
