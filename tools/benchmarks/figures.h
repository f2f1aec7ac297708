// What the benchmark programs share: a clock, the median of many runs, and figures printed as one JSON object
// {"machine": …, "figures": [{"name", "value", "unit", "against"}]}. `against` names what the value is to be compared with.
#ifndef COUNTERMARK_TOOLS_BENCHMARKS_FIGURES_H_
#define COUNTERMARK_TOOLS_BENCHMARKS_FIGURES_H_

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
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
