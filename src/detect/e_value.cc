#include <array>
#include <cmath>

#include "countermark/detect/tails.h"
#include "src/detect/tails_math.h"

namespace countermark {
namespace {

using tails::Real;

constexpr size_t kBets = kEValueBets.size();

// ln(1 + scale·λ) − scale·λ for every bet.
std::array<Real, kBets> LogFactors(Real scale) {
  std::array<Real, kBets> factors;
  for (size_t i = 0; i < kBets; ++i) factors[i] = tails::Log1pMinus(scale * kEValueBets[i]);
  return factors;
}

const std::array<Real, kBets>& MissFactors() {
  static const std::array<Real, kBets> factors = LogFactors(-1);
  return factors;
}

// log10 of the mean of exp(log_product).
double Log10Mean(const std::array<Real, kBets>& log_product) {
  Real top = log_product[0];
  for (const Real value : log_product) top = std::fmax(top, value);
  Real sum = 0;
  for (const Real value : log_product) sum += std::exp(value - top);
  return static_cast<double>((top + std::log(sum / kBets)) / tails::kLn10);
}

// hits·ln(1 + λ(1/γ − 1)) + misses·ln(1 − λ), γ = green/256. The parts linear in λ, which nearly cancel under the null, are
// taken together as an exact integer: λ·(hits/γ − n) = λ·(256·hits − green·n)/green.
std::array<Real, kBets> LnBernoulliE(uint64_t n, uint64_t hits, uint32_t green) {
  const std::array<Real, kBets> hit = LogFactors(static_cast<Real>(256 - green) / green);
  const std::array<Real, kBets>& miss = MissFactors();
  const Real excess = tails::Distance(hits, n, green, 256) * 256 / green;
  std::array<Real, kBets> log_product;
  for (size_t i = 0; i < kBets; ++i) {
    log_product[i] = static_cast<Real>(hits) * hit[i] + static_cast<Real>(n - hits) * miss[i] + kEValueBets[i] * excess;
  }
  return log_product;
}

// n·ln(1 − λ) + λ·S = n·(ln(1 − λ) + λ) + λ·(S − n).
std::array<Real, kBets> LnGumbelE(uint64_t n, Statistic statistic) {
  const std::array<Real, kBets>& miss = MissFactors();
  const auto difference = static_cast<__int128>(statistic) - (static_cast<__int128>(n) << 40);
  const Real excess = std::ldexp(static_cast<Real>(difference), -40);
  std::array<Real, kBets> log_product;
  for (size_t i = 0; i < kBets; ++i) log_product[i] = static_cast<Real>(n) * miss[i] + kEValueBets[i] * excess;
  return log_product;
}

}  // namespace

std::array<Real, kBets> LnEOfBets(const ChannelCount& count, const MarkParameters& parameters) {
  if (count.scored == 0 || !PossibleCount(count, parameters)) return {};
  switch (parameters.scheme) {
    case Scheme::kPartition:
      return LnBernoulliE(count.scored, static_cast<uint64_t>(count.statistic), static_cast<uint32_t>(parameters.green));
    case Scheme::kTournament:
      return LnBernoulliE(count.scored * static_cast<uint64_t>(parameters.layers), static_cast<uint64_t>(count.statistic), 128);
    case Scheme::kGumbel:
      return LnGumbelE(count.scored, count.statistic);
  }
  return {};
}

double Log10E(const ChannelCount& count, const MarkParameters& parameters) {
  if (count.scored == 0 || !PossibleCount(count, parameters)) return 0.0;
  return Log10Mean(LnEOfBets(count, parameters));
}

}  // namespace countermark
