#include "countermark/detect/regions.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "absl/base/internal/raw_logging.h"
#include "countermark/detect/tails.h"
#include "src/detect/region_family.h"
#include "src/detect/tilt.h"

namespace countermark {
namespace {

using regions::Evidence;
using regions::Tilt;

// A region with what decides: the lower, the better; not cut off at p = 1.
struct Candidate {
  Region region;
  double log10_product = std::numeric_limits<double>::infinity();  // log10(p · tries)
};

class Search {
 public:
  Search(std::span<const uint64_t> scores, const MarkParameters& parameters, double log10_level)
      : parameters_(parameters), level_(std::min(log10_level, 0.0)), size_(scores.size()), sum_(scores.size() + 1) {
    for (size_t i = 0; i < size_; ++i) sum_[i + 1] = sum_[i] + scores[i];
  }

  RegionSearch Run() {
    RegionSearch search;
    search.scored = size_;
    Scan();
    search.nearest = nearest_.region;
    if (!hot_.empty()) {
      for (const Candidate& candidate : Refined(Merged(Cover()))) search.regions.push_back(candidate.region);
    }
    search.intervals = intervals_;
    return search;
  }

 private:
  // A length at which some coarse interval is significant.
  struct Hot {
    uint64_t length;
    uint64_t step;
    Statistic threshold;  // significant from this sum on
    double log10_tries;
  };

  Statistic Sum(uint64_t begin, uint64_t end) const { return sum_[end] - sum_[begin]; }

  Candidate At(uint64_t begin, uint64_t end) const {
    Candidate candidate;
    Region& region = candidate.region;
    region.first = begin;
    region.count = {end - begin, Sum(begin, end)};
    region.tries = RegionTries(size_, end - begin);
    region.log10_p = Log10P(region.count, parameters_);
    region.log10_p_adjusted = RegionAdjust(region.log10_p, region.tries);
    candidate.log10_product = region.log10_p + regions::Log10(region.tries);
    return candidate;
  }

  bool IsSignificant(const Candidate& candidate) const { return candidate.log10_product <= level_; }

  // Every coarse interval, length by length: the highest sum of each length has its least p.
  void Scan() {
    for (const uint64_t length : regions::CoarseLengths(size_)) {
      const uint64_t step = regions::StepOf(length);
      Statistic highest = 0;
      uint64_t at = 0;
      for (uint64_t begin = 0; begin + length <= size_; begin += step) {
        const Statistic sum = Sum(begin, begin + length);
        if (sum > highest || begin == 0) {
          highest = sum;
          at = begin;
        }
        ++intervals_;
      }
      Candidate best = At(at, at + length);
      if (IsSignificant(best)) {
        const double log10_tries = regions::Log10(best.region.tries);
        hot_.push_back({length, step, Threshold(length, highest, log10_tries), log10_tries});
      }
      if (best.log10_product < nearest_.log10_product) nearest_ = std::move(best);
    }
  }

  // The least sum of that length that is significant, or up to 2⁻²⁰ more; `highest` is significant.
  Statistic Threshold(uint64_t length, Statistic highest, double log10_tries) const {
    Statistic below = 0;  // p = 1: never significant, unless everything is
    if (level_ >= log10_tries) return 0;
    while (highest - below > std::max<Statistic>(1, highest >> 20)) {
      const Statistic middle = below + (highest - below) / 2;
      (Log10P({length, middle}, parameters_) + log10_tries <= level_ ? highest : below) = middle;
    }
    return highest;
  }

  // Weighted interval scheduling: value[b] is the most that disjoint significant intervals within the first b pairs are worth together.
  std::vector<Candidate> Cover() {
    std::vector<double> value(size_ + 1);
    std::vector<uint32_t> chosen(size_ + 1);  // the length of the interval that ends there; 0: none
    for (uint64_t end = 1; end <= size_; ++end) {
      value[end] = value[end - 1];
      for (const Hot& hot : hot_) {
        if (end % hot.step != 0 || hot.length > end) break;  // lengths and steps ascend
        ++intervals_;
        const Statistic sum = Sum(end - hot.length, end);
        if (sum < hot.threshold) continue;
        const double bound = Evidence({hot.length, sum}, parameters_) / kLn10 - hot.log10_tries;
        // What passed the exact tail is worth the level at least, where the bound says less; and never nothing.
        const double worth = value[end - hot.length] + std::max({bound, -level_, 1e-9});
        if (worth <= value[end]) continue;
        value[end] = worth;
        chosen[end] = static_cast<uint32_t>(hot.length);
      }
    }
    std::vector<Candidate> cover;
    for (uint64_t end = size_; end > 0;) {
      const uint64_t length = chosen[end];
      if (length > 0) cover.push_back(At(end - length, end));
      end -= std::max<uint64_t>(length, 1);
    }
    std::reverse(cover.begin(), cover.end());
    return cover;
  }

  // Two passages become one unless what lies between speaks against the weaker one's strength by more than a passage of its own costs.
  std::vector<Candidate> Merged(std::vector<Candidate> cover) {
    std::vector<Candidate> merged;
    for (Candidate& next : cover) {
      merged.push_back(std::move(next));
      while (merged.size() > 1) {
        const Candidate& a = merged[merged.size() - 2];
        const Candidate& b = merged.back();
        const uint64_t a_end = EndOf(a), b_begin = b.region.first;
        const Tilt a_tilt = Tilt::Of(a.region.count, parameters_), b_tilt = Tilt::Of(b.region.count, parameters_);
        const bool a_is_weaker = a_tilt.theta < b_tilt.theta;
        const double between = (a_is_weaker ? a_tilt : b_tilt).Of({b_begin - a_end, Sum(a_end, b_begin)}) / kLn10;
        ++intervals_;
        if (between < -regions::Log10((a_is_weaker ? a : b).region.tries)) break;
        Candidate joined = InFamily(a.region.first, EndOf(b));
        if (!IsSignificant(joined)) break;
        merged.pop_back();
        merged.back() = std::move(joined);
      }
    }
    return merged;
  }

  // The interval, or one that is a pair shorter, if it begins where none of its length may.
  Candidate InFamily(uint64_t begin, uint64_t end) const {
    if (regions::IsInFamily(begin, end - begin)) return At(begin, end);
    Candidate first = At(begin + 1, end), last = At(begin, end - 1);
    return first.log10_product < last.log10_product ? first : last;
  }

  // Given the strength, each end is best where the likelihood's sum is highest, whatever the other; given the ends, the strength is what the passage
  // shows. Twice is enough: a step is a sixteenth of the passage.
  std::vector<Candidate> Refined(std::vector<Candidate> regions) {
    for (size_t i = 0; i < regions.size(); ++i) {
      const uint64_t floor = i == 0 ? 0 : EndOf(regions[i - 1]);
      const uint64_t ceiling = i + 1 == regions.size() ? size_ : regions[i + 1].region.first;
      for (int round = 0; round < 2; ++round) {
        const Candidate& now = regions[i];
        const uint64_t begin = now.region.first, end = EndOf(now), step = regions::StepOf(end - begin);
        if (step == 1) break;  // every interval is a coarse one: seen
        const Tilt tilt = Tilt::Of(now.region.count, parameters_);
        const uint64_t best_begin = Best(tilt, begin - std::min(step, begin - floor), begin + step, end, /*moves_begin=*/true);
        const uint64_t best_end = Best(tilt, end - step, std::min(end + step, ceiling), best_begin, /*moves_begin=*/false);
        Candidate refined = InFamily(best_begin, best_end);
        if (refined.log10_product >= now.log10_product) break;
        regions[i] = std::move(refined);
      }
    }
    return regions;
  }

  // Of the places low … high for one end, the best with the other end held.
  uint64_t Best(const Tilt& tilt, uint64_t low, uint64_t high, uint64_t other, bool moves_begin) {
    uint64_t best = low;
    double most = -std::numeric_limits<double>::infinity();
    for (uint64_t place = low; place <= high; ++place) {
      ++intervals_;
      const uint64_t begin = moves_begin ? place : other, end = moves_begin ? other : place;
      const double worth = tilt.Of({end - begin, Sum(begin, end)});
      if (worth <= most) continue;
      most = worth;
      best = place;
    }
    return best;
  }

  static uint64_t EndOf(const Candidate& candidate) { return candidate.region.first + candidate.region.count.scored; }

  static constexpr double kLn10 = 2.302585092994045684;
  const MarkParameters& parameters_;
  const double level_;
  const uint64_t size_;
  std::vector<Statistic> sum_;  // of the first i scores
  std::vector<Hot> hot_;        // by length
  Candidate nearest_;
  uint64_t intervals_ = 0;
};

}  // namespace

RegionSearch FindRegions(std::span<const uint64_t> scores, const MarkParameters& parameters, double log10_level) {
  ABSL_RAW_CHECK(scores.size() <= regions::kMostPairs, "too many pairs for one text");
  return Search(scores, parameters, log10_level).Run();
}

std::vector<uint32_t> FirstPositions(const PairSet& pairs, std::span<const uint32_t> ids) {
  const size_t window = static_cast<size_t>(pairs.window());
  std::vector<uint32_t> positions;
  positions.reserve(pairs.size());
  // First occurrences ascend, so the next pair's is where it next stands.
  for (size_t i = window; i < ids.size() && positions.size() < pairs.size(); ++i) {
    const size_t next = positions.size();
    bool equal = pairs.token()[next] == ids[i];
    for (size_t j = 0; equal && j < window; ++j) equal = pairs.window_token(static_cast<int>(j))[next] == ids[i - window + j];
    if (equal) positions.push_back(static_cast<uint32_t>(i));
  }
  ABSL_RAW_CHECK(positions.size() == pairs.size(), "the set was not made of these ids alone");
  return positions;
}

std::vector<PlacedRegion> PlaceRegions(std::span<const Region> regions, std::span<const uint32_t> which, std::span<const uint32_t> positions,
                                       std::span<const ByteSpan> spans, int window) {
  std::vector<PlacedRegion> placed;
  placed.reserve(regions.size());
  for (const Region& region : regions) {
    const uint32_t first = positions[which[region.first]], last = positions[which[region.first + region.count.scored - 1]];
    const uint64_t before = placed.empty() ? 0 : placed.back().end;
    placed.push_back({region, std::max(before, spans[first - static_cast<uint32_t>(window)].begin), spans[last].end});
  }
  return placed;
}

}  // namespace countermark
