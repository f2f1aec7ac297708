// Truncation by the wide loops against the plain reference, over every kind of row a server can send.
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "countermark/mark/gumbel.h"
#include "countermark/sampling/row.h"
#include "src/sampling/row_kernels.h"
#include "tests/sampling/reference.h"

namespace countermark {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> MakeRow(size_t n, int kind, std::mt19937_64& rng) {
  std::normal_distribution<float> normal;
  std::vector<float> z(n);
  for (size_t i = 0; i < n; ++i) {
    switch (kind) {
      case 0: z[i] = normal(rng); break;                                             // flat
      case 1: z[i] = 3 * normal(rng); break;
      case 2: z[i] = std::round(3 * normal(rng) * 8) / 8; break;                      // many ties, as in bf16
      case 3: z[i] = 1.0f; break;                                                     // all equal
      case 4: z[i] = i % 3 == 0 ? -kInfinity : 2 * normal(rng); break;                // grammar
      case 5: z[i] = normal(rng) + (i % 1000 == 7 ? 14.0f : 0.0f); break;             // peaked, like a language model
      case 6: z[i] = -static_cast<float>(i) * 0.01f; break;                           // sorted down
      case 7: z[i] = static_cast<float>(i) * 0.01f; break;                            // sorted up
      case 8: z[i] = i == n / 2 ? 0.0f : -kInfinity; break;                           // one token
      case 9: z[i] = i % 2 ? 0.0f : -0.0f; break;                                     // both zeros
      case 10: z[i] = 1e-41f * normal(rng); break;                                    // denormals
      case 11: z[i] = 3e38f * std::tanh(normal(rng)); break;                          // differences overflow
      case 12: z[i] = i < n / 2 ? 5.0f : -20.0f + normal(rng); break;                 // half equal, then a tail
      default: z[i] = -std::exp(3 * normal(rng)); break;
    }
  }
  return z;
}
constexpr int kKinds = 14;

TEST(Truncate, EqualsTheReference) {
  std::mt19937_64 rng(20261124);
  RowScratch scratch;
  int checked = 0;
  for (size_t n : {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 100, 257, 1000, 4099, 20000}) {
    for (int kind = 0; kind < kKinds; ++kind) {
      std::vector<float> z = MakeRow(n, kind, rng);
      if (kind == 4) z[n - 1] = 0.5f;  // not empty, also where n = 1
      for (int t = 0; t < 14; ++t) {
        SamplingParameters p;
        p.temperature = std::vector<float>{1.0f, 0.7f, 1e-3f, 5.0f}[rng() % 4];
        p.top_k = std::vector<int>{0, 0, 1, 2, 50, 300, static_cast<int>(n), static_cast<int>(n) + 1}[rng() % 8];
        p.top_p = std::vector<double>{1.0, 0.95, 0.9, 0.5, 1e-6, 0.999999, 0.3}[rng() % 7];
        p.min_p = std::vector<double>{0, 0, 0.05, 0.5, 1.0, 1e-9}[rng() % 6];
        const std::vector<reference::Token> expected = reference::Truncate(z, p);
        const CandidateSet set = Truncate({z.data(), n}, p, &scratch);
        ASSERT_EQ(set.fault, RowFault::kNone);
        ASSERT_EQ(set.ids.size(), expected.size()) << "n " << n << " kind " << kind << " T " << p.temperature << " k " << p.top_k
                                                   << " p " << p.top_p << " min " << p.min_p;
        uint64_t total = 0;
        for (size_t i = 0; i < expected.size(); ++i) {
          ASSERT_EQ(set.ids[i], expected[i].id);
          ASSERT_EQ(static_cast<uint64_t>(set.weights[i]), expected[i].weight);
          total += expected[i].weight;
        }
        ASSERT_EQ(set.total, total);
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 2500);
}

TEST(Truncate, TakesRowsThatNameTheirTokens) {
  std::mt19937_64 rng(7);
  RowScratch scratch;
  const std::vector<float> z = MakeRow(500, 1, rng);
  std::vector<float> some;
  std::vector<uint32_t> ids;
  std::vector<float> dense(5000, -kInfinity);
  for (uint32_t i = 0; i < 500; ++i) {
    ids.push_back(i * 10 + 3);
    some.push_back(z[i]);
    dense[i * 10 + 3] = z[i];
  }
  SamplingParameters p = {0.9f, 40, 0.9, 0.0};
  const CandidateSet named = Truncate({some.data(), some.size(), ids.data()}, p, &scratch);
  RowScratch other;
  const CandidateSet full = Truncate({dense.data(), dense.size()}, p, &other);
  ASSERT_EQ(std::vector<uint32_t>(named.ids.begin(), named.ids.end()), std::vector<uint32_t>(full.ids.begin(), full.ids.end()));
  EXPECT_EQ(named.total, full.total);
}

TEST(Truncate, FaultsAreNamedAndSurvived) {
  RowScratch scratch;
  const float nan = std::nanf("");
  std::vector<float> z(100, -3.0f);
  z[40] = nan;
  CandidateSet set = Truncate({z.data(), z.size()}, {}, &scratch);
  EXPECT_EQ(set.fault, RowFault::kNan);
  EXPECT_EQ(set.ids.size(), 99u);
  for (uint32_t id : set.ids) EXPECT_NE(id, 40u);
  z[41] = z[7] = kInfinity;
  set = Truncate({z.data(), z.size()}, {}, &scratch);
  EXPECT_EQ(set.fault, RowFault::kInfinite);
  ASSERT_EQ(set.ids.size(), 2u);
  EXPECT_EQ(set.ids[0], 7u);
  EXPECT_EQ(set.ids[1], 41u);
  std::vector<float> none(33, -kInfinity);
  EXPECT_EQ(Truncate({none.data(), none.size()}, {}, &scratch).fault, RowFault::kEmpty);
  std::vector<float> all_nan(33, nan);
  EXPECT_EQ(Truncate({all_nan.data(), all_nan.size()}, {}, &scratch).fault, RowFault::kEmpty);
  uint32_t token;
  RowFault fault;
  EXPECT_FALSE(Greedy({all_nan.data(), all_nan.size()}, &token, &fault));
}

// The loops one by one, at every length around the lanes, on unaligned memory.
TEST(RowKernels, EqualThePlainOnes) {
  const row_kernels::Kernels& wide = row_kernels::Best();
  const row_kernels::Kernels& plain = row_kernels::kScalar;
  std::mt19937_64 rng(99);
  for (size_t n = 1; n <= 140; ++n) {
    for (int kind = 0; kind < kKinds; ++kind) {
      std::vector<float> z = MakeRow(n + 3, kind, rng);
      if (n % 7 == 0) z[rng() % n] = std::nanf("");
      for (size_t shift : {0, 1, 3}) {
        bool nan[2] = {false, false}, infinite[2] = {false, false};
        const float max = wide.max(z.data() + shift, n, &nan[0], &infinite[0]);
        ASSERT_EQ(max, plain.max(z.data() + shift, n, &nan[1], &infinite[1]));
        ASSERT_EQ(nan[0], nan[1]);
        ASSERT_EQ(infinite[0], infinite[1]);
        if (max == -kInfinity) continue;
        const float scale = InverseTemperature(kind % 2 ? 1.0f : 0.13f);
        std::vector<float> a(n + 16), b(n + 16), ka(n + 16), kb(n + 16);
        std::vector<uint32_t> ia(n + 16), ib(n + 16);
        ASSERT_EQ(wide.weights(z.data() + shift, n, max, scale, a.data()), plain.weights(z.data() + shift, n, max, scale, b.data()));
        for (size_t i = 0; i < n; ++i) ASSERT_EQ(a[i], b[i]) << i;
        {
          const float least = std::max(1.0f, a[rng() % n]);
          size_t na, nb;
          uint64_t qa, qb;
          ASSERT_EQ(wide.weigh(z.data() + shift, nullptr, n, max, scale, least, ka.data(), ia.data(), &na, &qa),
                    plain.weigh(z.data() + shift, nullptr, n, max, scale, least, kb.data(), ib.data(), &nb, &qb));
          ASSERT_TRUE(na == nb && qa == qb);
          for (size_t i = 0; i < na; ++i) ASSERT_TRUE(ia[i] == ib[i] && ka[i] == kb[i]);
        }
        ASSERT_EQ(wide.sum(a.data(), n), plain.sum(b.data(), n));
        const float cut = a[rng() % n];
        uint64_t sa, sb;
        const size_t ca = wide.keep(a.data(), nullptr, n, cut, ka.data(), ia.data(), &sa);
        const size_t cb = plain.keep(b.data(), nullptr, n, cut, kb.data(), ib.data(), &sb);
        ASSERT_EQ(ca, cb);
        ASSERT_EQ(sa, sb);
        for (size_t i = 0; i < ca; ++i) ASSERT_TRUE(ia[i] == ib[i] && ka[i] == kb[i]);
        const float high = std::max(cut, a[rng() % n]), low = std::min(cut, a[rng() % n]);
        const row_kernels::Split x = wide.split(a.data(), n, low, high, ka.data()), y = plain.split(b.data(), n, low, high, kb.data());
        ASSERT_TRUE(x.above == y.above && x.middle == y.middle && x.above_sum == y.above_sum && x.middle_sum == y.middle_sum);
        for (size_t i = 0; i < x.middle; ++i) ASSERT_EQ(ka[i], kb[i]);

        std::vector<uint32_t> words(n);
        std::vector<uint8_t> bytes(n);
        for (size_t i = 0; i < n; ++i) {
          words[i] = rng() % 5 == 0 ? 0xFFFFFFFFu : static_cast<uint32_t>(rng());
          bytes[i] = static_cast<uint8_t>(rng());
          if (a[i] < 1.0f) a[i] = b[i] = 1.0f;
        }
        ASSERT_EQ(wide.race(words.data(), a.data(), n), plain.race(words.data(), b.data(), n));
        std::vector<uint64_t> ta(n), tb(n);
        ASSERT_EQ(wide.tilt(bytes.data(), a.data(), n, 64, 1135244, ta.data()), plain.tilt(bytes.data(), b.data(), n, 64, 1135244, tb.data()));
        ASSERT_EQ(ta, tb);
        std::vector<float> la(z.begin(), z.begin() + static_cast<ptrdiff_t>(n)), lb = la;
        wide.add_green(bytes.data(), n, 200, 2.0f, la.data());
        plain.add_green(bytes.data(), n, 200, 2.0f, lb.data());
        for (size_t i = 0; i < n; ++i) ASSERT_TRUE(la[i] == lb[i] || (la[i] != la[i] && lb[i] != lb[i]));
      }
    }
  }
}

// Pruning must never lose the winner, ties included: every word near the top, equal weights and unequal ones.
TEST(RowKernels, TheRaceIsExact) {
  std::mt19937_64 rng(5);
  for (int round = 0; round < 4000; ++round) {
    const size_t n = 1 + rng() % 200;
    std::vector<uint32_t> words(n);
    std::vector<float> weights(n);
    for (size_t i = 0; i < n; ++i) {
      const int kind = static_cast<int>(rng() % 4);
      words[i] = kind == 0 ? 0xFFFFFFFFu - static_cast<uint32_t>(rng() % 4) : kind == 1 ? static_cast<uint32_t>(rng() % 4) : static_cast<uint32_t>(rng());
      weights[i] = std::trunc(std::ldexp(1.0f + static_cast<float>(rng() % 3), static_cast<int>(rng() % 40)));
    }
    size_t best = 0;
    for (size_t i = 1; i < n; ++i) {
      if (GumbelArrival(words[i], weights[i]) < GumbelArrival(words[best], weights[best])) best = i;
    }
    ASSERT_EQ(row_kernels::Best().race(words.data(), weights.data(), n), best);
  }
}

}  // namespace
}  // namespace countermark
