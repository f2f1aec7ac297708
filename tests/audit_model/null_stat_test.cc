// False positives under fresh keys. Fixed seeds: each test passes or fails for good; the odds that a right program had of failing with the seed it was given are stated.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <random>

#include "countermark/audit/model_ring.h"
#include "countermark/keys/derive.h"
#include "countermark/mark/chacha.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/prf.h"
#include "src/audit/model/seen_windows.h"

namespace countermark {
namespace {

Secret32 KeyOf(uint64_t number) { return Secret32(std::span<const uint8_t, 32>(Sha256("fresh key " + std::to_string(number)))); }

// Holds with odds 1 − 1e-7 for each count of a right program.
void ExpectAtMost(uint64_t hits, uint64_t trials, double alpha, const std::string& what) {
  const auto denominator = static_cast<uint32_t>(std::llround(1 / alpha));
  EXPECT_GE(Log10BinomialTail(trials, hits, 1, denominator), -7) << what << ": " << hits << " of " << trials << " at " << alpha;
}

// Weights that a wrong bound would stumble over.
std::map<std::string, WeightTable> NastyTables() {
  std::mt19937 rng(11);
  const std::map<std::string, std::function<int64_t(int)>> shapes = {
      {"even", [&](int) { return static_cast<int64_t>(rng() % 2097152) - 1048576; }},
      {"one heavy", [&](int i) { return i == 0 ? int64_t{16777215} : static_cast<int64_t>(rng() % 4096) - 2048; }},
      {"one heavy, negative", [&](int i) { return i == 0 ? int64_t{-16777215} : static_cast<int64_t>(rng() % 4096) - 2048; }},
      {"all negative", [&](int) { return -static_cast<int64_t>(rng() % 8388608) - 1; }},
      {"falling", [&](int i) { return int64_t{16777216} / (i + 1) / (i + 1) + 1; }},
  };
  std::map<std::string, WeightTable> tables;
  for (const auto& [name, draw] : shapes) {
    WeightTable table(2);
    for (uint32_t r = 0; r < 10; ++r) {
      const uint32_t window[2] = {r, 17};
      std::vector<TokenWeight> weights;
      for (uint32_t i = 0; i < 8; ++i) weights.push_back({64 * i + r, draw(static_cast<int>(8 * r + i))});
      table.Add(window, weights);
    }
    tables.emplace(name, std::move(table));
  }
  return tables;
}

const MarkParameters kMarks[] = {{.scheme = Scheme::kGumbel}, {.scheme = Scheme::kTournament}, {.scheme = Scheme::kPartition}};

// 3 schemes × 5 tables × 2 tests × 3 levels, each with odds 1e-7 of failing.
TEST(Null, NeitherBoundIsExceededMoreOftenThanItSays) {
  constexpr uint64_t kKeys = 6000;
  uint64_t number = 0;
  for (const MarkParameters& mark : kMarks) {
    const MatchedFilter filter(mark);
    for (const auto& [name, table] : NastyTables()) {
      const ChernoffBound bound(filter, table);
      const BetSums bets = filter.Bets(table);
      std::map<double, uint64_t> chernoff, mixture, normal;
      for (uint64_t k = 0; k < kKeys; ++k) {
        const FilterSum sum = filter.Sum(table, KeyOf(number++));
        const double z = filter.Z(sum, table.squares());
        for (const double alpha : {0.1, 0.01, 0.001}) {
          chernoff[alpha] += bound.Log10P(sum) <= std::log10(alpha);
          mixture[alpha] += -Log10Mixture(filter, sum, bets) <= std::log10(alpha);
          normal[alpha] += std::erfc(z / std::sqrt(2.0)) / 2 <= alpha;
        }
      }
      for (const double alpha : {0.1, 0.01, 0.001}) {
        ExpectAtMost(chernoff[alpha], kKeys, alpha, name + ", Chernoff");
        ExpectAtMost(mixture[alpha], kKeys, alpha, name + ", mixture");
      }
      // What this must be able to see: a normal law in the place of the bound.
      if (name == "one heavy" && mark.scheme == Scheme::kGumbel) {
        EXPECT_LT(Log10BinomialTail(kKeys, normal[0.001], 1, 1000), -20);
      }
    }
  }
}

// Rings found among accounts that were never used. Six counts, each with odds 1e-7.
TEST(Null, SearchedRingsPayForTheSearch) {
  constexpr int kRounds = 1500, kAccounts = 24;
  const MarkParameters mark;
  const MatchedFilter filter(mark);
  const WeightTable table = NastyTables().at("even");
  const ChernoffBound bound(filter, table);
  const BetSums bets = filter.Bets(table);
  for (const bool served : {false, true}) {
    const EvidenceScale scale{.served = served, .filter = &filter, .bound = &bound};
    std::map<double, uint64_t> corrected;
    uint64_t half = 0;
    for (int round = 0; round < kRounds; ++round) {
      std::vector<Evidence> accounts(kAccounts);
      std::vector<double> log10_p;
      for (int a = 0; a < kAccounts; ++a) {
        Evidence& e = accounts[a];
        e.keys = 1;
        e.windows = table.rows();
        e.sum = filter.Sum(table, KeyOf(1000000 + static_cast<uint64_t>(round * kAccounts + a)));
        e.ln_filter = LnOfBets(filter, e.sum, bets);
        log10_p.push_back(Judge(scale, e).log10_p);
      }
      const RingFound ring = SearchRing(scale, accounts, log10_p);
      for (const double alpha : {0.1, 0.01, 0.001}) {
        corrected[alpha] += ring.log10_p <= std::log10(alpha);
      }
      std::vector<size_t> order(kAccounts);
      std::iota(order.begin(), order.end(), size_t{0});
      std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return accounts[a].sum > accounts[b].sum; });
      Evidence pooled;
      for (int a = 0; a < kAccounts / 2; ++a) pooled = Pool(pooled, accounts[order[a]]);
      half += Judge(scale, pooled).log10_filter <= -1;
    }
    for (const double alpha : {0.1, 0.01, 0.001}) ExpectAtMost(corrected[alpha], kRounds, alpha, served ? "served" : "public");
    if (!served) {
      EXPECT_LT(Log10BinomialTail(kRounds, half, 1, 10), -20) << "the stronger half, without the price of having looked for it, would not be seen: " << half;
    }
  }
}

// ---- A log whose prompts come from earlier answers --------------------------------------------------------------------------------------
// Tokens 0 … 31; token + 32 is the same word put otherwise. A prompt is an earlier answer, edited: each word put otherwise, one in ten replaced. The provider's model
// and the suspect both tend to go on as their prompt did. The suspect is a fixed function and knows no key: H0 holds.
constexpr uint32_t kWords = 32;
constexpr int kWindow = 2, kRequests = 60, kLength = 60;

// What the prompt says after these two words, or kWords.
uint32_t Continuation(const std::vector<uint32_t>& prompt, uint32_t a, uint32_t b) {
  for (size_t i = 0; i + 2 < prompt.size(); ++i) {
    if (prompt[i] == a + kWords && prompt[i + 1] == b + kWords) return prompt[i + 2] - kWords;
  }
  return kWords;
}

struct LogVerdict {
  double filter = 0, top1 = 0;  // log10 p
};

LogVerdict JudgeLog(uint64_t number, bool first_occurrence_rule) {
  std::mt19937 rng(static_cast<uint32_t>(number));
  const Secret32 key = KeyOf(5000000 + number);
  uint32_t key_words[8], seed[8];
  LoadKeyWords(key.Reveal(SecretAccess()), key_words);
  const MarkParameters mark;
  const MatchedFilter filter(mark);
  std::vector<std::vector<uint32_t>> answers;
  audit::SeenWindows seen(1);
  WindowSums sums(kWindow);
  WeightTable table(kWindow);
  ChannelCount top1;
  std::map<std::pair<uint64_t, uint32_t>, int> pairs;
  for (int r = 0; r < kRequests; ++r) {
    std::vector<uint32_t> prompt, answer;
    if (r > 0) {
      for (const uint32_t word : answers[rng() % answers.size()]) prompt.push_back(kWords + (rng() % 10 == 0 ? static_cast<uint32_t>(rng() % kWords) : word));
    }
    std::map<uint64_t, bool> here;
    for (int t = 0; t < kLength; ++t) {
      const uint32_t* window = t >= kWindow ? &answer[static_cast<size_t>(t - kWindow)] : nullptr;
      const uint32_t next = window != nullptr ? Continuation(prompt, window[0], window[1]) : kWords;
      uint32_t chosen = static_cast<uint32_t>(rng() % kWords);
      if (window != nullptr && here.emplace(window[0] * 100 + window[1], true).second) {
        MarkSeed(key_words, Scheme::kGumbel, window, kWindow, seed);
        double best = 1e300;
        for (uint32_t v = 0; v < kWords; ++v) {
          const double arrival = GumbelArrival(WordOf(seed, v), v == next ? 16 : 1);
          if (arrival < best) best = arrival, chosen = v;
        }
        if (next != kWords && (!first_occurrence_rule || seen.Insert(0, window, kWindow))) {
          const TokenWeight weight[] = {{next, 3 << 22}};  // q − q0 = ¾
          sums.Add(window, weight);
          if (first_occurrence_rule) table.Add(window, weight);
          if (pairs[{window[0] * 100 + window[1], next}]++ == 0) {
            ++top1.scored;
            top1.statistic += GumbelScore(WordOf(seed, next));
          }
        } else if (first_occurrence_rule) {
          seen.Insert(0, window, kWindow);
        }
      }
      answer.push_back(chosen);
    }
    answers.push_back(answer);
  }
  if (!first_occurrence_rule) table = sums.Table();
  const double scale = std::min(1.0, std::ldexp(1.0, kWeightBits) / static_cast<double>(std::max<int64_t>(1, table.largest())));
  const double e = Log10Mixture(filter, filter.Sum(table, key), filter.Bets(table, scale), scale);
  return {std::min(0.0, -e), std::min(0.0, -Log10E(top1, mark))};
}

// Four counts, each with odds 1e-7 of failing.
TEST(ServedProbes, FirstOccurrencesAloneKeepTheLevel) {
  constexpr uint64_t kLogs = 300;
  std::map<double, uint64_t> filter, top1;
  uint64_t filter_without = 0, top1_without = 0;
  for (uint64_t i = 0; i < kLogs; ++i) {
    const LogVerdict with = JudgeLog(i, true), without = JudgeLog(i, false);
    for (const double alpha : {0.1, 0.01}) {
      filter[alpha] += with.filter <= std::log10(alpha);
      top1[alpha] += with.top1 <= std::log10(alpha);
    }
    filter_without += without.filter <= -2;
    top1_without += without.top1 <= -2;
  }
  for (const double alpha : {0.1, 0.01}) {
    ExpectAtMost(filter[alpha], kLogs, alpha, "filter, first occurrences");
    ExpectAtMost(top1[alpha], kLogs, alpha, "top-1, first occurrences");
  }
  // Without the rule a model that never saw an answer is accused nearly always: what a prompt was made from is what the key chose.
  EXPECT_GT(filter_without, kLogs / 2);
  EXPECT_GT(top1_without, kLogs / 2);
}

}  // namespace
}  // namespace countermark
