#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "src/audit/model/language_model.h"

namespace countermark::audit {
namespace {

// exp(x) for x ≤ 0 to some 2e-7, without a branch, so that the compiler makes vectors of it. Weights may be any numbers; near is enough.
inline float ExpOf(float x) {
  x = std::max(x, -87.0f) * 1.44269504f;
  const float shifted = x + 12582912.0f;  // 1.5·2²³: the sum's low bits are the nearest integer
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  const float f = x - (shifted - 12582912.0f);  // −½ … ½
  const float mantissa = 1 + f * (0.693147181f + f * (0.240226507f + f * (0.0555041087f + f * (0.00961812911f + f * 0.00133335581f))));
  int32_t power;
  std::memcpy(&power, &mantissa, sizeof power);
  power += (bits - 0x4B400000) << 23;
  float result;
  std::memcpy(&result, &power, sizeof result);
  return result;
}

}  // namespace

int64_t Softmax(std::span<const float> logits, std::span<const int32_t> map, std::span<float> probabilities) {
  const size_t n = logits.size();
  float most = -INFINITY;
  for (size_t v = 0; v < n; ++v) most = logits[v] > most ? logits[v] : most;
  if (!std::isfinite(most)) {
    std::fill(probabilities.begin(), probabilities.end(), 0.0f);
    return -1;
  }
  const int64_t best = std::find(logits.begin(), logits.end(), most) - logits.begin();
  double sum = 0;
  constexpr size_t kBlock = 512;
  float block[kBlock];
  const bool mapped = !map.empty();
  if (mapped || n < probabilities.size()) std::fill(probabilities.begin(), probabilities.end(), 0.0f);
  for (size_t first = 0; first < n; first += kBlock) {
    const size_t here = std::min(kBlock, n - first);
    for (size_t i = 0; i < here; ++i) block[i] = ExpOf(logits[first + i] - most);
    float part[16] = {};
    size_t i = 0;
    for (; i + 16 <= here; i += 16) {
      for (size_t l = 0; l < 16; ++l) part[l] += block[i + l];
    }
    for (; i < here; ++i) part[0] += block[i];
    for (const float p : part) sum += p;
    if (mapped) {
      for (i = 0; i < here; ++i) {
        if (map[first + i] >= 0) probabilities[static_cast<size_t>(map[first + i])] += block[i];
      }
    } else if (first < probabilities.size()) {
      std::copy_n(block, std::min(here, probabilities.size() - first), probabilities.begin() + static_cast<std::ptrdiff_t>(first));
    }
  }
  const auto scale = static_cast<float>(1 / sum);
  for (float& p : probabilities) p *= scale;
  if (mapped) return map[static_cast<size_t>(best)];
  return best < static_cast<int64_t>(probabilities.size()) ? best : -1;
}

}  // namespace countermark::audit
