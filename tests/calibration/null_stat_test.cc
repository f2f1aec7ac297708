// The product's claim under the null, shown on real text: p ≤ α as often as its test says, and no oftener, under keys that are independent of it.
//
// A pass does not prove validity: it shows what one corpus, three schemes and these seeds can show.
//
// Seeds are fixed, so a run does not fail by chance. When the format, the tokenizer or the corpus changes, the draw is a new one, and some sound
// build would fail with probability at most 1e-3:
//   24 bands of hits (3 schemes × 2 arrangements × 4 levels)      at 2e-5 each   4.8e-4
//   48 distances of randomised p (6 × 8 kinds of text)            at 2e-6 each   1.0e-4
//   24 e-value counts and 6 means                                 at 4e-6 each   1.2e-4
//   4 bands of accounts, 2 counts of verdicts, 8 bands of copies   at 1e-5 each   1.4e-4
// Each band of hits at its own 99.9 % is printed as well, as `own`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>

#include "countermark/keys/epoch.h"
#include "tests/calibration/nulls.h"

namespace countermark::calibration {
namespace {

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr uint64_t kScale = 1;
#else
constexpr uint64_t kScale = 50;  // unoptimised or instrumented code is after other faults, and slow
#endif
constexpr uint64_t kPassages = 1000000 / kScale;

constexpr double kBandOdds = 2e-5;
constexpr double kOwnOdds = 1e-3;
constexpr double kUniformOdds = 2e-6;
constexpr double kEOdds = 4e-6;
constexpr double kVerdictOdds = 1e-5;

const std::vector<Kind>& Corpus() {
  static const std::vector<Kind> corpus = [] {
    // Builds without libllama read no GGUF vocabulary.
    for (const char* name : {"SmolLM2-135M-Instruct.Q4_1.gguf", "mistral-v3.model"}) {
      const std::string path = std::string(COUNTERMARK_CACHE_DIR) + "/models/" + name;
      if (!std::filesystem::exists(path)) continue;
      const auto tokenizer = OpenTokenizer(path);
      if (!tokenizer.ok()) continue;
      auto kinds = LoadCorpus(COUNTERMARK_SOURCE_DIR "/tests/calibration/corpus", **tokenizer);
      if (kinds.ok()) return *std::move(kinds);
      std::printf("%s: %s\n", name, std::string(kinds.status().message()).c_str());
    }
    std::printf("no tokenizer; run tools/setup\n");
    return std::vector<Kind>();
  }();
  return corpus;
}

struct Case {
  Scheme scheme;
  bool two_channels;
};

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  return std::string(SchemeName(info.param.scheme)) + (info.param.two_channels ? "_base_of_two" : "_single_channel");
}

NullOptions OptionsOf(const Case& c) {
  NullOptions options;
  options.mark.scheme = c.scheme;
  if (c.two_channels) options.weights = {32768, 32768};
  options.passages = kPassages;
  options.seed = 100 + 2 * static_cast<uint64_t>(c.scheme) + c.two_channels;
  return options;
}

std::vector<HitCheck> Checks(const NullTally& tally, const MarkParameters& mark, double odds) {
  const AttainedLevels levels(mark, tally.with_pairs.size() - 1);
  std::vector<HitCheck> checks;
  for (size_t i = 0; i + 1 < kAlphas.size(); ++i) checks.push_back(CheckHits(tally.hits[i], tally.Expected(levels, kAlphas[i]), odds));
  return checks;
}

class Null : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override { ASSERT_FALSE(Corpus().empty()); }
};

TEST_P(Null, HitsAtEachLevelAreThoseOfTheAttainedLevels) {
  const NullOptions options = OptionsOf(GetParam());
  const NullTally tally = RunNulls(Corpus(), options);
  EXPECT_EQ(tally.passages, kPassages);
  const std::vector<HitCheck> checks = Checks(tally, options.mark, kBandOdds);
  const std::vector<HitCheck> own = Checks(tally, options.mark, kOwnOdds);
  for (size_t i = 0; i < checks.size(); ++i) {
    std::printf("  p <= %.0e: %llu hits, %.1f expected, band %llu to %llu, own %llu to %llu%s\n", kAlphas[i], (unsigned long long)checks[i].hits,
                checks[i].expected, (unsigned long long)checks[i].low, (unsigned long long)checks[i].high, (unsigned long long)own[i].low,
                (unsigned long long)own[i].high, own[i].inside() ? "" : ": OUTSIDE its own 99.9 % band");
    EXPECT_TRUE(checks[i].inside()) << checks[i].hits << " hits at " << kAlphas[i] << ", band " << checks[i].low << " to " << checks[i].high;
  }

  // Every kind of text on its own.
  for (size_t kind = 0; kind < Corpus().size(); ++kind) {
    std::vector<double> values = tally.uniform[kind];
    ASSERT_GT(values.size(), 100u);
    EXPECT_LE(UniformDistance(values), UniformDistanceBound(values.size(), kUniformOdds)) << Corpus()[kind].name;
  }

  // E ≥ 1/α no oftener than α, and a mean of at most 1. E itself has no finite variance to speak of; min(E, 10) has a mean of at most
  // 1 too, and lies in [0, 10], so that Hoeffding bounds what its average adds by chance.
  for (size_t i = 0; i + 1 < kAlphas.size(); ++i) {
    EXPECT_TRUE(CheckHits(tally.e_hits[i], kAlphas[i] * static_cast<double>(tally.e_values), 2 * kEOdds).not_above()) << tally.e_hits[i] << " at " << kAlphas[i];
  }
  const double e_values = static_cast<double>(tally.e_values);
  EXPECT_LE(tally.capped_e_sum / e_values, 1 + kCap * std::sqrt(std::log(1 / kEOdds) / (2 * e_values)));
}

// The same check, the same text, every repeated pair counted again as a naive detector would: it must see that.
TEST_P(Null, TheCheckFailsWithoutDeduplication) {
  NullOptions options = OptionsOf(GetParam());
  options.passages /= 10;
  options.uniform_every = 1;
  options.keep_repeats = true;
  NullTally tally = RunNulls(Corpus(), options);
  for (const HitCheck& check : Checks(tally, options.mark, kBandOdds)) {
    EXPECT_FALSE(check.inside()) << check.hits << " hits, band " << check.low << " to " << check.high;
    EXPECT_FALSE(check.not_above());
  }
  std::vector<double>& loops = tally.uniform[5];
  ASSERT_EQ(Corpus()[5].name, "loops");
  EXPECT_GT(UniformDistance(loops), UniformDistanceBound(loops.size(), kUniformOdds));
}

INSTANTIATE_TEST_SUITE_P(Schemes, Null,
                         ::testing::Values(Case{Scheme::kPartition, false}, Case{Scheme::kPartition, true}, Case{Scheme::kTournament, false},
                                           Case{Scheme::kTournament, true}, Case{Scheme::kGumbel, false}, Case{Scheme::kGumbel, true}),
                         CaseName);

class Verdicts : public ::testing::TestWithParam<Scheme> {
 protected:
  void SetUp() override { ASSERT_FALSE(Corpus().empty()); }
};

// 50 candidates, none of whom wrote the text: one or more is named at α as often as 50 independent tests at α/50 say.
TEST_P(Verdicts, HolmNamesAnInnocentAccountNoOftenerThanAlpha) {
  const VerdictOptions options{.seed = 200 + static_cast<uint64_t>(GetParam()), .sets = 10000 / kScale, .records = 1, .accounts = 50, .scheme = GetParam()};
  const VerdictTally tally = RunVerdicts(Corpus(), options);
  for (size_t i = 0; i < 2; ++i) {
    const HitCheck check = CheckHits(tally.account_named[i], tally.account_expected[i], kVerdictOdds);
    std::printf("  an account named at %.0e: %llu of %llu, %.1f expected\n", kAlphas[i], (unsigned long long)check.hits, (unsigned long long)tally.sets, check.expected);
    EXPECT_LE(check.expected, kAlphas[i] * static_cast<double>(tally.sets) * (1 + 1e-12));
    EXPECT_TRUE(check.inside()) << check.hits << ", band " << check.low << " to " << check.high;
  }
}

// 100 records and their pool: a run errs, in some record or in the pool, in at most α of the data sets.
TEST_P(Verdicts, DataSetsAreCalledMarkedNoOftenerThanAlpha) {
  const VerdictTally tally = RunVerdicts(Corpus(), {.seed = 300 + static_cast<uint64_t>(GetParam()), .sets = 1000 / kScale, .scheme = GetParam()});
  const double bound = 1e-2 * static_cast<double>(tally.sets);
  std::printf("  of %llu data sets: a record marked in %llu, the pool in %llu, either in %llu; alpha is %.0f\n", (unsigned long long)tally.sets,
              (unsigned long long)tally.records_marked, (unsigned long long)tally.pool_marked, (unsigned long long)tally.either, bound);
  EXPECT_TRUE(CheckHits(tally.either, bound, 2 * kVerdictOdds).not_above());
}

// Ten versions of one text in one data set: pairs are counted once over all of them, or the check fails.
TEST_P(Verdicts, PoolsOfEditedCopiesAreCalibratedAndAddedCountsAreNot) {
  CopyOptions options{.seed = 400 + static_cast<uint64_t>(GetParam()), .pools = 25000 / kScale};
  options.mark.scheme = GetParam();
  const NullTally pools = RunCopies(Corpus(), options);
  for (const HitCheck& check : Checks(pools, options.mark, kVerdictOdds)) {
    EXPECT_TRUE(check.inside()) << check.hits << " hits, band " << check.low << " to " << check.high;
  }
  options.add_counts = true;
  const NullTally added = RunCopies(Corpus(), options);
  for (const HitCheck& check : Checks(added, options.mark, kVerdictOdds)) EXPECT_FALSE(check.not_above()) << check.hits << " hits, band to " << check.high;
  std::printf("  p <= %.0e: %llu of %llu pools, and %llu where the texts' counts are added\n", kAlphas[2], (unsigned long long)pools.hits[2],
              (unsigned long long)pools.passages, (unsigned long long)added.hits[2]);
}

INSTANTIATE_TEST_SUITE_P(Schemes, Verdicts, ::testing::Values(Scheme::kPartition, Scheme::kGumbel),
                         [](const auto& scheme_info) { return std::string(SchemeName(scheme_info.param)); });

}  // namespace
}  // namespace countermark::calibration
