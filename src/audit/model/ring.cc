#include "countermark/audit/model_ring.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace countermark {
namespace {

constexpr long double kLn10 = 2.302585092994045684017991454684364208L;

double Log10Mean(std::span<const long double> ln) {
  const long double most = *std::max_element(ln.begin(), ln.end());
  long double sum = 0;
  for (const long double x : ln) sum += std::exp(x - most);
  return static_cast<double>((most + std::log(sum / static_cast<long double>(ln.size()))) / kLn10);
}

}  // namespace

Evidence Pool(const Evidence& a, const Evidence& b) {
  Evidence sum = a;
  sum.keys += b.keys;
  sum.windows += b.windows;
  sum.sum += b.sum;
  sum.squares += b.squares;
  sum.top1.scored += b.top1.scored;
  sum.top1.statistic += b.top1.statistic;
  for (size_t j = 0; j < sum.ln_filter.size(); ++j) sum.ln_filter[j] += b.ln_filter[j];
  for (size_t j = 0; j < sum.ln_top1.size(); ++j) sum.ln_top1[j] += b.ln_top1[j];
  return sum;
}

Reading Judge(const EvidenceScale& scale, const Evidence& evidence) {
  Reading reading;
  if (evidence.windows == 0) return reading;
  if (scale.served) {
    reading.log10_e_filter = Log10OfBets(evidence.ln_filter);
    reading.log10_e_top1 = Log10Mean(evidence.ln_top1);
    reading.log10_filter = std::min(0.0, -reading.log10_e_filter);
    reading.log10_top1 = std::min(0.0, -reading.log10_e_top1);
  } else {
    reading.log10_filter = scale.bound->Log10P(evidence.sum, evidence.keys);
    reading.log10_top1 = Log10P(evidence.top1, scale.filter->parameters());
  }
  reading.log10_p = BetterOfTwo(reading.log10_filter, reading.log10_top1);
  return reading;
}

RingFound SearchRing(const EvidenceScale& scale, std::span<const Evidence> accounts, std::span<const double> log10_p, size_t largest) {
  RingFound best;
  std::vector<size_t> order(accounts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return log10_p[a] < log10_p[b]; });
  Evidence pooled;
  long double ln_sets = 0;  // ln C(n, k), from C(n, k − 1) by (n − k + 1)/k
  size_t size = 0;
  for (size_t k = 1; k <= std::min(order.size(), largest); ++k) {
    pooled = Pool(pooled, accounts[order[k - 1]]);
    ln_sets += std::log(static_cast<long double>(order.size() - k + 1)) - std::log(static_cast<long double>(k));
    const Reading reading = Judge(scale, pooled);
    const auto sets = static_cast<double>((ln_sets + std::log(static_cast<long double>(k)) + std::log(static_cast<long double>(k + 1))) / kLn10);
    const double corrected = std::min(0.0, reading.log10_p + sets);
    if (size == 0 || corrected < best.log10_p) {
      size = k;
      best.reading = reading;
      best.log10_sets = sets;
      best.log10_p = corrected;
    }
  }
  best.members.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(size));
  return best;
}

}  // namespace countermark
