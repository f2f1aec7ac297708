#include "src/detect/foreign/kgw.h"

#include <algorithm>
#include <limits>

#include "countermark/detect/tails.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/detect/foreign/flat_index.h"
#include "src/detect/foreign/green_lists.h"
#include "src/detect/foreign/torch_random.h"

namespace countermark {
namespace {

constexpr uint32_t kTableSize = 1000003;  // of selfhash's fixed table

struct Parameters {
  bool selfhash = false;
  uint32_t vocabulary = 0, green = 0;
  uint64_t key = 0;
  uint32_t context_width = 1;
  int64_t bos = -1;                 // stripped from a text's front, as WatermarkDetector does
  std::vector<uint32_t> table;      // selfhash: entry + 1 for every id
};

// What manual_seed(seed % (2⁶⁴ − 1)) leaves of a seed: its low 32 bits after the remainder.
uint32_t LowBits(unsigned __int128 seed) { return static_cast<uint32_t>(seed % std::numeric_limits<uint64_t>::max()); }
// The same of torch's signed 64-bit product, whose remainder Python takes upwards.
uint32_t LowBits(int64_t seed) {
  if (seed >= 0) return LowBits(static_cast<unsigned __int128>(seed));
  const uint64_t magnitude = 0 - static_cast<uint64_t>(seed);
  return static_cast<uint32_t>(std::numeric_limits<uint64_t>::max() - magnitude);
}

class Kgw : public ForeignFormat {
 public:
  explicit Kgw(Parameters parameters) : parameters_(std::move(parameters)), lists_(parameters_.vocabulary, parameters_.green) {
    label_ = parameters_.selfhash ? "KGW selfhash of transformers" : "KGW lefthash of transformers";
  }

  std::unique_ptr<ForeignScorer> NewScorer() const override;

  double Log10P(const ForeignCount& count) const override {
    return Log10BinomialTail(count.draws, static_cast<uint64_t>(count.statistic[0]), parameters_.green, parameters_.vocabulary);
  }

  const Parameters& parameters() const { return parameters_; }
  GreenLists& lists() const { return lists_; }

 private:
  const Parameters parameters_;
  mutable GreenLists lists_;  // it keeps lists; safe on several threads
};

class KgwScorer : public ForeignScorer {
 public:
  explicit KgwScorer(const Kgw& format) : format_(format), scanner_(format.lists()) {}

  ForeignScore Score(std::span<const uint32_t> ids, std::span<const uint32_t>, std::vector<ForeignDraw>* draws) override {
    const Parameters& p = format_.parameters();
    if (p.bos >= 0 && !ids.empty() && ids[0] == static_cast<uint64_t>(p.bos)) ids = ids.subspan(1);
    // The first position that has a pair, and the first that transformers counts.
    const size_t first = p.selfhash ? p.context_width - 1 : 1;
    const size_t hf_first = p.selfhash ? p.context_width - 1 : p.context_width;
    // Its detector wants one token more than context_width.
    const bool hf_counts = ids.size() > p.context_width;

    distinct_.clear();
    times_.clear();
    index_.Begin(ids.size());
    for (size_t i = first; i < ids.size(); ++i) {
      const uint32_t left = p.selfhash ? SelfSeed(ids.subspan(i + 1 - p.context_width, p.context_width)) : ids[i - 1];
      const auto [number, fresh] = index_.Add(static_cast<uint64_t>(left) << 32 | ids[i]);
      if (fresh) {
        distinct_.push_back({p.selfhash ? left : LowBits(static_cast<unsigned __int128>(p.key) * left), left, ids[i]});
        times_.push_back(0);
      }
      times_[number] += hf_counts && i >= hf_first;
    }
    green_.resize(distinct_.size());
    for (size_t i = 0; i < distinct_.size(); ++i) scanner_.Ask(distinct_[i].seed, distinct_[i].token, &green_[i]);
    scanner_.Answer();

    ForeignScore score;
    uint64_t hits = 0, hf_scored = 0, hf_hits = 0, keyless = 0, keyless_hits = 0;
    draw_ids_.Begin(distinct_.size());
    for (size_t i = 0; i < distinct_.size(); ++i) {
      const Pair& pair = distinct_[i];
      hits += green_[i];
      hf_scored += times_[i];
      hf_hits += times_[i] * green_[i];
      if (!p.selfhash && pair.left == 0) {  // hashing_key · 0: the same list under every key, which no key has drawn
        ++keyless;
        keyless_hits += green_[i];
        continue;
      }
      const uint64_t id = static_cast<uint64_t>(pair.seed) << 32 | pair.token;
      if (!draw_ids_.Add(id).second) continue;  // two previous tokens, one seed: keys with many trailing zeros
      const ForeignDraw draw{{id, 0}, {green_[i], 0}};
      score.count.Add(draw);
      if (draws != nullptr) draws->push_back(draw);
    }
    score.scored = distinct_.size();
    score.log10_p = format_.Log10P(score.count);
    score.figures = {{"hits", hits}, {"hf_scored", hf_scored}, {"hf_hits", hf_hits}};
    if (keyless > 0) {
      score.figures.push_back({"keyless", keyless});
      score.figures.push_back({"keyless_hits", keyless_hits});
    }
    return score;
  }

 private:
  struct Pair {
    uint32_t seed, left, token;  // left: the previous token; selfhash: the seed again
  };

  // (hash_key · a · b).min() over the window, b of its last token, in torch's wrapping 64 bits.
  uint32_t SelfSeed(std::span<const uint32_t> window) const {
    const Parameters& p = format_.parameters();
    const uint64_t b = p.table[window.back()];
    int64_t least = std::numeric_limits<int64_t>::max();
    for (const uint32_t id : window) least = std::min(least, static_cast<int64_t>(p.key * p.table[id] * b));
    return LowBits(least);
  }

  const Kgw& format_;
  GreenLists::Scanner scanner_;
  FlatIndex index_, draw_ids_;
  std::vector<Pair> distinct_;
  std::vector<uint32_t> times_;
  std::vector<uint8_t> green_;
};

std::unique_ptr<ForeignScorer> Kgw::NewScorer() const { return std::make_unique<KgwScorer>(*this); }

}  // namespace

absl::StatusOr<std::unique_ptr<ForeignFormat>> MakeKgw(ConfigObject& config, bool selfhash) {
  Parameters p;
  p.selfhash = selfhash;
  CM_ASSIGN_OR_RETURN(const double ratio, config.Number("greenlist_ratio", 0, 1, false, "above 0 and below 1", 0.25));
  CM_ASSIGN_OR_RETURN(p.key, config.Unsigned("hashing_key", 1, std::numeric_limits<int64_t>::max(), 15485863));
  CM_ASSIGN_OR_RETURN(const std::string scheme, config.String("seeding_scheme", "lefthash"));
  CM_ASSIGN_OR_RETURN(const int64_t width, config.Integer("context_width", 1, 1024, 1));
  CM_ASSIGN_OR_RETURN(p.bos, config.Integer("bos_token_id", 0, (int64_t{1} << 31) - 1, -1));
  CM_ASSIGN_OR_RETURN(const int64_t vocabulary, config.Integer("vocab_size", 1, 1 << 26));
  config.Ignore({"bias"});
  if (scheme != (selfhash ? "selfhash" : "lefthash")) {
    return config.Error("seeding_scheme", selfhash ? "must be \"selfhash\" for hf-kgw-selfhash" : "must be \"lefthash\" for hf-kgw; for \"selfhash\" there is hf-kgw-selfhash");
  }
  p.context_width = static_cast<uint32_t>(width);
  p.vocabulary = static_cast<uint32_t>(vocabulary);
  p.green = static_cast<uint32_t>(static_cast<double>(vocabulary) * ratio);
  if (p.green == 0) return config.Error("greenlist_ratio", "leaves no token of this vocabulary green");
  if (!selfhash && static_cast<uint32_t>(p.key) == 0) return config.Error("hashing_key", "its low 32 bits are 0, so that every previous token gets one and the same green list");
  if (selfhash) {
    const std::vector<uint32_t> permutation = TorchPermutation(static_cast<uint32_t>(p.key), kTableSize);
    p.table.resize(p.vocabulary);
    for (uint32_t id = 0; id < p.vocabulary; ++id) p.table[id] = permutation[id % kTableSize] + 1;
  }
  return std::make_unique<Kgw>(std::move(p));
}

}  // namespace countermark
