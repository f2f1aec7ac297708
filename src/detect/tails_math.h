// The pieces of a tail that need no sum: log masses of the binomial and Poisson laws, to the last bits at any size.
//
// C. Loader, "Fast and accurate computation of binomial probabilities" (2000): a mass is written through the deviance
// x·ln(x/μ) + μ − x and Stirling's error, both computed without cancellation. lgamma(n+1) − lgamma(k+1) − … would leave n·ln n·2⁻⁵³
// of noise, 3e-3 at n = 1e12. Nothing here touches lgamma, so nothing writes signgam: every function is safe in any number of threads.
#ifndef COUNTERMARK_DETECT_TAILS_MATH_H_
#define COUNTERMARK_DETECT_TAILS_MATH_H_

#include <cstdint>

namespace countermark::tails {

// 64 bits of mantissa on x86: what is lost on the way stays below the last bit of the double that is returned, and the tails are
// monotone from one double to the next. Where long double is no wider than double the results are good to 1e-12, relative.
using Real = long double;

inline constexpr Real kLn10 = 2.302585092994045684017991454684364208L;

// ln(1 + x) − x for x > −1; relative error of a few units of the last place, also for tiny x.
Real Log1pMinus(Real x);

// ln n! − ½·ln(2πn) − n·ln n + n, n ≥ 1.
Real StirlingError(uint64_t n);

// x·ln(x/mean) + mean − x ≥ 0 for x ≥ 0, mean > 0. `excess` is x − mean: the caller knows it better than a subtraction here would.
Real Deviance(Real x, Real mean, Real excess);

// ln P(Poisson(mean) = x), mean > 0.
Real LogPoissonMass(uint64_t x, Real mean);

// ln P(Binomial(n, numerator/denominator) = k), k ≤ n, 0 < numerator < denominator.
Real LogBinomialMass(uint64_t n, uint64_t k, uint32_t numerator, uint32_t denominator);

// a·denominator − b·numerator, exactly, as a Real divided by denominator: the distance of a from b·p.
Real Distance(uint64_t a, unsigned __int128 b, uint32_t numerator, uint32_t denominator);

}  // namespace countermark::tails

#endif  // COUNTERMARK_DETECT_TAILS_MATH_H_
