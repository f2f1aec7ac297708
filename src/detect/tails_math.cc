#include "src/detect/tails_math.h"

#include <cmath>

namespace countermark::tails {
namespace {

constexpr Real kPi = 3.141592653589793238462643383279502884L;

// Stirling's error of 1…31; from 32 on the asymptotic series below is exact to 1e-21.
constexpr Real kStirlingError[] = {
    0.0810614667953272582196703L,
    0.0413406959554092940938221L,
    0.0276779256849983391487893L,
    0.0207906721037650931115228L,
    0.0166446911898211921631949L,
    0.0138761288230707479987457L,
    0.0118967099458917700950557L,
    0.0104112652619720964974786L,
    0.00925546218271273291772864L,
    0.00833056343336287125646932L,
    0.00757367548795184079497202L,
    0.00694284010720952986566415L,
    0.00640899418800420706843963L,
    0.00595137011275884773562442L,
    0.00555473355196280137103869L,
    0.005207655919609640440718L,
    0.00490139594843473786071682L,
    0.00462915374933402859242721L,
    0.00438556024923232426828774L,
    0.00416631969199692245746292L,
    0.00396795421864085961728764L,
    0.00378761806844443457786668L,
    0.0036229602246830947073812L,
    0.00347202138297876696294512L,
    0.00333315563672809287580702L,
    0.00320497022805503801118416L,
    0.00308627868260877706325624L,
    0.00297606398355040882602116L,
    0.00287344936235246638755235L,
    0.0027776749297526936035949L,
    0.0026880788285311428678021L,
};

}  // namespace

Real Log1pMinus(Real x) {
  // With r = x/(2+x): ln(1+x) = 2·atanh r, and 2r − x = −x·r.
  const Real r = x / (2 + x);
  if (std::fabs(r) > 0.2L) return std::log1p(x) - x;
  const Real y = r * r;
  Real sum = 0, power = 1;
  for (int odd = 3; power > 1e-21L; odd += 2, power *= y) sum += power / odd;
  return r * (2 * y * sum - x);
}

Real StirlingError(uint64_t n) {
  if (n < 32) return kStirlingError[n - 1];
  const Real inverse = 1 / static_cast<Real>(n);
  const Real y = inverse * inverse;
  return inverse * (1 / 12.0L - y * (1 / 360.0L - y * (1 / 1260.0L - y * (1 / 1680.0L - y * (1 / 1188.0L - y * (691 / 360360.0L - y / 156.0L))))));
}

Real Deviance(Real x, Real mean, Real excess) {
  if (x == 0) return mean;
  const Real v = excess / (x + mean);
  if (std::fabs(v) > 0.2L) return x * std::log(x / mean) - excess;
  // x·2·atanh(v) − excess = excess·v + 2x·(v³/3 + v⁵/5 + …), as 2xv − excess = excess·v.
  const Real y = v * v;
  Real sum = 0, power = 1;
  for (int odd = 3; power > 1e-21L; odd += 2, power *= y) sum += power / odd;
  return v * (excess + 2 * x * y * sum);
}

Real LogPoissonMass(uint64_t x, Real mean) {
  if (x == 0) return -mean;
  const Real count = static_cast<Real>(x);
  return -Deviance(count, mean, count - mean) - StirlingError(x) - 0.5L * std::log(2 * kPi * count);
}

Real Distance(uint64_t a, unsigned __int128 b, uint32_t numerator, uint32_t denominator) {
  const auto difference = static_cast<__int128>(static_cast<unsigned __int128>(a) * denominator) - static_cast<__int128>(b * numerator);
  return static_cast<Real>(difference) / denominator;
}

Real LogBinomialMass(uint64_t n, uint64_t k, uint32_t numerator, uint32_t denominator) {
  const Real p = static_cast<Real>(numerator) / denominator;
  const Real q = static_cast<Real>(denominator - numerator) / denominator;
  const Real size = static_cast<Real>(n);
  if (k == n) return size * (numerator > denominator / 2 ? std::log1p(-q) : std::log(p));
  if (k == 0) return size * (numerator > denominator / 2 ? std::log(q) : std::log1p(-p));
  const Real hits = static_cast<Real>(k);
  const Real misses = static_cast<Real>(n - k);
  const Real excess = Distance(k, n, numerator, denominator);
  return StirlingError(n) - StirlingError(k) - StirlingError(n - k) - Deviance(hits, size * p, excess) -
         Deviance(misses, size * q, -excess) + 0.5L * std::log(size / (2 * kPi * hits) / misses);
}

}  // namespace countermark::tails
