#include "countermark/audit/share.h"

#include <algorithm>
#include <cmath>

#include "countermark/detect/tails.h"

namespace countermark {

MarkedPairs MarkedPairsAtLeast(uint64_t pairs, std::span<const uint64_t> counts, const TopHits& hits, double risk) {
  MarkedPairs best;
  if (pairs == 0) return best;
  const double level = std::log10(risk / hits.levels);
  for (int j = 0; j < hits.levels; ++j) {
    if (counts[static_cast<size_t>(j)] > pairs) continue;
    const uint64_t misses = pairs - counts[static_cast<size_t>(j)];
    // P(misses among n ≤ misses) = P(hits among n ≥ n − misses).
    const auto possible = [&](uint64_t n) { return Log10BinomialTail(n, n - misses, hits.numerator[j], TopHits::kDenominator) > level; };
    uint64_t low = misses, high = pairs;  // possible at low: its probability is 1
    while (low < high) {
      const uint64_t middle = low + (high - low + 1) / 2;
      if (possible(middle)) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    best.pairs = std::max(best.pairs, pairs - low);
  }
  best.share = std::floor(static_cast<double>(best.pairs) / static_cast<double>(pairs) * 1e9) / 1e9;
  return best;
}

}  // namespace countermark
