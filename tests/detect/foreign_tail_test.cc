// The tails that foreign formats add: of two weighted Gamma variables, and of ones on a table that keys shift round. Against mpmath and whole numbers (tests/vectors/foreign/make_two_gamma.py,
// make_shift_tail.py), and their ends.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "countermark/detect/tails.h"
#include "src/detect/foreign/shift_tail.h"
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

std::vector<uint8_t> ShiftTable(uint64_t size) {
  std::vector<uint8_t> table(size);
  for (uint64_t i = 0; i < size; ++i) table[i] = (i * i * 2654435761 + i * 40503) >> 13 & 1;
  return table;
}

TEST(ShiftTail, AgreesWithWholeNumbers) {
  const nlohmann::json values = ForeignVectors("shift-tail")["values"];
  EXPECT_EQ(values.size(), 9u);
  for (const nlohmann::json& v : values) {
    const std::vector<uint8_t> table = ShiftTable(v["size"]);
    const auto places = v["places"].get<std::vector<uint32_t>>();
    SCOPED_TRACE(v["size"].dump() + " places " + std::to_string(places.size()) + " layers " + v["layers"].dump());
    const std::vector<uint64_t> histogram = ShiftCounts(table, places);
    const auto counts = v["counts"].get<std::vector<uint64_t>>();
    ASSERT_EQ(histogram.size(), places.size() + 1);
    EXPECT_EQ(std::vector<uint64_t>(histogram.begin() + v["least"].get<int>(), histogram.end()), counts);
    for (const nlohmann::json& tail : v["tails"]) {
      const double expected = std::stod(tail[1].get<std::string>());
      const double got = Log10ShiftTail(table, places, v["layers"], tail[0]);
      EXPECT_NEAR(got, expected, 2e-9) << tail;
      EXPECT_GE(got, expected - 1e-12) << tail;  // never below
      const double bound = Log10ShiftTail(table, places, v["layers"], tail[0], 0);
      EXPECT_GE(bound, got - 1e-12);
      EXPECT_LE(bound, got + 2.5 - 0.05 * got) << tail;  // Chernoff's, not far off
    }
  }
}

TEST(ShiftTail, FallsAndHasItsEnds) {
  const std::vector<uint8_t> table = ShiftTable(4096);
  EXPECT_EQ(Log10ShiftTail(table, {}, 30, 0), 0);
  std::vector<uint32_t> all(table.size());
  for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
  const auto ones = static_cast<uint64_t>(std::count(table.begin(), table.end(), 1));
  EXPECT_EQ(Log10ShiftTail(table, all, 30, 30 * ones), 0);  // every key shows every bit
  all.resize(3000);
  double last = 0;
  for (uint64_t s = 0; s <= 30 * 3000; s += 97) {
    const double p = Log10ShiftTail(table, all, 30, s);
    EXPECT_LE(p, last + 1e-9) << s;
    EXPECT_GE(p, -30 * std::log10(4096.0) - 1e-9);
    last = p;
  }
  EXPECT_LT(last, -100);
}

}  // namespace
}  // namespace countermark
