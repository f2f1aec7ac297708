// textseal: TextSeal's WatermarkConfig with watermark_type textseal (two keys), or gumbelmax (one).
//
// v = Σ window[j]·prime[j] + 100000007·token + 500001713·key, times two primes in 64 wrapping bits, xor itself shifted by 13, modulo 8191: q, and r = q/8191. A token's score is
// alpha·s(key A) + (1 − alpha)·s(key B), s = −ln(1 − r). Only v less the key's part matters, so that is the draw. Positions begin at ngram + 1, as TextSeal's detector begins.
#include <array>
#include <cmath>
#include <limits>

#include "countermark/detect/tails.h"
#include "src/base/status_macros.h"
#include "src/detect/foreign/gumbel_score.h"
#include "src/detect/foreign/table.h"
#include "src/detect/foreign/two_gamma_tail.h"
#include "src/detect/foreign/window_set.h"

namespace countermark {
namespace {

constexpr std::array<uint64_t, 10> kPrimes = {10000019, 10000247, 10000439, 10000643, 10000747, 10000867, 10000993, 10001213, 10001357, 10001501};
constexpr uint32_t kValues = 8191;

struct Parameters {
  bool dual = true;
  uint64_t key_a = 0, key_b = 0;
  double alpha = 0.5;  // weight of key a
  uint32_t ngram = 1;
  enum { kEvery, kWindows, kPairs } once = kPairs;  // scoring_method none, v1, v2
};

struct Scores {
  std::array<uint64_t, kValues> fixed;    // the test's
  std::array<float, kValues> original;    // TextSeal's, in its own arithmetic
};

const Scores& AllScores() {
  static const Scores* const scores = [] {
    auto* const all = new Scores;
    for (uint32_t q = 0; q < kValues; ++q) {
      // Downwards by one unit more than rounding could have raised it.
      const long double score = std::ldexp(-std::log1p(-static_cast<long double>(q) / kValues), 40);
      all->fixed[q] = score > 1 ? static_cast<uint64_t>(score - 0.0009765625L) : 0;
      all->original[q] = -std::log(1.0f - static_cast<float>(q) / static_cast<float>(kValues));
    }
    return all;
  }();
  return *scores;
}

uint32_t Value(uint64_t base, uint64_t key) {
  const int64_t h = static_cast<int64_t>((base + 500001713u * key) * 15485863u * 40499u);
  const int64_t mixed = h ^ (h >> 13);
  const int64_t remainder = mixed % static_cast<int64_t>(kValues);
  return static_cast<uint32_t>(remainder < 0 ? remainder + kValues : remainder);
}

class TextSeal : public ForeignFormat {
 public:
  explicit TextSeal(const Parameters& parameters) : p_(parameters) { label_ = p_.dual ? "dual-key gumbel of TextSeal" : "gumbel of TextSeal, one key"; }
  std::unique_ptr<ForeignScorer> NewScorer() const override;
  double Log10P(const ForeignCount& count) const override {
    const double a = FromFixed(count.statistic[0]);
    if (!p_.dual) return Log10GammaTail(count.draws, a);
    return Log10TwoGammaTail(count.draws, p_.alpha, 1 - p_.alpha, p_.alpha * a + (1 - p_.alpha) * FromFixed(count.statistic[1]));
  }
  const Parameters& parameters() const { return p_; }

 private:
  const Parameters p_;
};

class TextSealScorer : public ForeignScorer {
 public:
  explicit TextSealScorer(const TextSeal& format) : format_(format), scores_(AllScores()) {}

  ForeignScore Score(std::span<const uint32_t> ids, std::span<const uint32_t>, std::vector<ForeignDraw>* draws) override {
    const Parameters& p = format_.parameters();
    seen_.Begin(ids, ids.size());
    index_.Begin(ids.size());
    ForeignScore score;
    uint64_t scored = 0;
    double sum = 0;
    for (size_t i = p.ngram + 1; i < ids.size(); ++i) {
      if (p.once == Parameters::kWindows && !seen_.Add(i - p.ngram, p.ngram)) continue;
      if (p.once == Parameters::kPairs && !seen_.Add(i - p.ngram, p.ngram + 1)) continue;
      uint64_t base = 100000007u * uint64_t{ids[i]};
      for (uint32_t j = 0; j < p.ngram; ++j) base += kPrimes[j] * ids[i - p.ngram + j];
      const uint32_t a = Value(base, p.key_a), b = p.dual ? Value(base, p.key_b) : 0;
      ++scored;
      sum += p.dual ? p.alpha * static_cast<double>(scores_.original[a]) + (1 - p.alpha) * static_cast<double>(scores_.original[b]) : static_cast<double>(scores_.original[a]);
      if (!index_.Add(base).second) continue;
      const ForeignDraw draw{{base, 0}, {scores_.fixed[a], p.dual ? scores_.fixed[b] : 0}};
      score.count.Add(draw);
      if (draws != nullptr) draws->push_back(draw);
    }
    score.scored = score.count.draws;
    score.log10_p = format_.Log10P(score.count);
    score.figures = {{"textseal_scored", scored}, {"textseal_score", sum}};
    return score;
  }

 private:
  const TextSeal& format_;
  const Scores& scores_;
  WindowSet seen_;
  FlatIndex index_;
};

std::unique_ptr<ForeignScorer> TextSeal::NewScorer() const { return std::make_unique<TextSealScorer>(*this); }

}  // namespace

FOREIGN_FORMAT(textseal, "dual-key gumbel of TextSeal (WatermarkConfig); gumbelmax too") {
  Parameters p;
  constexpr int64_t kMostKey = int64_t{1} << 62;
  CM_ASSIGN_OR_RETURN(const int64_t key, config.Integer("secret_key", 0, kMostKey, 42));
  CM_ASSIGN_OR_RETURN(const int64_t key_b, config.Integer("secret_key_b", -1, kMostKey, -1));
  CM_ASSIGN_OR_RETURN(p.ngram, config.Integer("ngram", 1, static_cast<int64_t>(kPrimes.size()), 1));
  CM_ASSIGN_OR_RETURN(const std::string type, config.String("watermark_type", "gumbelmax"));
  CM_ASSIGN_OR_RETURN(const std::string method, config.String("scoring_method", "v2"));
  CM_ASSIGN_OR_RETURN(p.alpha, config.Number("mixing_alpha", 0, 1, true, "from 0 to 1", 0.5));
  CM_ASSIGN_OR_RETURN(const bool routing, config.Boolean("key_routing", false));
  if (type != "textseal" && type != "gumbelmax") return config.Error("watermark_type", "must be \"textseal\" or \"gumbelmax\"; the others are not read");
  if (routing) return config.Error("key_routing", "belongs to watermark types that are not read, and must be false");
  config.Ignore({"method", "gamma", "delta", "alpha", "depth", "after_topp", "k_morphmark", "p_0", "chunk_size", "num_drafts", "base_watermark", "attenuation",
                 "attenuation_weight", "backprop_on_nonzero"});
  p.dual = type == "textseal";
  p.once = method == "v1" ? Parameters::kWindows : method == "v2" ? Parameters::kPairs : Parameters::kEvery;
  p.key_a = static_cast<uint64_t>(key);
  p.key_b = key_b >= 0 ? static_cast<uint64_t>(key_b) : p.key_a + 12345;
  if (p.dual && p.key_a == p.key_b) return config.Error("secret_key_b", "equals secret_key: two scores of one key are no two keys'");
  return std::make_unique<TextSeal>(p);
}

}  // namespace countermark
