// sglang-gumbel: SGLang's watermark configuration (--watermark-config), with one key or two.
//
// context_hash = Murmur3-32 of the last context_window tokens, prompt and text; token_hash = Murmur3-32 of (key, context_hash, token); u = (token_hash + ½)/2³². With a second
// key a coin, keyed by both, chooses for each context whose key it is. A context is scored at its first occurrence, and as SGLang marks no more than 4,096 contexts of a
// request, no more are. Without the prompt the first context_window tokens are left out.
#include <bit>
#include <cmath>

#include "countermark/detect/tails.h"
#include "src/base/status_macros.h"
#include "src/detect/foreign/gumbel_score.h"
#include "src/detect/foreign/table.h"
#include "src/detect/foreign/window_set.h"

namespace countermark {
namespace {

constexpr uint64_t kMostContexts = 4096;

uint32_t MurmurMix(uint32_t state, uint32_t word) {
  return std::rotl(state ^ std::rotl(word * 0xCC9E2D51u, 15) * 0x1B873593u, 13) * 5 + 0xE6546B64u;
}

uint32_t MurmurFinish(uint32_t state, uint32_t bytes) {
  state ^= bytes;
  state = (state ^ state >> 16) * 0x85EBCA6Bu;
  state = (state ^ state >> 13) * 0xC2B2AE35u;
  return state ^ state >> 16;
}

uint32_t Murmur(std::span<const uint32_t> words) {
  uint32_t state = 0;
  for (const uint32_t word : words) state = MurmurMix(state, word);
  return MurmurFinish(state, static_cast<uint32_t>(4 * words.size()));
}

struct Parameters {
  uint64_t key_a = 0, key_b = 0;
  bool dual = false;
  uint64_t threshold = uint64_t{1} << 31;  // of the coin: below it, key a
  uint32_t window = 4;
};

uint32_t TokenHash(uint64_t key, uint32_t context, uint32_t token) {
  const uint32_t words[] = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32), context, token};
  return Murmur(words);
}

class Sglang : public ForeignFormat {
 public:
  explicit Sglang(const Parameters& parameters) : p_(parameters) { label_ = p_.dual ? "gumbel of SGLang, two keys" : "gumbel of SGLang"; }
  std::unique_ptr<ForeignScorer> NewScorer() const override;
  double Log10P(const ForeignCount& count) const override { return Log10GammaTail(count.draws, FromFixed(count.statistic[0])); }
  const Parameters& parameters() const { return p_; }

 private:
  const Parameters p_;
};

class SglangScorer : public ForeignScorer {
 public:
  explicit SglangScorer(const Sglang& format) : format_(format) {}

  ForeignScore Score(std::span<const uint32_t> ids, std::span<const uint32_t> prompt, std::vector<ForeignDraw>* draws) override {
    const Parameters& p = format_.parameters();
    const size_t tail = std::min<size_t>(prompt.size(), p.window);
    tokens_.assign(prompt.end() - static_cast<std::ptrdiff_t>(tail), prompt.end());
    tokens_.insert(tokens_.end(), ids.begin(), ids.end());
    const size_t first = prompt.empty() ? std::min<size_t>(p.window, ids.size()) : tail;
    seen_.Begin(tokens_, std::min<size_t>(ids.size(), kMostContexts));
    // SGLang's set holds contexts; two of them with one hash, one token after both, are one draw.
    draw_ids_.Begin(std::min<size_t>(ids.size(), kMostContexts));
    ForeignScore score;
    uint64_t scored = 0;
    double sum = 0;
    for (size_t i = first; i < tokens_.size() && scored < kMostContexts; ++i) {
      const size_t length = std::min<size_t>(i, p.window);
      if (!seen_.Add(i - length, length)) continue;
      const uint32_t context = Murmur({tokens_.data() + (i - length), length});
      uint64_t key = p.key_a;
      if (p.dual) {
        const uint32_t words[] = {static_cast<uint32_t>(p.key_a), static_cast<uint32_t>(p.key_a >> 32), static_cast<uint32_t>(p.key_b), static_cast<uint32_t>(p.key_b >> 32), context};
        if (Murmur(words) >= p.threshold) key = p.key_b;
      }
      const uint32_t word = TokenHash(key, context, tokens_[i]);
      ++scored;
      sum += -std::log1p(-(static_cast<double>(word) + 0.5) / 4294967296.0);
      const ForeignDraw draw{{static_cast<uint64_t>(context) << 32 | tokens_[i], 0}, {ForeignGumbelScore(word), 0}};
      if (!draw_ids_.Add(draw.id[0]).second) continue;
      score.count.Add(draw);
      if (draws != nullptr) draws->push_back(draw);
    }
    score.scored = score.count.draws;
    score.log10_p = format_.Log10P(score.count);
    score.figures = {{"sglang_scored", scored}, {"sglang_score", sum}};
    return score;
  }

 private:
  const Sglang& format_;
  std::vector<uint32_t> tokens_;
  WindowSet seen_;
  FlatIndex draw_ids_;
};

std::unique_ptr<ForeignScorer> Sglang::NewScorer() const { return std::make_unique<SglangScorer>(*this); }

// 1 to 16 hex digits, "0x" before them allowed.
absl::StatusOr<uint64_t> Key(ConfigObject& config, std::string_view name) {
  CM_ASSIGN_OR_RETURN(const std::string text, config.String(name));
  std::string_view digits = text;
  if (digits.starts_with("0x") || digits.starts_with("0X")) digits.remove_prefix(2);
  uint64_t key = 0;
  bool valid = digits.size() >= 1 && digits.size() <= 16;
  for (const char c : digits.substr(0, 16)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    valid = valid && digit >= 0;
    key = key << 4 | static_cast<uint64_t>(digit & 15);
  }
  if (!valid) return config.Error(name, "must be 1 to 16 hexadecimal digits in a string");
  return key;
}

}  // namespace

FOREIGN_FORMAT(sglang_gumbel, "gumbel of SGLang (--watermark-config), one key or two") {
  Parameters p;
  CM_ASSIGN_OR_RETURN(p.key_a, Key(config, "key"));
  if (!config.TakeNull("key_b") && config.Has("key_b")) {
    p.dual = true;
    CM_ASSIGN_OR_RETURN(p.key_b, Key(config, "key_b"));
  }
  if (!config.TakeNull("context_window")) {
    CM_ASSIGN_OR_RETURN(p.window, config.Integer("context_window", 1, 64, 4));
  }
  if (!config.TakeNull("mixing_probability")) {
    CM_ASSIGN_OR_RETURN(const double mixing, config.Number("mixing_probability", 0, 1, false, "above 0 and below 1", 0.5));
    p.threshold = static_cast<uint64_t>(mixing * 4294967296.0);
  }
  config.Ignore({"max_probability", "default_enabled", "enforce_all"});
  return std::make_unique<Sglang>(p);
}

}  // namespace countermark
