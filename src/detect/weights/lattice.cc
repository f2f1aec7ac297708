// The exact tail of a sum of weighted Bernoulli draws, from the characteristic function of its tilted law.
//
// With λ > 0 and P_λ(x) = P(x)·e^{λx}/M(λ), itself a sum of independent weighted Bernoulli draws,
//   P(S ≥ s) = M(λ)·e^{−λs}·T,  T = Σ over j ≥ 0 of e^{−λj}·P_λ(s + j).
// With period L ≥ J and P̃(x) = Σ over i of P_λ(x + iL) ≥ P_λ(x), which is (1/L)·Σ over k of φ(2πk/L)·e^{−2πikx/L},
//   T ≤ Σ over j < J of e^{−λj}·P̃(s + j) + e^{−λJ}·P_λ(S ≥ s + J).
// The geometric sum over j is closed, so each frequency costs its φ alone. Rounding: every φ is a product of complex numbers, taken by logarithms of moduli and
// sums of arguments, with a relative error below 2⁻⁵²·(16·Σ draws + 64), and the sum over k loses one unit a term; these times the sum of moduli are added. Frequencies with
// |φ| below 10⁻³⁰ are left out, and 10⁻³⁰·J added for them.
#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <vector>

#include "src/detect/weights/law.h"

namespace countermark {
namespace {

using tails::Real;
using weights::DrawLaw;
using weights::WeightedLaw;

constexpr double kLargestPeriod = 1 << 22;
constexpr double kWholeSupport = 1 << 17;
constexpr double kMostTerms = 1 << 25;     // sines that may be taken
constexpr double kReach = 18;              // standard deviations
constexpr double kLeastLogModulus = -70;   // ln 10⁻³⁰

struct TiltedGroup {
  uint64_t weight, draws;
  double bias;  // p − q of the tilted law
};

// turn/size of a full turn, in (−π, π].
double Angle(uint64_t turn, uint64_t size) {
  const double whole = static_cast<double>(size), part = static_cast<double>(turn);
  return 2 * M_PI * (2 * turn > size ? part - whole : part) / whole;
}

// 1 − e^{log_modulus − i·angle}, log_modulus ≤ 0, where the subtraction would cancel.
std::complex<double> OneMinus(double log_modulus, double angle) {
  const double modulus = std::exp(log_modulus), half = std::sin(angle / 2);
  return {-std::expm1(log_modulus) + modulus * 2 * half * half, modulus * std::sin(angle)};
}

}  // namespace

std::optional<double> Log10LatticeTail(std::span<const WeightGroup> groups, Statistic sum, uint32_t numerator, uint32_t denominator) {
  if (groups.empty()) return std::nullopt;
  const WeightedLaw law(groups, {false, numerator, denominator});
  const double s = static_cast<double>(sum);
  if (!(s > law.mean()) || s > law.Most() || law.Most() > 0x1p52) return std::nullopt;
  const double lambda = weights::ShortLambda(law.Saddlepoint(s));
  if (!(lambda > 0)) return std::nullopt;
  const weights::Derivatives tilted = law.At(lambda);
  const double deviation = std::sqrt(tilted.second);
  // J and L. A period that holds the whole support folds nothing, and nothing lies beyond it.
  const bool whole = law.Most() < kWholeSupport;
  const double wide = std::ceil(kReach * deviation + 2.0 * law.largest());
  const double reach = whole ? law.Most() - s + 1 : std::min(wide, law.Most() - s + 1);
  const double period = whole ? law.Most() + 1 : std::min(2 * wide, law.Most() + 1);
  if (period > kLargestPeriod) return std::nullopt;
  const uint64_t size = (static_cast<uint64_t>(period) + 1) / 2 * 2;  // L, even
  const uint64_t steps = static_cast<uint64_t>(reach);

  std::vector<TiltedGroup> terms;
  double draws = 0, centre = 0;
  for (const WeightGroup& group : groups) {
    const double x = lambda * group.weight + std::log(static_cast<double>(numerator) / (denominator - numerator));
    terms.push_back({group.weight, group.draws, std::tanh(x / 2)});
    draws += static_cast<double>(group.draws);
    centre += static_cast<double>(group.draws) * group.weight / (1 + std::exp(-x));
  }
  // What makes φ small soonest comes first.
  const auto variance = [](const TiltedGroup& t) { return static_cast<double>(t.draws) * static_cast<double>(t.weight * t.weight) * (1 - t.bias * t.bias); };
  std::sort(terms.begin(), terms.end(), [&](const TiltedGroup& a, const TiltedGroup& b) { return variance(a) > variance(b); });

  const double log_z = -lambda;
  Real total = 0, moduli = 0;
  double spent = 0, taken = 0;
  for (uint64_t k = 0; k <= size / 2; ++k) {
    double log_modulus = 0, argument = 0;
    bool seen = true;
    for (const TiltedGroup& term : terms) {
      const uint64_t turn = k * term.weight % size;
      // q + p·e^{iθ} = e^{iθ/2}·(cos(θ/2) + i·(p − q)·sin(θ/2)): nothing cancels, the cosine being the sine of an exact complement.
      const double half_angle = M_PI * static_cast<double>(turn) / static_cast<double>(size);
      const double cosine = std::sin(M_PI * (static_cast<double>(size) - 2.0 * static_cast<double>(turn)) / (2.0 * static_cast<double>(size)));
      const double sine = term.bias * std::sin(half_angle);
      log_modulus += 0.5 * static_cast<double>(term.draws) * std::log(cosine * cosine + sine * sine);
      spent += 1;
      if (!(log_modulus > kLeastLogModulus)) {
        seen = false;
        break;
      }
      argument += static_cast<double>(term.draws) * (half_angle + std::atan2(sine, cosine));
    }
    if (spent > kMostTerms) return std::nullopt;
    if (!seen) continue;
    const double omega = Angle(k, size);
    const double back = Angle(static_cast<uint64_t>(k * sum % size), size);
    const uint64_t last_turn = static_cast<uint64_t>(static_cast<unsigned __int128>(k) * steps % size);
    const std::complex<double> geometric = OneMinus(log_z * static_cast<double>(steps), Angle(last_turn, size)) / OneMinus(log_z, omega);
    const double modulus = std::exp(log_modulus);
    const double part = (std::polar(modulus, argument - back) * geometric).real();
    const double times = k == 0 || k == size / 2 ? 1 : 2;
    total += times * part;
    taken += 1;
    moduli += times * modulus * std::abs(geometric);
  }
  const Real rounding = (0x1p-52L * (16 * draws + 64) + taken * std::numeric_limits<Real>::epsilon()) * moduli;
  const double left_out = 1e-30 * static_cast<double>(steps) * static_cast<double>(size);
  const double beyond = static_cast<double>(steps) - std::fabs(s - centre);
  const double bernstein = s + static_cast<double>(steps) > law.Most() ? 0
                           : beyond > 0                                ? std::exp(-beyond * beyond / (2 * (tilted.second + law.largest() * beyond / 3)))
                                                                       : 1;
  const Real tail = (total + rounding + left_out) / static_cast<double>(size) + std::exp(log_z * static_cast<double>(steps)) * bernstein;
  const Real product = static_cast<Real>(lambda) * static_cast<Real>(s);
  const Real natural = static_cast<Real>(law.LogMgfAbove(lambda)) - product + 16 * std::numeric_limits<Real>::epsilon() * product + std::log(tail);
  return natural < 0 ? std::nextafter(static_cast<double>(natural / tails::kLn10), 0.0) : 0.0;
}

}  // namespace countermark
