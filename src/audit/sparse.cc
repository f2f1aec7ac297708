#include "countermark/audit/sparse.h"

#include <cmath>

namespace countermark {
namespace {

// Beyond this a document's product is kept as a logarithm. The term 1 − ε that is then left out only lowers E, by a factor 1 − e^−5000 at most.
constexpr long double kFar = 5000;
constexpr long double kLn2 = 0.693147180559945309417232121458176568L;
constexpr long double kLn10 = 2.302585092994045684017991454684364208L;

}  // namespace

SparseProduct::SparseProduct() = default;

void SparseProduct::Factor::Multiply(long double by) {
  mantissa *= by;
  if (mantissa > 0x1p4000L || mantissa < 0x1p-4000L) {
    int shift = 0;
    mantissa = std::frexp(mantissa, &shift);
    exponent += shift;
  }
}

void SparseProduct::Add(const ChannelCount& count, const MarkParameters& parameters) {
  if (count.scored == 0) return;
  const auto ln_e = LnEOfBets(count, parameters);
  for (size_t b = 0; b < ln_e.size(); ++b) {
    const bool far = std::fabs(ln_e[b]) > kFar;
    const long double e = far ? 0 : std::exp(ln_e[b]);
    for (size_t s = 0; s < kSparseShares.size(); ++s) {
      const long double share = kSparseShares[s];
      Factor& factor = factors_[b][s];
      if (!far) {
        factor.Multiply((1 - share) + share * e);
      } else if (ln_e[b] > 0 || share == 1) {
        factor.Multiply(share);
        factor.ln += ln_e[b];
      } else {
        factor.Multiply(1 - share);
      }
    }
  }
}

void SparseProduct::Append(const SparseProduct& next) {
  for (size_t b = 0; b < factors_.size(); ++b) {
    for (size_t s = 0; s < kSparseShares.size(); ++s) {
      factors_[b][s].Multiply(next.factors_[b][s].mantissa);
      factors_[b][s].exponent += next.factors_[b][s].exponent;
      factors_[b][s].ln += next.factors_[b][s].ln;
    }
  }
}

double SparseProduct::Log10() const {
  std::array<long double, kEValueBets.size() * kSparseShares.size()> ln;
  long double top = -HUGE_VALL;
  size_t i = 0;
  for (const auto& bet : factors_) {
    for (const Factor& factor : bet) {
      ln[i] = std::log(factor.mantissa) + static_cast<long double>(factor.exponent) * kLn2 + factor.ln;
      top = std::fmax(top, ln[i++]);
    }
  }
  long double sum = 0;
  for (const long double value : ln) sum += std::exp(value - top);
  return static_cast<double>((top + std::log(sum / static_cast<long double>(ln.size()))) / kLn10);
}

}  // namespace countermark
