// Rows of logits as wide as large models': random ones, and a small model's widened.
#ifndef COUNTERMARK_TOOLS_BENCHMARKS_WIDE_ROWS_H_
#define COUNTERMARK_TOOLS_BENCHMARKS_WIDE_ROWS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tools/benchmarks/logits_file.h"

namespace countermark::bench {

inline constexpr uint32_t kWide = 128256;

struct Rows {
  std::string name;
  uint32_t vocabulary;
  bool has_targets;  // the limits were set for V = 128256
  std::vector<std::vector<float>> rows;
};

inline Rows RandomRows(size_t count) {
  Rows rows = {"random rows, V=128256", kWide, true, {}};
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 3);
  for (size_t r = 0; r < count; ++r) {
    std::vector<float> row(kWide);
    for (float& z : row) z = normal(random);
    rows.rows.push_back(std::move(row));
  }
  return rows;
}

// The model's tokens, then copies of its tail (all but its 1,024 likeliest), in id order, until the row is 128256 wide.
inline Rows Widen(const LogitsRows& model) {
  Rows rows = {"SmolLM2's rows with the tail repeated, V=128256", kWide, true, {}};
  for (const std::vector<float>& row : model.rows) {
    std::vector<uint32_t> order(row.size());
    std::iota(order.begin(), order.end(), 0u);
    std::nth_element(order.begin(), order.begin() + 1024, order.end(), [&](uint32_t a, uint32_t b) { return row[a] > row[b]; });
    std::sort(order.begin() + 1024, order.end());
    std::vector<float> wide = row;
    for (size_t i = 1024; wide.size() < kWide; i = i + 1 < order.size() ? i + 1 : 1024) wide.push_back(row[order[i]]);
    rows.rows.push_back(std::move(wide));
  }
  return rows;
}

}  // namespace countermark::bench

#endif  // COUNTERMARK_TOOLS_BENCHMARKS_WIDE_ROWS_H_
