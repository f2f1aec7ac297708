#include "src/evidence/page_quantile.h"

#include <algorithm>
#include <cmath>

#include "countermark/detect/tails.h"
#include "src/base/strings.h"
#include "src/evidence/page_chart.h"
#include "src/evidence/page_text.h"

namespace countermark::page {
namespace {

constexpr size_t kPoints = 160;

// Ranks that are drawn: every one of the smallest, then thinner, since on a logarithmic scale they crowd at the foot.
std::vector<size_t> RanksDrawn(size_t n) {
  std::vector<size_t> ranks;
  const double step = std::log(static_cast<double>(n) + 1) / kPoints;
  for (size_t k = 0; k <= kPoints; ++k) {
    const auto rank = std::clamp<size_t>(static_cast<size_t>(std::llround(std::exp(step * static_cast<double>(k)))), 1, n);
    if (ranks.empty() || rank > ranks.back()) ranks.push_back(rank);
  }
  return ranks;
}

}  // namespace

uint64_t RankOf(double real_log10_p, std::span<const double> decoy_log10_p) {
  return 1 + static_cast<uint64_t>(std::count_if(decoy_log10_p.begin(), decoy_log10_p.end(), [=](double decoy) { return decoy <= real_log10_p; }));
}

double UniformOrderQuantile(uint64_t i, uint64_t n, double q) {
  // P(U₍ᵢ₎ ≤ x) = P(Binomial(n, x) ≥ i), rising in x: bisection over x = numerator/(2³² − 1).
  constexpr uint32_t kDenominator = 0xFFFFFFFF;
  const double target = std::log10(q);
  uint32_t low = 0, high = kDenominator;  // at high the chance is above q, or high is 1
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    (Log10BinomialTail(n, i, middle, kDenominator) >= target ? high : low) = middle;
  }
  return static_cast<double>(high) / kDenominator;
}

std::string QuantilesHtml(const Quantiles& control) {
  std::vector<double> decoys = control.decoy_log10_p;
  std::sort(decoys.begin(), decoys.end());
  const size_t n = decoys.size();
  if (n == 0) return "<p>No decoy keys were drawn.</p>\n";
  const auto count = static_cast<double>(n);
  const std::vector<size_t> ranks = RanksDrawn(n);
  Series band{.name = "where 99 of 100 points of a calibrated test lie", .style = 0, .points = {}, .in_table = false};
  Series diagonal{.name = "chance", .style = 3, .points = {}, .in_table = false};
  Series points{.name = Cat(Thousands(n), " decoy keys"), .style = 1, .dots = true, .points = {}};
  for (auto rank = ranks.rbegin(); rank != ranks.rend(); ++rank) {
    const double expected = -std::log10((static_cast<double>(*rank) - 0.5) / count);
    points.points.emplace_back(expected, -decoys[*rank - 1]);
    diagonal.points.emplace_back(expected, expected);
    band.points.emplace_back(expected, -std::log10(UniformOrderQuantile(*rank, n, 0.995)));
  }
  for (const size_t rank : ranks) {
    const double expected = -std::log10((static_cast<double>(rank) - 0.5) / count);
    band.points.emplace_back(expected, -std::log10(UniformOrderQuantile(rank, n, 0.005)));
  }
  const double highest = std::max(-decoys.front(), band.points.back().second);
  const double real = -control.real_log10_p;
  Chart chart{.id = control.id, .title = "Decoy keys on this very text", .description = "", .caption = "", .x_label = "expected −log10 p", .y_label = "−log10 p found", .series = {}, .levels = {}};
  chart.x_name = "expected −log10 p";
  chart.series = {std::move(band), std::move(diagonal), std::move(points)};
  // A real key far above the decoys would press them flat: it is then named at the top of the scale.
  const bool beyond = real > 3 * highest;
  chart.levels.push_back({beyond ? highest * 1.25 : std::max(real, 0.0), Cat(control.real_name, ": ", Fixed(real, 1), beyond ? ", far above this scale" : "")});
  const uint64_t rank = RankOf(control.real_log10_p, decoys);
  chart.description = Cat("The sorted values of ", Thousands(n), " decoy keys against what chance would give; the largest is ", Fixed(-decoys.front(), 2), ". The real key's value is ", Fixed(real, 2),
                          ", rank ", Thousands(rank), " of ", Thousands(n + 1), ".");
  chart.caption = Cat("Each point is a key that marked nothing, asked the same question of the same text. Points near the line say that the test is calibrated on this text. Of ", Thousands(n + 1), " keys, ",
                      control.real_name, " has rank <strong>", Thousands(rank), "</strong> (1 is the most extreme); the most extreme decoy has −log10 p = ", Fixed(-decoys.front(), 2), ".");
  return ChartHtml(chart);
}

}  // namespace countermark::page
