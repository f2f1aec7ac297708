// The tail of two weighted Gamma variables against mpmath (tests/vectors/foreign/make_two_gamma.py), and its ends.
#include <gtest/gtest.h>

#include <cmath>

#include "countermark/detect/tails.h"
#include "src/detect/foreign/two_gamma_tail.h"
#include "tests/detect/foreign_vectors.h"

namespace countermark {
namespace {

TEST(TwoGammaTail, AgreesWithMpmath) {
  const nlohmann::json values = ForeignVectors("two-gamma")["values"];
  EXPECT_GE(values.size(), 60u);
  for (const nlohmann::json& v : values) {
    const double expected = std::stod(v[4].get<std::string>());
    const double got = Log10TwoGammaTail(v[0], v[1], v[2], v[3]);
    EXPECT_NEAR(got, expected, 1e-9 + 1e-12 * std::abs(expected)) << v;
    EXPECT_NEAR(Log10TwoGammaTail(v[0], v[2], v[1], v[3]), got, 1e-12 * (1 + std::abs(got)));
  }
}

TEST(TwoGammaTail, OneWeightOrEqualOnesAreGamma) {
  EXPECT_DOUBLE_EQ(Log10TwoGammaTail(100, 1, 0, 150), Log10GammaTail(100, 150));
  EXPECT_DOUBLE_EQ(Log10TwoGammaTail(100, 0, 1, 150), Log10GammaTail(100, 150));
  EXPECT_DOUBLE_EQ(Log10TwoGammaTail(100, 0.5, 0.5, 150), Log10GammaTail(200, 300));
  // Nearly equal weights, by the series.
  EXPECT_NEAR(Log10TwoGammaTail(100, 0.5 + 1e-9, 0.5 - 1e-9, 150), Log10GammaTail(200, 300), 1e-6);
}

TEST(TwoGammaTail, FallsAndNeverIsNaN) {
  for (const uint64_t n : {uint64_t{1}, uint64_t{7}, uint64_t{3000}, uint64_t{40000000}}) {
    for (const double b : {1e-9, 0.1, 0.3, 0.75}) {
      double last = 0;
      for (double w = static_cast<double>(n) * 0.25; w < static_cast<double>(n) * 20; w *= 1.3) {
        const double p = Log10TwoGammaTail(n, 1 - b, b, w);
        EXPECT_LE(p, last + 1e-12);
        EXPECT_TRUE(std::isfinite(p));
        last = p;
      }
      EXPECT_LT(last, -4.0 * static_cast<double>(n));
    }
  }
  EXPECT_EQ(Log10TwoGammaTail(0, 0.9, 0.1, 5), 0);
  EXPECT_EQ(Log10TwoGammaTail(5, 0, 0, 5), 0);
  EXPECT_EQ(Log10TwoGammaTail(5, 0.9, 0.1, NAN), 0);
  EXPECT_EQ(Log10TwoGammaTail(5, 0.9, 0.1, -1), 0);
}

// Where the series would be too long the Chernoff bound stands: above the truth, and near it (a factor of some √n).
TEST(TwoGammaTail, TheBoundIsABound) {
  const double exact = Log10TwoGammaTail(20000, 0.9, 0.1, 21000), bound = Log10TwoGammaTail(20000, 1 - 1e-9, 1e-9, 21000);
  EXPECT_LT(exact, -4);
  EXPECT_GE(bound, Log10GammaTail(20000, 21000));
  EXPECT_LT(bound, Log10GammaTail(20000, 21000) + 3);
}

}  // namespace
}  // namespace countermark
