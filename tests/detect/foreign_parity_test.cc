// Counts of other projects' marks against what their own code counts, on 240 unmarked texts and some marked ones a case.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "countermark/detect/tails.h"
#include "src/detect/foreign/green_lists.h"
#include "src/detect/foreign/torch_random.h"
#include "src/detect/foreign/vllm.h"
#include "tests/detect/foreign_vectors.h"

namespace countermark {
namespace {

using nlohmann::json;
using Ids = std::vector<uint32_t>;

// The marked texts of each case, pooled.
class Marked {
 public:
  void Add(const json& one, const ForeignFormat& format, const std::vector<ForeignDraw>& draws) {
    Entry& entry = pools_[one["config"].dump()];
    entry.pool.Add(draws);
    entry.log10_p = format.Log10P(entry.pool.count());
  }
  void ExpectFound() const {
    EXPECT_FALSE(pools_.empty());
    for (const auto& [config, entry] : pools_) EXPECT_LT(entry.log10_p, -8) << config;
  }

 private:
  struct Entry {
    ForeignPool pool;
    double log10_p = 0;
  };
  std::map<std::string, Entry> pools_;
};

void CheckKgw(const std::string& name, bool selfhash) {
  Marked marked;
  double unmarked_best = 0;
  const size_t compared = ForEachForeignText(name, [&](const json& one, const ForeignFormat& format, const Ids& ids, const ForeignScore& score, const json& original, const auto& draws) {
    if (original.is_null()) {
      EXPECT_EQ(Count(score, "hf_scored"), 0u);
      return;
    }
    EXPECT_EQ(Count(score, "hf_scored"), original["hf_scored"].get<uint64_t>());
    EXPECT_EQ(Count(score, "hf_hits"), original["hf_hits"].get<uint64_t>());
    if (!selfhash) {
      std::set<std::pair<uint32_t, uint32_t>> pairs;
      for (size_t i = 1; i < ids.size(); ++i) pairs.insert({ids[i - 1], ids[i]});
      EXPECT_EQ(score.scored, pairs.size());
      if (one["config"]["context_width"] == 1) {  // then ignore_repeated_ngrams counts the same pairs
        EXPECT_EQ(score.scored, original["once_scored"].get<uint64_t>());
        EXPECT_EQ(Count(score, "hits"), original["once_hits"].get<uint64_t>());
      }
    } else {
      EXPECT_LE(score.scored, original["once_scored"].get<uint64_t>());
    }
    if (one["marked"].get<bool>()) {
      marked.Add(one, format, draws);
    } else {
      unmarked_best = std::min(unmarked_best, score.log10_p);
    }
  });
  EXPECT_GE(compared, 450u);
  // 480 unmarked scores (texts of two configurations): under the null one is below 1e-6 with odds of at most 480·1e-6.
  EXPECT_GT(unmarked_best, -6);
  marked.ExpectFound();
}

TEST(ForeignParity, HfKgw) { CheckKgw("hf-kgw", false); }
TEST(ForeignParity, HfKgwSelfhash) { CheckKgw("hf-kgw-selfhash", true); }

TEST(ForeignParity, TorchPermutationIsTorchs) {
  const Ids permutation = TorchPermutation(static_cast<uint32_t>(15485863ull * 318), 50257);
  EXPECT_EQ(Ids(permutation.begin(), permutation.begin() + 10), (Ids{6652, 6873, 16571, 19963, 31837, 21676, 31605, 346, 9303, 5719}));
  const json cases = ForeignVectors("hf-kgw")["cases"];  // a copy: the file's object does not outlive the expression
  size_t compared = 0;
  for (const json& one : cases) {
    if (!one.contains("greenlists")) continue;
    for (const json& list : one["greenlists"]) {
      const unsigned __int128 seed = static_cast<unsigned __int128>(one["config"]["hashing_key"].get<uint64_t>()) * list[0].get<uint64_t>();
      const Ids all = TorchPermutation(static_cast<uint32_t>(seed % ~uint64_t{0}), one["vocab_size"]);
      EXPECT_EQ(Ids(all.begin(), all.begin() + 10), list[1].get<Ids>());
      ++compared;
    }
  }
  EXPECT_EQ(compared, 6u);
}

// A token followed through the swaps, in every way there is to answer, against the permutation itself.
TEST(ForeignParity, GreenListsAgreeWithThePermutation) {
  struct Shape {
    uint32_t vocabulary, green;
  };
  for (const Shape shape : {Shape{1, 1}, Shape{2, 1}, Shape{700, 175}, Shape{5000, 4999}, Shape{5000, 5000}, Shape{9001, 4500}, Shape{50257, 12564}}) {
    GreenLists lists(shape.vocabulary, shape.green, 1 << 16), no_lists(shape.vocabulary, shape.green, 0);
    GreenLists::Scanner scanner(lists), scans(no_lists);
    for (uint32_t seed : {0u, 1u, 77u, 0xFFFFFFFFu}) {
      const Ids permutation = TorchPermutation(seed, shape.vocabulary);
      std::vector<uint8_t> green(shape.vocabulary, 0);
      for (uint32_t i = 0; i < shape.green; ++i) green[permutation[i]] = 1;
      const uint32_t step = std::max(1u, shape.vocabulary / 300);
      for (int round = 0; round < 2; ++round) {  // the second finds the list made
        std::vector<uint8_t> answers(shape.vocabulary, 9), scanned(shape.vocabulary, 9);
        for (uint32_t token = 0; token < shape.vocabulary; token += step) {
          scanner.Ask(seed, token, &answers[token]);
          scans.Ask(seed, token, &scanned[token]);
        }
        scanner.Answer();
        scans.Answer();
        for (uint32_t token = 0; token < shape.vocabulary; token += step) {
          ASSERT_EQ(answers[token], green[token]) << shape.vocabulary << " " << shape.green << " seed " << seed << " token " << token;
          ASSERT_EQ(scanned[token], green[token]) << shape.vocabulary << " " << shape.green << " seed " << seed << " token " << token;
        }
      }
    }
  }
}

void CheckSynthId(const std::string& name, size_t least) {
  Marked marked;
  double unmarked_best = 0;
  const size_t compared = ForEachForeignText(name, [&](const json& one, const ForeignFormat& format, const Ids&, const ForeignScore& score, const json& original, const auto& draws) {
    EXPECT_EQ(format.hash(), one.value("hash", "table"));
    if (original.is_null()) {
      EXPECT_EQ(score.scored, 0u);
      EXPECT_EQ(score.log10_p, 0);
      return;
    }
    EXPECT_EQ(Count(score, "hf_scored"), original["hf_scored"].get<uint64_t>());
    EXPECT_EQ(Count(score, "hf_ones"), original["hf_ones"].get<uint64_t>());
    // The package's means are over no n-gram where all are masked: NaN, null in JSON; ours is then 0.
    if (original["hf_scored"] != 0) {
      EXPECT_NEAR(Real(score, "mean_g"), original["mean_g"].get<double>(), 1e-12);
      EXPECT_NEAR(Real(score, "weighted_mean_g"), original.value("weighted_mean_g", Real(score, "weighted_mean_g")), 1e-6);
    }
    EXPECT_LE(score.scored, original["ngrams"].get<uint64_t>());
    if (one["marked"].get<bool>()) {
      marked.Add(one, format, draws);
    } else {
      unmarked_best = std::min(unmarked_best, score.log10_p);
    }
  });
  EXPECT_GE(compared, least);
  EXPECT_GT(unmarked_best, -6.5);  // as above, at most 720 texts: odds of 720·10^−6.5
  marked.ExpectFound();
}

TEST(ForeignParity, HfSynthId) { CheckSynthId("hf-synthid", 440); }
TEST(ForeignParity, SynthIdText) { CheckSynthId("synthid-text", 640); }

TEST(ForeignParity, SynthIdsFirstRow) {
  const json one = ForeignVectors("hf-synthid")["cases"][0];
  EXPECT_EQ(one["first_row"], "001010010001011111001110001011");
  json config = one["config"];
  const auto format = OpenForeign("hf-synthid", config);
  const ForeignScore score = format->NewScorer()->Score(Ids{1, 2, 3, 4, 5}, {}, nullptr);
  EXPECT_EQ(Count(score, "hf_ones"), 15u);
  EXPECT_DOUBLE_EQ(score.log10_p, Log10BinomialTail(30, 15, one["table_ones"].get<uint32_t>(), 1 << 16));
}

// p of the original, wherever it is exact, from the original's own number of scored tokens and sum.
void CheckGumbel(const std::string& name, const std::string& project, double tolerance, bool p_is_gamma, size_t least) {
  Marked marked;
  double unmarked_best = 0;
  const size_t compared = ForEachForeignText(name, [&](const json& one, const ForeignFormat& format, const Ids&, const ForeignScore& score, const json& original, const auto& draws) {
    if (original.is_null()) {
      EXPECT_EQ(Count(score, project + "_scored"), 0u);
      return;
    }
    ASSERT_EQ(Count(score, project + "_scored"), original["scored"].get<uint64_t>());
    EXPECT_NEAR(Real(score, project + "_score"), original["score"].get<double>(), tolerance * (1 + original["score"].get<double>()));
    if (p_is_gamma && score.scored == original["scored"].get<uint64_t>()) {
      const double log10_p = original.contains("p") ? std::log10(original["p"].get<double>()) : original["log_p"].get<double>() / std::log(10);
      EXPECT_NEAR(score.log10_p, log10_p, 2e-5 * (1 + std::abs(log10_p)));
      EXPECT_GE(score.log10_p, log10_p - 1e-7);  // a bound
    }
    if (one["marked"].get<bool>()) {
      marked.Add(one, format, draws);
    } else {
      unmarked_best = std::min(unmarked_best, score.log10_p);
    }
  });
  EXPECT_GE(compared, least);
  EXPECT_GT(unmarked_best, -6);  // at most 960 texts: odds of 960e-6
  marked.ExpectFound();
}

TEST(ForeignParity, VllmGumbel) { CheckGumbel("vllm-gumbel", "vllm", 1e-12, true, 740); }
TEST(ForeignParity, VllmDual) { CheckGumbel("vllm-dual", "vllm", 1e-12, false, 980); }
TEST(ForeignParity, SglangGumbel) { CheckGumbel("sglang-gumbel", "sglang", 1e-12, true, 740); }
TEST(ForeignParity, TextSeal) { CheckGumbel("textseal", "textseal", 1e-6, false, 660); }

TEST(ForeignParity, VllmWords) {
  const json words = ForeignVectors("vllm-gumbel")["cases"][0]["words"];
  EXPECT_EQ(words.size(), 6u);
  for (const json& entry : words) {
    Ids window;
    for (const int64_t id : entry[0]) window.push_back(static_cast<uint32_t>(id));
    EXPECT_EQ(VllmWord(42, VllmWindowState(42, window), entry[1]), entry[2].get<uint32_t>());
  }
  EXPECT_EQ(VllmWord(42, VllmWindowState(42, Ids{1, 2, 3, 4}), 7), 425429266u);
  EXPECT_EQ(VllmWord(42, VllmWindowState(42, Ids{4, 5, 6, 7}), 8), 3424185538u);
}

// A pool is a set of draws: the same text twice is the text once, and any order gives the same.
TEST(ForeignPool, CountsADrawOnce) {
  for (const char* name : {"hf-kgw", "hf-kgw-selfhash", "hf-synthid", "synthid-text", "vllm-gumbel", "vllm-dual", "sglang-gumbel", "textseal"}) {
    SCOPED_TRACE(name);
    std::vector<std::vector<ForeignDraw>> texts;
    json config;
    ForEachForeignText(name, [&](const json& one, const ForeignFormat&, const Ids&, const ForeignScore&, const json&, const auto& draws) {
      if (config.is_null()) config = one["config"];
      if (one["config"] == config) texts.push_back(draws);
    });
    ForeignPool once, twice;
    std::set<std::array<uint64_t, 2>> ids;
    for (const auto& draws : texts) {
      once.Add(draws);
      for (const ForeignDraw& draw : draws) ids.insert(draw.id);
    }
    for (int round = 0; round < 2; ++round) {
      for (size_t i = texts.size(); i-- > 0;) twice.Add(texts[i]);
    }
    EXPECT_EQ(once.count().draws, ids.size());
    EXPECT_EQ(twice.count().draws, once.count().draws);
    EXPECT_TRUE(twice.count().statistic == once.count().statistic);
  }
}

TEST(ForeignFormats, AreInTheTable) {
  std::set<std::string_view> names;
  for (const ForeignFormatInfo& info : ForeignFormats()) {
    names.insert(info.name);
    EXPECT_FALSE(info.about.empty());
  }
  for (const char* name : {"hf-kgw", "hf-kgw-selfhash", "hf-synthid", "synthid-text", "vllm-gumbel", "vllm-dual", "sglang-gumbel", "textseal"}) EXPECT_TRUE(names.contains(name)) << name;
  EXPECT_EQ(OpenForeignFormat("hf-kwg", "{}", "c").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace countermark
