#include "countermark/audit/documents.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "src/base/status_macros.h"

namespace countermark {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

absl::StatusOr<double> ListingThreshold(uint64_t documents, double fdr, const ScanE& scan, size_t kept) {
  if (documents == 0) return kInfinity;
  const auto bar = [&](uint64_t rank) { return std::log10(static_cast<double>(documents) / (static_cast<double>(rank) * fdr)); };
  // A document below the bar of rank r, where r or fewer are above the bar so far, is listed at no rank up to r: the bar may rise to that of the count.
  uint64_t rank = documents;
  std::vector<double> above;
  while (true) {
    above.clear();
    uint64_t count = 0;
    const double low = bar(rank);
    CM_RETURN_IF_ERROR(scan([&](double e) {
      if (!(e >= low)) return;
      ++count;
      if (above.size() < kept) above.push_back(e);
    }));
    if (count == 0) return kInfinity;
    if (count == rank) return low;  // all of these ranks are listed
    rank = count;
    if (count <= kept) break;
  }
  std::sort(above.begin(), above.end(), std::greater<>());
  for (uint64_t k = above.size(); k > 0; --k) {
    if (above[k - 1] >= bar(k)) return bar(k);
  }
  return kInfinity;
}

absl::StatusOr<uint64_t> MarkedDocumentsAtLeast(uint64_t documents, double risk, const ScanE& scan, size_t kept) {
  if (documents == 0) return 0;
  // Values from documents/risk on are in no such set: one alone lifts every mean to 1/risk.
  const double limit = std::log10(static_cast<double>(documents) / risk);
  const auto fits = [&](long double sum, uint64_t count) { return sum * (1 - 1e-12L) < static_cast<long double>(count) / risk; };
  // Everything up to `low` is in, everything above `high` is out; halve what is between until it fits in memory.
  double low = -std::log10(risk), high = limit;
  while (true) {
    long double sum = 0;
    uint64_t count = 0, between_count = 0;
    std::vector<double> between;
    CM_RETURN_IF_ERROR(scan([&](double e) {
      if (e < low) {
        sum += std::pow(10.0L, static_cast<long double>(e));
        ++count;
      } else if (e < high) {
        ++between_count;
        if (between.size() < kept) between.push_back(e);
      }
    }));
    const double middle = low + (high - low) / 2;
    if (between_count <= kept || !(low < middle && middle < high)) {
      std::sort(between.begin(), between.end());
      for (const double e : between) {
        sum += std::pow(10.0L, static_cast<long double>(e));
        if (!fits(sum, count + 1)) return documents - count;
        ++count;
      }
      // Equal values that did not fit into memory: as many as the sum allows.
      if (between_count > between.size()) {
        const long double each = std::pow(10.0L, static_cast<long double>(between.back()));
        for (uint64_t left = between_count - between.size(); left > 0; --left) {
          sum += each;
          if (!fits(sum, count + 1)) break;
          ++count;
        }
      }
      return documents - count;
    }
    long double with = sum;
    uint64_t with_count = count;
    CM_RETURN_IF_ERROR(scan([&](double e) {
      if (e < low || e >= middle) return;
      with += std::pow(10.0L, static_cast<long double>(e));
      ++with_count;
    }));
    (fits(with, with_count) || with_count == count ? low : high) = middle;
  }
}

}  // namespace countermark
