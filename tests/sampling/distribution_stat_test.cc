// Averaged over keys, tournament and gumbel keep the truncated distribution; partition tilts it by exactly e^δ.
//
// 2·10⁵ fresh keys a case. Chi-square over the tokens expected at least ten times; a case fails with probability 1e-6 if the hook is right
// (the critical value is that quantile), so the 11 cases together with 1.1e-5. A wrong floor, a lost tail or a shifted draw of 1 % in total
// variation moves the statistic by about 2·10⁵·1e-4 = 20 standard units of a 100-token row and is found.
#include <boost/math/distributions/chi_squared.hpp>
#include <gtest/gtest.h>

#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "tests/sampling/fixture.h"

namespace countermark {
namespace {

using testing::MakeEpoch;

constexpr int kKeys = 200000;

struct Case {
  Scheme scheme;
  uint32_t vocabulary;
  SamplingParameters parameters;
  int candidates;
};

std::vector<float> Row(uint32_t vocabulary) {
  std::mt19937 rng(4711);
  std::normal_distribution<float> normal(0, 1.7f);
  std::vector<float> z(vocabulary);
  for (float& x : z) x = normal(rng);
  return z;
}

// exp in long double, truncated by sorting: independent of the integer weights.
std::vector<double> Exact(const std::vector<float>& z, const SamplingParameters& p) {
  std::vector<std::pair<long double, size_t>> order;
  long double total = 0;
  for (size_t i = 0; i < z.size(); ++i) {
    order.push_back({std::exp(static_cast<long double>(z[i]) / p.temperature), i});
    total += order.back().first;
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  if (p.top_k > 0 && order.size() > static_cast<size_t>(p.top_k)) {
    order.resize(static_cast<size_t>(p.top_k));
    total = 0;
    for (const auto& o : order) total += o.first;
  }
  long double cumulative = 0;
  size_t keep = 0;
  while (keep < order.size()) {
    cumulative += order[keep++].first;
    if (cumulative >= p.top_p * total) break;
  }
  order.resize(keep);
  std::erase_if(order, [&](const auto& o) { return o.first < p.min_p * order[0].first; });
  long double kept = 0;
  for (const auto& o : order) kept += o.first;
  std::vector<double> q(z.size(), 0.0);
  for (const auto& o : order) q[o.second] = static_cast<double>(o.first / kept);
  return q;
}

void ExpectFits(const std::vector<uint64_t>& seen, const std::vector<double>& q, double total) {
  double chi = 0, rest_expected = 0, rest_seen = 0;
  int cells = 0;
  for (size_t i = 0; i < q.size(); ++i) {
    const double expected = q[i] * total;
    if (q[i] == 0) {
      ASSERT_EQ(seen[i], 0u) << "a token outside the truncated set";
    } else if (expected >= 10) {
      chi += (static_cast<double>(seen[i]) - expected) * (static_cast<double>(seen[i]) - expected) / expected;
      ++cells;
    } else {
      rest_expected += expected;
      rest_seen += static_cast<double>(seen[i]);
    }
  }
  if (rest_expected >= 10) {
    chi += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
    ++cells;
  }
  ASSERT_GT(cells, 1);
  const double critical = boost::math::quantile(boost::math::complement(boost::math::chi_squared(cells - 1), 1e-6));
  EXPECT_LT(chi, critical) << cells << " cells";
}

// One request that has committed two tokens, under many keys.
template <typename Seen>
void ForKeys(const Case& c, const Seen& seen) {
  const std::vector<float> z = Row(c.vocabulary);
  RowScratch scratch;
  for (int k = 0; k < kKeys / 16; ++k) {
    EpochKeys keys = MakeEpoch(c.scheme, c.vocabulary, static_cast<uint64_t>(k) + 1);
    HookOptions options;
    options.tournament_candidates = c.candidates;
    const Hook hook = *Hook::Create(keys, options);
    RequestOptions o;
    o.account = "org-1";
    o.parameters = c.parameters;
    o.seed = static_cast<uint64_t>(k);
    Request request = *hook.Begin(o);
    request.Commit(1, Cause::kForced);
    request.Commit(2, Cause::kForced);
    // Sixteen windows a key: under one key distinct windows have independent seeds, too.
    for (uint32_t w = 0; w < 16; ++w) {
      request.Commit(100 + w, Cause::kForced);
      const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
      seen(keys, request, choice);
    }
  }
}

class KeepsDistribution : public ::testing::TestWithParam<Case> {};

TEST_P(KeepsDistribution, OverKeys) {
  const Case& c = GetParam();
  std::vector<uint64_t> seen(c.vocabulary, 0);
  uint64_t marked = 0;
  ForKeys(c, [&](const EpochKeys&, const Request&, const Choice& choice) {
    ++seen[choice.token];
    marked += choice.cause == Cause::kMarked || choice.cause == Cause::kTail;
  });
  EXPECT_EQ(marked, static_cast<uint64_t>(kKeys));
  ExpectFits(seen, Exact(Row(c.vocabulary), c.parameters), kKeys);
}

INSTANTIATE_TEST_SUITE_P(
    Schemes, KeepsDistribution,
    ::testing::Values(Case{Scheme::kGumbel, 120, {1.0f, 0, 1.0, 0}, 1024}, Case{Scheme::kGumbel, 120, {0.7f, 0, 0.95, 0}, 1024},
                      Case{Scheme::kGumbel, 3000, {1.0f, 50, 0.9, 0}, 1024}, Case{Scheme::kGumbel, 3000, {1.3f, 0, 1.0, 0.02}, 1024},
                      Case{Scheme::kGumbel, 2, {1.0f, 0, 1.0, 0}, 1024}, Case{Scheme::kTournament, 120, {1.0f, 0, 1.0, 0}, 1024},
                      Case{Scheme::kTournament, 120, {0.7f, 0, 0.95, 0}, 1024}, Case{Scheme::kTournament, 400, {1.0f, 0, 1.0, 0}, 16},
                      Case{Scheme::kTournament, 3000, {1.0f, 50, 0.9, 0}, 20}));

// p'(green)/p'(red) against p(green)/p(red), token by token: each key has its own green list, so the tilt is read from the odds
//   E[(green chosen)·(1 − g)/…]: for every key, P'(green) = e^δ·g/(e^δ·g + 1 − g), g its green share of the truncated distribution.
TEST(PartitionTilt, IsExactlyDelta) {
  const Case c = {Scheme::kPartition, 120, {0.8f, 0, 0.95, 0}, 1024};
  const std::vector<double> q = Exact(Row(c.vocabulary), c.parameters);
  double expected = 0, variance = 0, chosen = 0;
  std::vector<double> within(c.vocabulary, 0.0);
  std::vector<uint64_t> seen(c.vocabulary, 0);
  ForKeys(c, [&](const EpochKeys& keys, const Request& request, const Choice& choice) {
    uint32_t key[8], seed[8], block[2][16];
    LoadKeyWords((choice.channel == 0 ? keys.Base() : keys.Account("org-1")).Reveal(SecretAccess()), key);
    MarkSeed(key, Scheme::kPartition, request.Window(), 2, seed);
    ChaCha8Block(seed, 0, block[0]);
    ChaCha8Block(seed, 1, block[1]);
    const auto green = [&](uint32_t t) { return (block[t / 64][t % 64 / 4] >> (8 * (t % 4)) & 0xFF) < 64; };
    double g = 0;
    for (uint32_t t = 0; t < c.vocabulary; ++t) g += green(t) ? q[t] : 0;
    const double e = std::exp(2.0), tilted = e * g / (e * g + 1 - g);
    expected += tilted;
    variance += tilted * (1 - tilted);
    chosen += green(choice.token);
    for (uint32_t t = 0; t < c.vocabulary; ++t) within[t] += q[t] * (green(t) ? e : 1.0) / (e * g + 1 - g);
    ++seen[choice.token];
  });
  // Two-sided at 4.9 standard deviations: 1e-6.
  EXPECT_LT(std::abs(chosen - expected), 4.9 * std::sqrt(variance)) << "green share " << chosen / kKeys << ", expected " << expected / kKeys;
  // And token by token the tilted distribution, averaged over the keys used.
  for (double& w : within) w /= kKeys;
  ExpectFits(seen, within, kKeys);
}

}  // namespace
}  // namespace countermark
