#include "countermark/detect/multiplicity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace countermark {
namespace {

// A NaN compares false and becomes 0, p = 1.
double AtMostOne(double log10_p) { return log10_p < 0 ? log10_p : 0.0; }

uint64_t SaturatingProduct(uint64_t a, uint64_t b) {
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<uint64_t>::max() : product;
}

uint64_t SaturatingSum(uint64_t a, uint64_t b) {
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<uint64_t>::max() : sum;
}

}  // namespace

std::vector<double> HolmAdjust(std::span<const double> log10_p, uint64_t family) {
  family = std::max<uint64_t>(family, log10_p.size());
  std::vector<size_t> order(log10_p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return AtMostOne(log10_p[a]) < AtMostOne(log10_p[b]); });
  std::vector<double> adjusted(log10_p.size());
  double highest = -std::numeric_limits<double>::infinity();
  for (size_t rank = 0; rank < order.size(); ++rank) {
    highest = std::max(highest, BonferroniAdjust(log10_p[order[rank]], family - rank));
    adjusted[order[rank]] = highest;
  }
  return adjusted;
}

double BonferroniAdjust(double log10_p, uint64_t tests) {
  const double raw = AtMostOne(log10_p);
  return tests > 1 ? AtMostOne(raw + std::log10(static_cast<double>(tests))) : raw;
}

uint64_t TestLedger::Total() const {
  const uint64_t pool = questions > 1 && records != 1 ? 1 : 0;
  const uint64_t subject = std::max<uint64_t>(SaturatingSum(channels, candidates), 1);
  const uint64_t subjects = std::max<uint64_t>(SaturatingSum(records, pool), 1);
  uint64_t tests = SaturatingProduct(SaturatingProduct(subjects, subject), SaturatingSum(1, weighted));
  tests = SaturatingSum(tests, SaturatingProduct(SaturatingProduct(std::max<uint64_t>(records, 1), std::max<uint64_t>(channels, 1)), regions));
  for (const uint64_t factor : {keys, schemes, views, tokenizers}) tests = SaturatingProduct(tests, std::max<uint64_t>(factor, 1));
  return tests;
}

}  // namespace countermark
