// The claims of the audit under the null, by simulation: fixed texts, fresh keys. And with marked documents by someone who holds the key, for the bounds, which
// claim something there too.
//
// Texts are what goes wrong elsewhere: copies, near copies, loops, patchworks, a document that holds all others, in orders made to hurt. Rates are compared with the
// claimed level times the number of trials: a sound test exceeds the limit with a chance below 1e-6 (binomial tail), per check. Each control does the wrong thing
// on purpose and must exceed it. A pass does not prove validity.
//
// COUNTERMARK_AUDIT_TRIALS sets the number of trials (default 1,500 a scheme).
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "countermark/audit/documents.h"
#include "countermark/audit/share.h"
#include "countermark/audit/sparse.h"
#include "countermark/detect/pair_words.h"
#include "countermark/detect/pairs.h"
#include "countermark/mark/chacha.h"
#include "countermark/mark/prf.h"
#include "gtest/gtest.h"

namespace countermark {
namespace {

using Text = std::vector<uint32_t>;

constexpr double kAlpha = 0.05;  // of every claim here

uint64_t Trials() {
  const char* trials = std::getenv("COUNTERMARK_AUDIT_TRIALS");
  return trials != nullptr ? std::strtoull(trials, nullptr, 10) : 1500;
}

// The most hits of so many trials that a true rate of `level` gives, but for a chance of 1e-6.
uint64_t Limit(uint64_t trials, double level) {
  uint64_t k = 0;
  while (Log10BinomialTail(trials, k + 1, static_cast<uint32_t>(level * 1e6 + 0.5), 1000000) > -6) ++k;
  return k;
}

Secret32 FreshKey(std::mt19937_64& random) {
  std::array<uint8_t, 32> bytes;
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  return Secret32(bytes);
}

// 48 documents, no two of them clean of each other.
std::vector<Text> NullTexts(std::mt19937_64& random) {
  std::vector<Text> texts;
  const auto fresh = [&](size_t length, uint32_t vocabulary) {
    Text text(length);
    for (uint32_t& t : text) t = static_cast<uint32_t>(random() % vocabulary);
    return text;
  };
  for (int i = 0; i < 14; ++i) texts.push_back(fresh(8 + random() % 40, 5000));
  for (int i = 0; i < 14; ++i) texts.push_back(texts[static_cast<size_t>(i) % 4]);  // copies of four
  for (int i = 0; i < 6; ++i) {                                                     // near copies
    Text text = texts[5];
    text[random() % text.size()] = 4999;
    texts.push_back(text);
  }
  for (int i = 0; i < 4; ++i) {  // loops
    Text text;
    for (int k = 0; k < 20; ++k) text.insert(text.end(), {7u, 8u, 9u + static_cast<uint32_t>(i % 2)});
    texts.push_back(text);
  }
  for (int i = 0; i < 4; ++i) {  // patchworks
    Text text = texts[random() % 14];
    const Text& other = texts[random() % 14];
    text.insert(text.end(), other.begin(), other.end());
    texts.push_back(text);
  }
  Text all;
  for (int i = 0; i < 14; ++i) all.insert(all.end(), texts[static_cast<size_t>(i)].begin(), texts[static_cast<size_t>(i)].end());
  texts.push_back(all);
  for (int i = 0; i < 4; ++i) texts.push_back(fresh(static_cast<size_t>(i), 50));  // too short for a pair, or one pair
  texts.push_back(fresh(60, 3));
  return texts;
}

// Distinct pairs of a data set, the documents each stands in, and the first of those.
struct World {
  int h = 2;
  PairSet pairs{2};
  std::vector<std::vector<uint32_t>> of_document;  // indices of the document's own distinct pairs
  std::vector<uint32_t> owner;

  explicit World(const std::vector<Text>& texts) {
    for (const Text& text : texts) {
      std::vector<uint32_t>& mine = of_document.emplace_back();
      for (size_t i = 2; i < text.size(); ++i) {
        const size_t before = pairs.size();
        if (pairs.Add(std::span(&text[i - 2], 3)) == 1) {
          owner.push_back(static_cast<uint32_t>(of_document.size() - 1));
          mine.push_back(static_cast<uint32_t>(before));
          continue;
        }
        for (uint32_t k = 0; k < pairs.size(); ++k) {
          if (pairs.token()[k] == text[i] && pairs.window_token(0)[k] == text[i - 2] && pairs.window_token(1)[k] == text[i - 1]) mine.push_back(k);
        }
      }
      std::sort(mine.begin(), mine.end());
      mine.erase(std::unique(mine.begin(), mine.end()), mine.end());
    }
  }
};

struct Scored {
  std::vector<uint32_t> words;
  std::vector<uint64_t> scores;
  std::vector<ChannelCount> own, first;
  ChannelCount pool;
  uint64_t hits[TopHits::kMost] = {};

  Scored(const World& world, const Secret32& key, const MarkParameters& mark) : words(world.pairs.size()), scores(world.pairs.size()) {
    PairSpan span;
    for (int j = 0; j < 2; ++j) span.window[j] = world.pairs.window_token(j).data();
    span.token = world.pairs.token().data();
    span.size = world.pairs.size();
    PairWords(span, key, mark.scheme, 2, words);
    ScoresOfWords(words, mark, scores);
    for (size_t d = 0; d < world.of_document.size(); ++d) {
      ChannelCount& mine = own.emplace_back();
      ChannelCount& new_ones = first.emplace_back();
      for (const uint32_t k : world.of_document[d]) {
        ++mine.scored;
        mine.statistic += scores[k];
        if (world.owner[k] != d) continue;
        ++new_ones.scored;
        new_ones.statistic += scores[k];
      }
      pool.scored += new_ones.scored;
      pool.statistic += new_ones.statistic;
    }
    TopHits::Of(mark).Count(words, hits);
  }
};

double HighestSparse(const std::vector<ChannelCount>& counts, const MarkParameters& mark, size_t step) {
  SparseProduct product;
  double highest = 0;
  for (size_t d = 0; d < counts.size(); ++d) {
    product.Add(counts[d], mark);
    if (d % step == 0 || d + 1 == counts.size()) highest = std::max(highest, product.Log10());
  }
  return highest;
}

ScanE ScanOf(const std::vector<double>& values) {
  return [&values](const VisitE& visit) {
    for (const double e : values) visit(e);
    return absl::OkStatus();
  };
}

std::vector<double> EValues(const std::vector<ChannelCount>& counts, const MarkParameters& mark) {
  std::vector<double> values;
  for (const ChannelCount& count : counts) values.push_back(Log10E(count, mark));
  return values;
}

MarkParameters MarkOf(Scheme scheme) {
  MarkParameters mark;
  mark.scheme = scheme;
  return mark;
}

class Null : public ::testing::TestWithParam<Scheme> {};
INSTANTIATE_TEST_SUITE_P(Schemes, Null, ::testing::Values(Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel));

TEST_P(Null, NoClaimMoreOftenThanItsLevel) {
  const MarkParameters mark = MarkOf(GetParam());
  const TopHits top = TopHits::Of(mark);
  std::mt19937_64 random(20261101 + static_cast<uint64_t>(GetParam()));
  uint64_t sparse = 0, listed = 0, documents = 0, pairs = 0, pooled = 0, halves = 0;
  const uint64_t trials = Trials();
  std::vector<Text> texts;
  std::unique_ptr<World> world, left, right;
  for (uint64_t trial = 0; trial < trials; ++trial) {
    if (trial % 100 == 0) {  // other texts, and another order: as it comes, shuffled, longest first, shortest first
      texts = NullTexts(random);
      if (trial / 100 % 4 == 1) std::shuffle(texts.begin(), texts.end(), random);
      if (trial / 100 % 4 == 2) std::stable_sort(texts.begin(), texts.end(), [](const Text& a, const Text& b) { return a.size() > b.size(); });
      if (trial / 100 % 4 == 3) std::stable_sort(texts.begin(), texts.end(), [](const Text& a, const Text& b) { return a.size() < b.size(); });
      world = std::make_unique<World>(texts);
      left = std::make_unique<World>(std::vector<Text>(texts.begin(), texts.begin() + 24));
      right = std::make_unique<World>(std::vector<Text>(texts.begin() + 24, texts.end()));
    }
    const Secret32 key = FreshKey(random);
    const Scored scored(*world, key, mark);
    sparse += HighestSparse(scored.first, mark, 7) >= -std::log10(kAlpha);
    pooled += Log10P(scored.pool, mark) <= std::log10(kAlpha);
    const std::vector<double> values = EValues(scored.own, mark);
    listed += std::isfinite(*ListingThreshold(values.size(), kAlpha, ScanOf(values)));
    documents += *MarkedDocumentsAtLeast(values.size(), kAlpha, ScanOf(values)) > 0;
    pairs += MarkedPairsAtLeast(scored.pool.scored, std::span(scored.hits, TopHits::kMost), top, kAlpha).pairs > 0;

    const Scored a(*left, key, mark), b(*right, key, mark);
    SparseProduct product_a, product_b;
    for (const ChannelCount& count : a.first) product_a.Add(count, mark);
    for (const ChannelCount& count : b.first) product_b.Add(count, mark);
    halves += std::log10((std::pow(10, product_a.Log10()) + std::pow(10, product_b.Log10())) / 2) >= -std::log10(kAlpha);
  }
  const uint64_t limit = Limit(trials, kAlpha);
  std::printf("%llu trials, limit %llu: pooled %llu, sparse %llu, mean of shards %llu, listed %llu, documents %llu, pairs %llu\n",
              static_cast<unsigned long long>(trials), static_cast<unsigned long long>(limit), static_cast<unsigned long long>(pooled), static_cast<unsigned long long>(sparse),
              static_cast<unsigned long long>(halves), static_cast<unsigned long long>(listed), static_cast<unsigned long long>(documents), static_cast<unsigned long long>(pairs));
  EXPECT_LE(pooled, limit);
  EXPECT_LE(sparse, limit);
  EXPECT_LE(halves, limit);
  EXPECT_LE(listed, limit);
  EXPECT_LE(documents, limit);
  EXPECT_LE(pairs, limit);
}

// What the same checks say of what must not be done: every document on all its pairs in one product, and the counts of shards added.
TEST_P(Null, TheWrongWaysAreSeen) {
  const MarkParameters mark = MarkOf(GetParam());
  std::mt19937_64 random(5 + static_cast<uint64_t>(GetParam()));
  Text text(60);
  for (uint32_t& t : text) t = static_cast<uint32_t>(random() % 5000);
  std::vector<Text> texts(40, text);
  for (int i = 0; i < 10; ++i) texts.push_back(Text(text.rbegin(), text.rbegin() + 3 + i));
  const World world(texts), shard({text});
  uint64_t twice = 0, added = 0, sound = 0;
  const uint64_t trials = 500;
  for (uint64_t trial = 0; trial < trials; ++trial) {
    const Secret32 key = FreshKey(random);
    const Scored scored(world, key, mark);
    sound += HighestSparse(scored.first, mark, 7) >= -std::log10(kAlpha);
    twice += HighestSparse(scored.own, mark, 7) >= -std::log10(kAlpha);
    const ChannelCount one = Scored(shard, key, mark).pool;
    added += Log10P({10 * one.scored, 10 * one.statistic}, mark) <= std::log10(kAlpha);
  }
  const uint64_t limit = Limit(trials, kAlpha);
  std::printf("%llu trials, limit %llu: sparse %llu; own pairs in a product %llu, counts of ten shards added %llu\n", static_cast<unsigned long long>(trials),
              static_cast<unsigned long long>(limit), static_cast<unsigned long long>(sound), static_cast<unsigned long long>(twice), static_cast<unsigned long long>(added));
  EXPECT_LE(sound, limit);
  EXPECT_GT(twice, limit);
  EXPECT_GT(added, limit);
}

// A document by someone with the key: of so many tokens the one with the best (or worst) score.
Text Chosen(const Secret32& key, const MarkParameters& mark, size_t length, int choices, bool best, std::mt19937_64& random) {
  uint32_t words[8];
  LoadKeyWords(key.Reveal(SecretAccess()), words);
  Text text = {static_cast<uint32_t>(random() % 5000), static_cast<uint32_t>(random() % 5000)};
  while (text.size() < length) {
    uint32_t seed[8];
    MarkSeed(words, mark.scheme, &text[text.size() - 2], 2, seed);
    uint32_t chosen = 0;
    uint64_t extreme = 0;
    for (int c = 0; c < choices; ++c) {
      const auto token = static_cast<uint32_t>(random() % 5000);
      uint64_t score;
      const uint32_t word = mark.scheme == Scheme::kPartition ? ByteOf(seed, token) : WordOf(seed, token);
      ScoresOfWords(std::span(&word, 1), mark, std::span(&score, 1));
      if (c == 0 || (best ? score > extreme : score < extreme)) {
        extreme = score;
        chosen = token;
      }
    }
    text.push_back(chosen);
  }
  return text;
}

TEST_P(Null, BoundsAndListsHoldAgainstWhoeverHoldsTheKey) {
  const MarkParameters mark = MarkOf(GetParam());
  const TopHits top = TopHits::Of(mark);
  std::mt19937_64 random(77 + static_cast<uint64_t>(GetParam()));
  const uint64_t trials = Trials() / 3;
  uint64_t too_many_documents = 0, too_many_pairs = 0, found_documents = 0, found_pairs = 0;
  double false_share = 0;
  std::vector<Text> innocent = NullTexts(random);
  for (uint64_t trial = 0; trial < trials; ++trial) {
    if (trial % 50 == 49) innocent = NullTexts(random);
    const Secret32 key = FreshKey(random);
    std::vector<Text> texts;
    // Marked documents before, between and after: marked well, marked badly on purpose, and with an innocent document inside.
    std::vector<Text> marked;
    for (int i = 0; i < 10; ++i) marked.push_back(Chosen(key, mark, 70, 8, true, random));
    for (int i = 0; i < 2; ++i) marked.push_back(Chosen(key, mark, 50, 8, false, random));
    Text wrapped = Chosen(key, mark, 40, 8, true, random);
    wrapped.insert(wrapped.end(), innocent[3].begin(), innocent[3].end());
    marked.push_back(wrapped);
    const size_t kinds = trial % 3;
    const size_t begin = kinds == 0 ? 0 : kinds == 1 ? innocent.size() : innocent.size() / 2;
    texts = innocent;
    texts.insert(texts.begin() + static_cast<std::ptrdiff_t>(begin), marked.begin(), marked.end());
    const World world(texts);
    const Scored scored(world, key, mark);
    std::vector<bool> in_innocent(world.pairs.size());
    const auto is_marked = [&](size_t d) { return d >= begin && d < begin + marked.size(); };
    for (size_t d = 0; d < texts.size(); ++d) {
      if (is_marked(d)) continue;
      for (const uint32_t k : world.of_document[d]) in_innocent[k] = true;
    }
    const auto only_marked = static_cast<uint64_t>(std::count(in_innocent.begin(), in_innocent.end(), false));
    const std::vector<double> values = EValues(scored.own, mark);
    const uint64_t documents = *MarkedDocumentsAtLeast(values.size(), kAlpha, ScanOf(values));
    const uint64_t pairs = MarkedPairsAtLeast(scored.pool.scored, std::span(scored.hits, TopHits::kMost), top, kAlpha).pairs;
    too_many_documents += documents > marked.size();
    too_many_pairs += pairs > only_marked;
    found_documents += documents;
    found_pairs += pairs * 100 / std::max<uint64_t>(only_marked, 1);
    const double threshold = *ListingThreshold(values.size(), kAlpha, ScanOf(values));
    double listed = 0, wrong = 0;
    for (size_t d = 0; d < texts.size(); ++d) {
      if (values[d] < threshold) continue;
      ++listed;
      wrong += !is_marked(d);
    }
    false_share += listed > 0 ? wrong / listed : 0;
  }
  const uint64_t limit = Limit(trials, kAlpha);
  std::printf("%llu trials, limit %llu: too many documents %llu, too many pairs %llu; mean bound %.2f of 13 documents, %.1f %% of the marked pairs; mean false share of the list %.4f\n",
              static_cast<unsigned long long>(trials), static_cast<unsigned long long>(limit), static_cast<unsigned long long>(too_many_documents),
              static_cast<unsigned long long>(too_many_pairs), static_cast<double>(found_documents) / static_cast<double>(trials),
              static_cast<double>(found_pairs) / static_cast<double>(trials), false_share / static_cast<double>(trials));
  EXPECT_LE(too_many_documents, limit);
  EXPECT_LE(too_many_pairs, limit);
  // A share in [0, 1] of mean at most kAlpha: its sum is beyond the binomial's limit with at most the same chance (Hoeffding's reduction to 0 or 1).
  EXPECT_LE(false_share, static_cast<double>(limit));
  if (GetParam() != Scheme::kPartition) {
    EXPECT_GT(found_documents, 4 * trials);
    EXPECT_GT(found_pairs, 15 * trials);
  }
}

}  // namespace
}  // namespace countermark
