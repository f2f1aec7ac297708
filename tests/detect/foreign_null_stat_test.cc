// Unmarked texts under fresh keys, 4,000 a format (400 where a key is dear to set up): how often is p small? The texts are fixed, the keys random, as H0 has it. A text of words by a
// Zipf-like law, a phrase of seven tokens 25 times, and a text of both. And the originals' own p-values on the same texts, where they are wrong.
//
// Under the null hits ≤ α come at most at rate α. A right test breaks the bounds with odds of at most 1e-6 each, over 33 pairs of format and text: P(Binomial(4000, 10^−2) ≥ 80) = 1e-8,
// P(Binomial(4000, 10^−3) ≥ 18) = 2e-7, P(Binomial(400, 10^−2) ≥ 18) = 2e-7, P(Binomial(400, 10^−3) ≥ 8) = 1e-8. Seeds are fixed, so the outcome is, too.
#include <gtest/gtest.h>

#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <functional>
#include <random>
#include <set>

#include "countermark/detect/tails.h"
#include "src/detect/foreign/shift_tail.h"
#include "src/detect/foreign/torch_random.h"
#include "src/detect/foreign/two_gamma_tail.h"
#include "tests/detect/foreign_vectors.h"

namespace countermark {
namespace {

using nlohmann::json;
using Ids = std::vector<uint32_t>;

constexpr int kKeys = 4000, kFewKeys = 400;
constexpr uint32_t kVocabulary = 8192;

Ids Words(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  Ids ids(n);
  for (uint32_t& id : ids) id = static_cast<uint32_t>(std::pow(static_cast<double>(kVocabulary), 0x1p-53 * static_cast<double>(random() >> 11)));
  return ids;
}

Ids Phrase() {
  const Ids phrase = Words(7, 5);
  Ids ids;
  for (int i = 0; i < 25; ++i) ids.insert(ids.end(), phrase.begin(), phrase.end());
  return ids;
}

std::vector<Ids> Texts() {
  Ids both = Words(120, 9);
  const Ids phrase = Phrase();
  both.insert(both.end(), phrase.begin(), phrase.end());
  return {Words(250, 1), phrase, both};
}

// How often p ≤ 10^−2, ≤ 10^−3 and ≤ 1/2, over the keys.
struct Rates {
  int at_2 = 0, at_3 = 0, at_half = 0;
  void Add(double log10_p) {
    at_2 += log10_p <= -2;
    at_3 += log10_p <= -3;
    at_half += log10_p <= std::log10(0.5);
  }
};

// An original's log10 p from a score's figures.
using Original = std::function<double(const ForeignScore&)>;

struct Outcome {
  Rates ours, theirs;
};

std::vector<Outcome> UnderFreshKeys(const std::string& name, const std::function<json(std::mt19937_64&)>& config, const Original& original = nullptr,
                                    int keys = kKeys) {
  const std::vector<Ids> texts = Texts();
  std::vector<Outcome> outcomes(texts.size());
  std::mt19937_64 random(20261124);
  for (int k = 0; k < keys; ++k) {
    const auto format = OpenForeign(name, config(random));
    const auto scorer = format->NewScorer();
    for (size_t t = 0; t < texts.size(); ++t) {
      const ForeignScore score = scorer->Score(texts[t], {}, nullptr);
      outcomes[t].ours.Add(score.log10_p);
      if (original) outcomes[t].theirs.Add(original(score));
    }
  }
  for (size_t t = 0; t < texts.size(); ++t) {
    EXPECT_LT(outcomes[t].ours.at_2, keys == kKeys ? 80 : 18) << name << " text " << t;
    EXPECT_LT(outcomes[t].ours.at_3, keys == kKeys ? 18 : 8) << name << " text " << t;
  }
  return outcomes;
}

// p of transformers 5.23: the normal tail of z over every n-gram.
double HfLog10P(const ForeignScore& score, double gamma) {
  const double n = static_cast<double>(Count(score, "hf_scored")), z = (static_cast<double>(Count(score, "hf_hits")) - gamma * n) / std::sqrt(n * gamma * (1 - gamma));
  return std::log10(0.5 * std::erfc(z / std::sqrt(2)));
}

// Continuous scores: p ≤ 1/2 half the time. 2000 ± 190 is six standard deviations.
void ExpectUniform(const std::vector<Outcome>& outcomes) {
  EXPECT_NEAR(outcomes[0].ours.at_half, kKeys / 2, 190);
}

TEST(ForeignNull, HfKgw) {
  const auto outcomes = UnderFreshKeys("hf-kgw", [](std::mt19937_64& r) { return json{{"vocab_size", kVocabulary}, {"hashing_key", 1 + (r() >> 1) / 2}}; },
                                       [](const ForeignScore& s) { return HfLog10P(s, 0.25); }, kFewKeys);
  // A phrase of seven pairs counted 25 times over: three green ones of them are enough for p < 1e-7, and come with P(Binomial(7, 1/4) ≥ 3) = 24 % of keys.
  EXPECT_GT(outcomes[1].theirs.at_2, kFewKeys / 6);
  EXPECT_GT(outcomes[1].theirs.at_3, kFewKeys / 6);
}

TEST(ForeignNull, HfKgwSelfhash) {
  const auto outcomes = UnderFreshKeys("hf-kgw-selfhash", [](std::mt19937_64& r) { return json{{"vocab_size", kVocabulary}, {"hashing_key", 1 + (r() >> 20)}, {"seeding_scheme", "selfhash"}, {"context_width", 4}}; },
                                       [](const ForeignScore& s) { return HfLog10P(s, 0.25); }, kFewKeys);
  EXPECT_GT(outcomes[1].theirs.at_2, kFewKeys / 20);
}

// Token 0 before a token: hashing_key · 0 is 0, so that its green list is one and the same under every key. A text written to it is "marked" for all owners at once.
TEST(ForeignNull, AListThatNoKeyDrewIsNoEvidence) {
  const Ids permutation = TorchPermutation(0, kVocabulary);
  Ids ids;
  for (uint32_t i = 0; i < 200; ++i) {
    ids.push_back(0);
    ids.push_back(permutation[i]);
  }
  std::mt19937_64 random(3);
  int ours = 0;
  for (int k = 0; k < 200; ++k) {
    const auto format = OpenForeign("hf-kgw", {{"vocab_size", kVocabulary}, {"hashing_key", 1 + (random() >> 1) / 2}});
    const ForeignScore score = format->NewScorer()->Score(ids, {}, nullptr);
    EXPECT_LT(HfLog10P(score, 0.25), -10);
    EXPECT_GE(Count(score, "keyless"), 199u);
    ours += score.log10_p <= -2;
  }
  EXPECT_LE(ours, 14);  // P(Binomial(200, 10^−2) ≥ 15) = 4e-9
}

json RandomKeys(std::mt19937_64& random, int count) {
  json keys = json::array();
  for (int i = 0; i < count; ++i) keys.push_back(random() >> 33);
  return keys;
}

TEST(ForeignNull, HfSynthId) {
  UnderFreshKeys("hf-synthid", [](std::mt19937_64& r) { return json{{"ngram_len", 5}, {"keys", RandomKeys(r, 5)}}; }, nullptr, kFewKeys);
  // Two layers with one key are one layer: its bits are counted once.
  const Ids text = Words(200, 1);
  const auto once = OpenForeign("hf-synthid", {{"ngram_len", 5}, {"keys", {11, 12}}}), twice = OpenForeign("hf-synthid", {{"ngram_len", 5}, {"keys", {11, 12, 11 + 65536, 12}}});
  EXPECT_EQ(once->NewScorer()->Score(text, {}, nullptr).log10_p, twice->NewScorer()->Score(text, {}, nullptr).log10_p);
}

// A table whose size is no power of two: n-grams by the hundred, written without a key, whose bits are one random number a layer.
TEST(ForeignNull, NgramsOnOnePlaceOfTheTableAreOneDraw) {
  constexpr uint64_t kA = 6364136223846793005u;
  for (const int64_t size : {1000, 10007}) {
    std::mt19937_64 random(4);
    Ids ids;
    for (int i = 0; i < 4; ++i) ids.push_back(static_cast<uint32_t>(random() % 50000));
    while (ids.size() < 200) {
      uint64_t hash = 1;
      for (size_t i = ids.size() - 4; i < ids.size(); ++i) hash = (hash + ids[i]) * kA + 1;
      const auto token = static_cast<uint32_t>(random() % 60000);
      uint32_t tried = 0;
      while (tried < 60000 && static_cast<int64_t>(((hash + (token + tried) % 60000) * kA + 1) * kA) % size != 0) ++tried;
      ids.push_back((token + tried) % 60000);
    }
    int hits = 0;
    for (int k = 0; k < 200; ++k) {
      json keys = json::array();
      for (int l = 0; l < 30; ++l) keys.push_back(random() >> 1);
      const auto format = OpenForeign("hf-synthid", {{"ngram_len", 5}, {"keys", keys}, {"sampling_table_size", size}});
      hits += format->NewScorer()->Score(ids, {}, nullptr).log10_p <= -2;
    }
    EXPECT_LE(hits, 14) << size;  // P(Binomial(200, 10^−2) ≥ 15) = 4e-9
  }
}

// SynthID's table is public: an author without the key writes 1,500 n-grams whose bits are ones at eight shifts of his choice, and hopes that layers of some key lie there. By two million keys, the
// exact tail keeps its level, and the binomial one does not: at 1e-6 by a factor of a thousand.
TEST(ForeignNull, SynthIdsTailHoldsForWhoKnowsTheTable) {
  constexpr uint32_t kSize = 65536;
  constexpr int kLayers = 30, kTrials = 2000000;
  const std::vector<uint32_t> words = TorchWords(0, kSize);
  std::vector<uint8_t> table(kSize);  // as the shift moves along it
  uint32_t ones = 0;
  for (uint32_t slot = 0; slot < kSize; ++slot) ones += table[slot] = words[(slot * uint32_t{0x4C957F2D} + 1) % kSize] & 1;
  std::vector<std::pair<int, uint32_t>> ranked;
  for (uint32_t slot = 0; slot < kSize; ++slot) {
    int shown = 0;
    for (uint32_t j = 0; j < 8; ++j) shown += table[(slot + 7919 * j * j) % kSize];
    ranked.emplace_back(-shown, slot);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<uint32_t> places;
  for (size_t i = 0; i < 1500; ++i) places.push_back(ranked[i].second);
  std::vector<uint32_t> counts(kSize);
  for (uint32_t shift = 0; shift < kSize; ++shift) {
    for (const uint32_t place : places) counts[shift] += table[(place + shift) % kSize];
  }
  // The least count whose p is at most 10^−level, by either tail.
  const auto least = [&](int level, const std::function<double(uint64_t)>& log10_p) {
    uint64_t low = 0, high = 1500 * kLayers;
    while (low < high) {
      const uint64_t middle = (low + high) / 2;
      if (log10_p(middle) <= -level) high = middle; else low = middle + 1;
    }
    return low;
  };
  std::array<uint64_t, 5> exact{}, binomial{};
  for (int level = 2; level <= 6; ++level) {
    exact[level - 2] = least(level, [&](uint64_t s) { return Log10ShiftTail(table, places, kLayers, s); });
    binomial[level - 2] = least(level, [&](uint64_t s) { return Log10BinomialTail(1500 * kLayers, s, ones, kSize); });
  }
  std::array<int, 5> exact_hits{}, binomial_hits{};
  std::mt19937_64 random(7);
  for (int trial = 0; trial < kTrials; ++trial) {
    uint64_t sum = 0;
    for (int l = 0; l < kLayers; ++l) sum += counts[random() >> 48];  // independent: two layers alike come with 0.7 % of keys, within the bound
    for (int i = 0; i < 5; ++i) {
      exact_hits[i] += sum >= exact[i];
      binomial_hits[i] += sum >= binomial[i];
    }
  }
  // Under the claim P(exact_hits[i] ≥ these) < 1e-6, at 20000 + 5·141, 2000 + 5·45, 200 + 5.5·14, 20 + 6.3·4.5, 2 + 11.
  for (const auto& [i, bound] : {std::pair(0, 20705), std::pair(1, 2225), std::pair(2, 277), std::pair(3, 48), std::pair(4, 13)}) EXPECT_LE(exact_hits[i], bound) << i + 2;
  EXPECT_GT(exact_hits[0], 2000);     // and it is no empty claim
  EXPECT_GT(binomial_hits[4], 2000);  // a thousand times 1e-6
}

// The same through the format: an n-gram a place, a text written token by token, and a key whose first layer lies at one of the chosen shifts.
TEST(ForeignNull, ATextForAShiftOfTheTableIsTestedByTheExactTail) {
  constexpr uint64_t kA = 6364136223846793005u;
  const std::vector<uint32_t> words = TorchWords(0, 65536);
  Ids ids = {1, 2, 3, 4};
  std::set<uint64_t> used;
  const uint64_t shift = 4711;
  while (ids.size() < 1500) {
    uint64_t hash = 1;
    for (size_t i = ids.size() - 4; i < ids.size(); ++i) hash = (hash + ids[i]) * kA + 1;
    uint32_t token = 0;
    for (; token < 60000; ++token) {
      const uint64_t slot = ((hash + token) * kA + 1) % 65536;
      if ((words[((slot + shift) * kA + 1) % 65536] & 1) != 0 && used.insert(slot).second) break;
    }
    ids.push_back(token);
  }
  json keys = {shift};
  for (int l = 1; l < 30; ++l) keys.push_back(100 * l * l + 17);
  const auto format = OpenForeign("hf-synthid", {{"ngram_len", 5}, {"keys", keys}});
  std::vector<ForeignDraw> draws;
  const ForeignScore score = format->NewScorer()->Score(ids, {}, &draws);
  EXPECT_LT(Log10BinomialTail(30 * score.count.draws, static_cast<uint64_t>(score.count.statistic[0]), 1, 2), -9);
  EXPECT_GT(score.log10_p, -4);  // 30 chances of 1 in 65,536 are 10^−3.3, and the other layers have their luck
  ForeignPool pool;
  pool.Add(draws);
  pool.Add(draws);
  EXPECT_EQ(format->Log10P(pool.count()), score.log10_p);
}

TEST(ForeignNull, SynthIdText) {
  UnderFreshKeys("synthid-text", [](std::mt19937_64& r) { return json{{"ngram_len", 5}, {"keys", RandomKeys(r, 5)}, {"context_history_size", 1024}}; });
}

TEST(ForeignNull, VllmGumbel) {
  ExpectUniform(UnderFreshKeys("vllm-gumbel", [](std::mt19937_64& r) { return json{{"key", r()}}; }));
  // Without deduplication vLLM's detector counts the phrase's windows 24 times over.
  const auto outcomes = UnderFreshKeys("vllm-gumbel", [](std::mt19937_64& r) { return json{{"key", r()}, {"deduplicate_contexts", "none"}}; },
                                       [](const ForeignScore& s) { return Log10GammaTail(Count(s, "vllm_scored"), Real(s, "vllm_score")); });
  EXPECT_GT(outcomes[1].theirs.at_2, kKeys / 10);
  EXPECT_GT(outcomes[1].theirs.at_3, kKeys / 20);
}

TEST(ForeignNull, VllmDual) {
  ExpectUniform(UnderFreshKeys("vllm-dual", [](std::mt19937_64& r) { return json{{"key", r()}, {"algorithm", "dual_key_gumbel"}}; }));
}

TEST(ForeignNull, SglangGumbel) {
  const auto hex = [](uint64_t key) {
    char text[20];
    std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(key));
    return std::string(text);
  };
  ExpectUniform(UnderFreshKeys("sglang-gumbel", [&](std::mt19937_64& r) { return json{{"key", hex(r())}}; }));
  ExpectUniform(UnderFreshKeys("sglang-gumbel", [&](std::mt19937_64& r) { return json{{"key", hex(r())}, {"key_b", hex(r())}, {"mixing_probability", 0.3}}; }));
}

TEST(ForeignNull, TextSeal) {
  ExpectUniform(UnderFreshKeys("textseal", [](std::mt19937_64& r) { return json{{"secret_key", r() >> 33}, {"watermark_type", "textseal"}}; }));
  const auto outcomes = UnderFreshKeys("textseal", [](std::mt19937_64& r) { return json{{"secret_key", r() >> 33}, {"watermark_type", "textseal"}, {"scoring_method", "none"}, {"ngram", 2}}; },
                                       [](const ForeignScore& s) { return Log10GammaTail(2 * Count(s, "textseal_scored"), 2 * Real(s, "textseal_score")); });
  EXPECT_GT(outcomes[1].theirs.at_2, kKeys / 10);
}

// vLLM and TextSeal give two unequally weighted keys a Gamma of the same mean and variance, whose tail is too light. What its p claims against the exact value, at the default weights
// 0.9 and 0.1 of vLLM and 30 tokens, where it claims 1e-9.
TEST(ForeignNull, TheMomentMatchedGammaIsTooLight) {
  const double variance = 0.9 * 0.9 + 0.1 * 0.1;
  double w = 30;
  const auto matched = [&] { return std::log10(boost::math::gamma_q(30 / variance, w / variance)); };
  while (matched() > -9) w += 0.01;
  EXPECT_GT(Log10TwoGammaTail(30, 0.9, 0.1, w), -9 + 0.2);  // more than 1.6 times the claim
}

}  // namespace
}  // namespace countermark
