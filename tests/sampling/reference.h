// The selection of mark-format.md written as slowly and plainly as it reads: sorted, in 128 bits, one token after another.
#ifndef COUNTERMARK_TESTS_SAMPLING_REFERENCE_H_
#define COUNTERMARK_TESTS_SAMPLING_REFERENCE_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "countermark/mark/select.h"
#include "countermark/mark/weight.h"
#include "countermark/sampling/parameters.h"

namespace countermark::reference {

struct Token {
  uint32_t id;
  uint64_t weight;
};

inline std::vector<Token> Truncate(const std::vector<float>& z, const SamplingParameters& p) {
  float max = -std::numeric_limits<float>::infinity();
  for (float x : z) max = x > max ? x : max;
  std::vector<Token> tokens;
  uint64_t total = 0;
  for (uint32_t i = 0; i < z.size(); ++i) {
    const uint64_t w = z[i] == z[i] ? Weight(z[i], max, InverseTemperature(p.temperature)) : 0;
    tokens.push_back({i, w});
    total += w;
  }
  std::sort(tokens.begin(), tokens.end(), [](const Token& a, const Token& b) { return ComesBefore(a.weight, a.id, b.weight, b.id); });
  if (p.top_k > 0 && static_cast<size_t>(p.top_k) < tokens.size()) {
    tokens.resize(static_cast<size_t>(p.top_k));
    total = 0;
    for (const Token& t : tokens) total += t.weight;
  }
  if (Threshold(p.top_p) < uint64_t{1} << 32) {
    uint64_t cumulative = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      cumulative += tokens[i].weight;
      if (TopPReached(cumulative, total, Threshold(p.top_p))) {
        tokens.resize(i + 1);
        break;
      }
    }
  }
  const uint64_t heaviest = tokens[0].weight;
  std::erase_if(tokens, [&](const Token& t) { return t.weight == 0 || !MinPKeeps(t.weight, heaviest, Threshold(p.min_p)); });
  std::sort(tokens.begin(), tokens.end(), [](const Token& a, const Token& b) { return a.id < b.id; });
  return tokens;
}

}  // namespace countermark::reference

#endif  // COUNTERMARK_TESTS_SAMPLING_REFERENCE_H_
