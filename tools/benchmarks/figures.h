// What the benchmark programs share: a clock, medians, works timed in turn, and figures printed as one JSON object
// {"machine": …, "figures": [{"name", "value", "unit", "against"}]}. `against` names what the value is to be compared with; where that is a
// limit that was set beforehand it says "target <= 60" or "target >= 20", and tools/bench tells from that whether it was met.
//
//   Interleaved works;
//   size_t plain = works.Add([&](size_t round) { … }), marked = works.Add([&](size_t round) { … });
//   works.Run(200);
//   figures.Add("marked", 1e6 * works.Median(marked), "us");
//   figures.Add("marked / unmarked", works.MedianRatio(marked, plain), "x", "the same hook, unmarked");
#ifndef COUNTERMARK_TOOLS_BENCHMARKS_FIGURES_H_
#define COUNTERMARK_TOOLS_BENCHMARKS_FIGURES_H_

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace countermark::bench {

// Seconds this thread has computed, so that a busy machine's other work counts for little.
inline double ThreadSeconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The median time of one call of `work`, over runs of at least a tenth of a millisecond for `budget` seconds and no fewer than five.
template <typename Work>
double MedianSeconds(Work work, double budget = 0.3) {
  double start = ThreadSeconds();
  work();
  const double once = std::max(ThreadSeconds() - start, 1e-9);
  const int calls = std::max(1, static_cast<int>(1e-4 / once));
  std::vector<double> runs;
  const double begin = ThreadSeconds();
  while (runs.size() < 5 || ThreadSeconds() - begin < budget) {
    start = ThreadSeconds();
    for (int i = 0; i < calls; ++i) work();
    runs.push_back((ThreadSeconds() - start) / calls);
  }
  std::nth_element(runs.begin(), runs.begin() + static_cast<ptrdiff_t>(runs.size() / 2), runs.end());
  return runs[runs.size() / 2];
}

inline double MedianOf(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Several works timed in turn, round after round and in another order each time, so that what slows the machine for a while, or what one work leaves
// in caches and branch predictors for the next, touches them all.
class Interleaved {
 public:
  using Work = std::function<void(size_t round)>;

  // `prepare` is not timed. Without it the work itself is done once before, untimed. `calls`: how often the work is done in one timing; short works need
  // several, as reading the clock takes about 0.3 us.
  size_t Add(Work work, Work prepare = nullptr, int calls = 1) {
    entries_.push_back({work, prepare ? std::move(prepare) : work, calls, {}});
    return entries_.size() - 1;
  }

  void Run(size_t rounds) {
    std::mt19937 random(1);
    std::vector<size_t> order(entries_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    for (size_t round = 0; round < rounds; ++round) {
      std::shuffle(order.begin(), order.end(), random);
      for (size_t i : order) {
        Entry& e = entries_[i];
        e.prepare(round);
        const double start = ThreadSeconds();
        for (int c = 0; c < e.calls; ++c) e.work(round);
        e.seconds.push_back((ThreadSeconds() - start) / e.calls);
      }
    }
  }

  double Median(size_t work) const { return MedianOf(entries_[work].seconds); }
  double MedianRatio(size_t of, size_t to) const {
    return MedianOfPairs(of, to, [](double a, double b) { return a / b; });
  }
  double MedianDifference(size_t of, size_t less) const {
    return MedianOfPairs(of, less, [](double a, double b) { return a - b; });
  }

 private:
  struct Entry {
    Work work, prepare;
    int calls;
    std::vector<double> seconds;
  };
  template <typename Join>
  double MedianOfPairs(size_t a, size_t b, Join join) const {
    std::vector<double> joined;
    for (size_t i = 0; i < entries_[a].seconds.size(); ++i) joined.push_back(join(entries_[a].seconds[i], entries_[b].seconds[i]));
    return MedianOf(std::move(joined));
  }
  std::vector<Entry> entries_;
};

// "target <= 60 us" where the instruction set is AVX-512, with `avx2` in its place for AVX2; empty for others, which have none.
inline std::string TargetFor(const std::string& isa, const char* sense, const char* avx512, const char* avx2) {
  if (isa == "avx512") return std::string("target ") + sense + " " + avx512;
  if (isa == "avx2") return std::string("target ") + sense + " " + avx2;
  return "";
}

inline std::string Processor() {
  std::ifstream info("/proc/cpuinfo");
  std::string line, model = "unknown processor";
  while (std::getline(info, line)) {
    if (line.starts_with("model name")) {
      model = line.substr(std::min(line.size(), line.find(':') + 2));
      break;
    }
  }
  return model;
}

class Figures {
 public:
  void Add(const std::string& name, double value, const std::string& unit, const std::string& against = "") {
    nlohmann::ordered_json figure = {{"name", name}, {"value", value}, {"unit", unit}};
    if (!against.empty()) figure["against"] = against;
    figures_.push_back(figure);
  }
  void Print() const {
    const nlohmann::ordered_json all = {{"machine", Processor() + ", one core"}, {"figures", figures_}};
    std::printf("%s\n", all.dump(1).c_str());
  }

 private:
  nlohmann::ordered_json figures_ = nlohmann::ordered_json::array();
};

}  // namespace countermark::bench

#endif  // COUNTERMARK_TOOLS_BENCHMARKS_FIGURES_H_
