// The control of decoy keys: how the same statistic falls under keys that marked nothing, against how chance would have it.
//
//   page::Quantiles control{.id = "decoys", .real_log10_p = -45.3, .decoy_log10_p = values};   // any order
//   std::string html = page::QuantilesHtml(control);
//
// If the test is calibrated on this very text, the i-th smallest of n decoy values is Beta(i, n + 1 − i): points stay near the diagonal, in a band that
// holds each of them with probability 99 % (of each by itself: one in a hundred may stand outside). Exact tests of discrete scores may stand below it, never above.
#ifndef COUNTERMARK_SRC_EVIDENCE_PAGE_QUANTILE_H_
#define COUNTERMARK_SRC_EVIDENCE_PAGE_QUANTILE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace countermark::page {

struct Quantiles {
  std::string id;
  std::string real_name;              // no markup, no input: "the base key"
  double real_log10_p = 0;
  std::vector<double> decoy_log10_p;
};

std::string QuantilesHtml(const Quantiles& control);

// 1 + how many decoys are at least as extreme as the real key: 1 is the most extreme of decoys + 1.
uint64_t RankOf(double real_log10_p, std::span<const double> decoy_log10_p);

// The quantile q of the i-th smallest of n uniform values, Beta(i, n + 1 − i), to 2⁻³². 1 ≤ i ≤ n, 0 < q < 1.
double UniformOrderQuantile(uint64_t i, uint64_t n, double q);

}  // namespace countermark::page

#endif  // COUNTERMARK_SRC_EVIDENCE_PAGE_QUANTILE_H_
