#include "src/detect/foreign/vllm.h"

#include <openssl/sha.h>

#include <cmath>
#include <limits>
#include <vector>

#include "countermark/detect/tails.h"
#include "src/base/status_macros.h"
#include "src/detect/foreign/gumbel_score.h"
#include "src/detect/foreign/two_gamma_tail.h"
#include "src/detect/foreign/window_set.h"

namespace countermark {
namespace {

std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(b), static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(a)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// vLLM's own score of a word, in its own arithmetic.
double OriginalScore(uint32_t word) {
  const float u = static_cast<float>((static_cast<double>(word >> 8) + 1.0) / 16777217.0);
  return -std::log1p(-static_cast<double>(u));
}

struct Parameters {
  bool dual = false;
  uint64_t key[2] = {};  // a, b
  double alpha = 0;      // weight of b
  uint32_t width = 4;
  bool windows_once = true;
};

class Vllm : public ForeignFormat {
 public:
  explicit Vllm(const Parameters& parameters) : p_(parameters) { label_ = p_.dual ? "dual-key gumbel of vLLM" : "gumbel of vLLM"; }
  std::unique_ptr<ForeignScorer> NewScorer() const override;
  double Log10P(const ForeignCount& count) const override {
    const double a = FromFixed(count.statistic[0]);
    if (!p_.dual) return Log10GammaTail(count.draws, a);
    return Log10TwoGammaTail(count.draws, 1 - p_.alpha, p_.alpha, (1 - p_.alpha) * a + p_.alpha * FromFixed(count.statistic[1]));
  }
  const Parameters& parameters() const { return p_; }

 private:
  const Parameters p_;
};

class VllmScorer : public ForeignScorer {
 public:
  explicit VllmScorer(const Vllm& format) : format_(format) {}

  ForeignScore Score(std::span<const uint32_t> ids, std::span<const uint32_t>, std::vector<ForeignDraw>* draws) override {
    const Parameters& p = format_.parameters();
    padded_.assign(p.width, 0xFFFFFFFFu);
    padded_.insert(padded_.end(), ids.begin(), ids.end());
    windows_.Begin(padded_, ids.size());
    if (!p.windows_once) pairs_.Begin(padded_, ids.size());
    ForeignScore score;
    uint64_t scored = 0;
    double sum = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (p.windows_once && !windows_.Add(i, p.width)) continue;
      const std::span<const uint32_t> window(padded_.data() + i, p.width);
      const std::array<uint32_t, 4> state = VllmWindowState(p.key[0], window);
      const uint32_t word = VllmWord(p.key[0], state, ids[i]);
      const uint32_t word_b = p.dual ? VllmWord(p.key[1], VllmWindowState(p.key[1], window), ids[i]) : 0;
      ++scored;
      sum += p.dual ? OriginalScore(word) * (1 - p.alpha) + OriginalScore(word_b) * p.alpha : OriginalScore(word);
      if (!p.windows_once && !pairs_.Add(i, p.width + 1)) continue;
      // The state stands for the window: 128 bits of Philox; the token's id is spread over half of them.
      const ForeignDraw draw{{static_cast<uint64_t>(state[1]) << 32 | state[0], (static_cast<uint64_t>(state[3]) << 32 | state[2]) + ids[i] * 0x9E3779B97F4A7C15u},
                             {ForeignGumbelScore(word & 0xFFFFFF00u), p.dual ? ForeignGumbelScore(word_b & 0xFFFFFF00u) : 0}};
      score.count.Add(draw);
      if (draws != nullptr) draws->push_back(draw);
    }
    score.scored = score.count.draws;
    score.log10_p = format_.Log10P(score.count);
    score.figures = {{"vllm_scored", scored}, {"vllm_score", sum}};
    return score;
  }

 private:
  const Vllm& format_;
  std::vector<uint32_t> padded_;
  WindowSet windows_, pairs_;
};

std::unique_ptr<ForeignScorer> Vllm::NewScorer() const { return std::make_unique<VllmScorer>(*this); }

}  // namespace

std::array<uint32_t, 4> VllmWindowState(uint64_t key, std::span<const uint32_t> window) {
  std::array<uint32_t, 4> state = {0x574D4358u, static_cast<uint32_t>(window.size()), 0, 0};
  for (size_t offset = 0; offset < window.size(); offset += 4) {
    for (size_t i = 0; i < 4; ++i) state[i] ^= offset + i < window.size() ? window[offset + i] : 0xFFFFFFFFu - static_cast<uint32_t>(i);
    state = Philox(state, static_cast<uint32_t>(key) ^ static_cast<uint32_t>(offset), static_cast<uint32_t>(key >> 32));
  }
  return state;
}

uint32_t VllmWord(uint64_t key, const std::array<uint32_t, 4>& state, uint32_t token) {
  const std::array<uint32_t, 4> words = Philox({token >> 2, state[0], state[1], state[2]}, static_cast<uint32_t>(key) ^ state[3], static_cast<uint32_t>(key >> 32) ^ 0x574D544Bu);
  return words[token & 3];
}

uint64_t VllmDerivedKey(uint64_t key, std::string_view domain) {
  std::vector<uint8_t> bytes(domain.begin(), domain.end());
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(key >> shift));
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(bytes.data(), bytes.size(), digest);
  uint64_t derived = 0;
  for (int i = 0; i < 8; ++i) derived = derived << 8 | digest[i];
  return derived;
}

absl::StatusOr<std::unique_ptr<ForeignFormat>> MakeVllm(ConfigObject& config, bool dual) {
  Parameters p;
  p.dual = dual;
  CM_ASSIGN_OR_RETURN(const uint64_t key, config.Unsigned("key", 0, std::numeric_limits<uint64_t>::max()));
  CM_ASSIGN_OR_RETURN(const std::string algorithm, config.String("algorithm", "gumbel"));
  CM_ASSIGN_OR_RETURN(p.alpha, config.Number("alpha", 0, 1, true, "from 0 to 1", 0.1));
  CM_ASSIGN_OR_RETURN(p.width, config.Integer("context_width", 1, 1024, 4));
  CM_ASSIGN_OR_RETURN(const std::string deduplicate, config.String("deduplicate_contexts", "single_turn"));
  CM_ASSIGN_OR_RETURN(const std::string prf, config.String("prf", "philox"));
  config.Ignore({"deduplicate_contexts_max_history", "allow_target_only_watermarking"});
  if (algorithm != (dual ? "dual_key_gumbel" : "gumbel")) {
    return config.Error("algorithm", dual ? "must be \"dual_key_gumbel\" for vllm-dual" : "must be \"gumbel\" for vllm-gumbel; for \"dual_key_gumbel\" there is vllm-dual");
  }
  if (deduplicate != "none" && deduplicate != "single_turn" && deduplicate != "all") return config.Error("deduplicate_contexts", "must be \"none\", \"single_turn\" or \"all\"");
  if (prf != "philox") return config.Error("prf", "must be \"philox\", the only one known");
  p.windows_once = deduplicate != "none";
  p.key[0] = dual ? VllmDerivedKey(key, "key_a") : key;
  p.key[1] = dual ? VllmDerivedKey(key, "key_b") : 0;
  return std::make_unique<Vllm>(p);
}

}  // namespace countermark
