#include "src/detect/foreign/synthid.h"

#include <openssl/sha.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "countermark/detect/tails.h"
#include "src/detect/foreign/flat_index.h"
#include "src/detect/foreign/isa.h"
#include "src/detect/foreign/shift_tail.h"
#include "src/detect/foreign/torch_random.h"

namespace countermark {
namespace {

constexpr uint64_t kMultiplier = 6364136223846793005u;
constexpr uint32_t kMostSlots = 1 << 17;  // tables no larger have every slot's layers counted beforehand
constexpr double kLog10Told = -2;         // binomial tails above are given as they are

uint64_t Accumulate(uint64_t hash, uint64_t data) { return (hash + data) * kMultiplier + 1; }

// The hashes of all windows of so many tokens, from `initial` on: Horner's scheme, a power of the multiplier a token.
FOREIGN_INLINE void HashWindowsBody(const uint32_t* __restrict ids, size_t count, uint32_t length, uint64_t initial, uint64_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) out[i] = initial;
  for (uint32_t j = 0; j < length; ++j) {
    for (size_t i = 0; i < count; ++i) out[i] = (out[i] + ids[i + j]) * kMultiplier + 1;
  }
}
FOREIGN_WIDE(void, HashWindows, (const uint32_t* ids, size_t count, uint32_t length, uint64_t initial, uint64_t* out),
             HashWindowsBody(ids, count, length, initial, out));

FOREIGN_INLINE bool HoldsBody(const uint64_t* __restrict words, size_t n, uint64_t word) {
  uint64_t any = 0;
  for (size_t i = 0; i < n; ++i) any |= static_cast<uint64_t>(words[i] == word);
  return any != 0;
}
FOREIGN_WIDE(bool, Holds, (const uint64_t* words, size_t n, uint64_t word), HoldsBody(words, n, word));

// What is summed of a draw's layers.
struct Layers {
  uint16_t tested = 0, all = 0;
  float weighted = 0;
};

class SynthId : public ForeignFormat {
 public:
  explicit SynthId(SynthIdParameters parameters) : p_(std::move(parameters)) {
    const bool table = p_.table_size != 0;
    hash_ = table ? "table" : "iv";
    initial_ = table ? 1 : SynthIdInitialValue(p_.keys);
    if (table && !std::has_single_bit(p_.table_size)) {
      const auto remainder = static_cast<uint32_t>((UINT64_MAX % p_.table_size + 1) % p_.table_size);
      wrap_ = std::min(remainder, p_.table_size - remainder);
    }
    const size_t depth = p_.keys.size();
    // numpy.linspace(10, 1, depth), normalised to sum to depth.
    double sum = 0;
    for (size_t l = 0; l < depth; ++l) weights_.push_back(depth == 1 ? 10.0 : 10.0 - 9.0 * static_cast<double>(l) / static_cast<double>(depth - 1));
    sum = std::accumulate(weights_.begin(), weights_.end(), 0.0);
    for (double& weight : weights_) weight *= static_cast<double>(depth) / sum;

    std::vector<uint64_t> seen;
    for (const int64_t key : p_.keys) {
      const uint64_t residue = SlotOf(static_cast<uint64_t>(key));
      const bool fresh = std::find(seen.begin(), seen.end(), residue) == seen.end();
      if (fresh) seen.push_back(residue);
      tested_.push_back(fresh);
    }
    layers_tested_ = static_cast<uint32_t>(seen.size());
    if (!table) return;
    bits_.resize(p_.table_size);
    const std::vector<uint32_t> words = TorchWords(p_.table_seed, p_.table_size);
    for (size_t i = 0; i < bits_.size(); ++i) bits_[i] = static_cast<uint8_t>(words[i] & 1);
    ones_ = static_cast<uint32_t>(std::count(bits_.begin(), bits_.end(), 1));
    if (is_cyclic()) {
      for (uint64_t slot = 0; slot < p_.table_size; ++slot) shifted_.push_back(static_cast<uint8_t>(Bit(Accumulate(slot, 0))));
    }
    if (std::has_single_bit(p_.table_size) && p_.table_size <= kMostSlots) {
      for (uint64_t slot = 0; slot < p_.table_size; ++slot) {
        const Layers layers = Compute(slot);
        slot_all_.push_back(static_cast<uint8_t>(layers.all));
        slot_weighted_.push_back(layers.weighted);
        if (layers_tested_ < depth) slot_tested_.push_back(static_cast<uint8_t>(layers.tested));
      }
    }
  }

  std::unique_ptr<ForeignScorer> NewScorer() const override;

  // The binomial tail, which is what a text has that was not written for the table. Where it is 1e-2 or less the exact tail takes its place, so that at every level up to 1e-2
  // the claim holds whatever the text.
  double Log10P(const ForeignCount& count) const override {
    const uint64_t bits = count.draws * layers_tested_, ones = static_cast<uint64_t>(count.statistic[0]);
    if (p_.table_size == 0) return Log10BinomialTail(bits, ones, 1, 2);
    const double binomial = Log10BinomialTail(bits, ones, ones_, p_.table_size);
    return binomial > kLog10Told || count.places.empty() ? binomial : Log10ShiftTail(shifted_, count.places, layers_tested_, ones);
  }

  // Which hashes are the same draw: those that leave the same here. With a table whose size is no power of two a key moves (hash·A) mod size, taken as signed, by one of
  // two distances that 2⁶⁴ mod size lies between, as the sum wraps or not.
  uint64_t SlotOf(uint64_t hash) const {
    if (std::has_single_bit(p_.table_size)) return hash & (p_.table_size - 1);
    return p_.table_size == 0 ? hash : Remainder(static_cast<int64_t>(hash * kMultiplier));
  }
  // Whether a slot is tested: of those that could come to lie on one place of the table only one is, whatever wraps.
  bool Counts(uint64_t slot) const { return wrap_ == 0 || (slot < p_.table_size - wrap_ && slot / wrap_ % 2 == 0); }

  Layers LayersOf(uint64_t hash) const {
    if (slot_all_.empty()) return Compute(hash);
    const uint64_t slot = SlotOf(hash);
    const uint8_t all = slot_all_[slot];
    return {slot_tested_.empty() ? all : slot_tested_[slot], all, slot_weighted_[slot]};
  }
  bool has_slots() const { return !slot_all_.empty(); }
  // A key shifts all slots round by one distance.
  bool is_cyclic() const { return p_.table_size != 0 && std::has_single_bit(p_.table_size); }
  const SynthIdParameters& parameters() const { return p_; }
  uint64_t initial() const { return initial_; }

 private:
  Layers Compute(uint64_t hash) const {
    Layers layers;
    double weighted = 0;
    for (size_t l = 0; l < p_.keys.size(); ++l) {
      const uint64_t keyed = Accumulate(hash, static_cast<uint64_t>(p_.keys[l]));
      if (Bit(keyed) == 0) continue;
      layers.all += 1;
      layers.tested += tested_[l];
      weighted += weights_[l];
    }
    layers.weighted = static_cast<float>(weighted);
    return layers;
  }

  // Python's: never negative.
  uint64_t Remainder(int64_t value) const {
    const int64_t size = p_.table_size, remainder = value % size;
    return static_cast<uint64_t>(remainder < 0 ? remainder + size : remainder);
  }

  uint32_t Bit(uint64_t keyed) const {
    if (p_.table_size != 0) return bits_[Remainder(static_cast<int64_t>(keyed))];
    int64_t word = static_cast<int64_t>(keyed);
    for (int round = 0; round < 12; ++round) word = static_cast<int64_t>(Accumulate(static_cast<uint64_t>(word), 1)) >> 5;
    return static_cast<uint32_t>(word >> 30) & 1;
  }

  const SynthIdParameters p_;
  uint64_t initial_ = 1;
  uint32_t wrap_ = 0;  // 0: a power of two, or no table
  std::vector<double> weights_;
  std::vector<uint8_t> tested_;  // one a layer: not a repeat of an earlier one
  uint32_t layers_tested_ = 0;
  std::vector<uint8_t> bits_;
  std::vector<uint8_t> shifted_;  // the bit of every slot under key 0: under another key it is that of the slot so much further on
  uint32_t ones_ = 0;
  // Of every slot, apart, so that the hot ones stay in the second-level cache; tested only where it differs from all.
  std::vector<uint8_t> slot_all_, slot_tested_;
  std::vector<float> slot_weighted_;
};

class SynthIdScorer : public ForeignScorer {
 public:
  explicit SynthIdScorer(const SynthId& format) : format_(format) {}

  ForeignScore Score(std::span<const uint32_t> ids, std::span<const uint32_t>, std::vector<ForeignDraw>* draws) override {
    const SynthIdParameters& p = format_.parameters();
    const size_t ngrams = ids.size() >= p.ngram_len ? ids.size() - p.ngram_len + 1 : 0;
    static const auto hash_windows = HashWindowsChoice();
    ForeignScore score;
    uint64_t hf_scored = 0, hf_ones = 0;
    double weighted = 0;
    contexts_.resize(ngrams);
    hashes_.resize(ngrams);
    if (ngrams > 0) {
      hash_windows(ids.data(), ngrams, p.ngram_len - 1, format_.initial(), contexts_.data());
      for (size_t i = 0; i < ngrams; ++i) hashes_[i] = Accumulate(contexts_[i], ids[i + p.ngram_len - 1]);
    }
    if (format_.has_slots()) {
      seen_slots_.assign(p.table_size / 64 + 1, 0);
    } else {
      index_.Begin(ngrams);
    }
    filter_.assign(kFilterBits / 64, 0);
    const bool cyclic = format_.is_cyclic();
    for (size_t i = 0; i < ngrams; ++i) {
      const uint64_t slot = format_.SlotOf(hashes_[i]);
      const Layers layers = format_.LayersOf(hashes_[i]);
      const bool fresh = format_.Counts(slot) && Fresh(slot);
      if (fresh) {
        const ForeignDraw draw = {{slot, 0}, {layers.tested, 0}, cyclic};
        score.count.Add(draw);
        if (draws != nullptr) draws->push_back(draw);
      }
      if (!Repeated(i)) {
        ++hf_scored;
        hf_ones += layers.all;
        weighted += static_cast<double>(layers.weighted);
      }
    }
    score.scored = score.count.draws;
    score.log10_p = format_.Log10P(score.count);
    const double bits = static_cast<double>(hf_scored) * static_cast<double>(p.keys.size());
    const auto mean = [bits](double sum) { return bits > 0 ? sum / bits : 0.0; };
    score.figures = {{"ones", static_cast<uint64_t>(score.count.statistic[0])}, {"hf_scored", hf_scored}, {"hf_ones", hf_ones},
                     {"mean_g", mean(static_cast<double>(hf_ones))}, {"weighted_mean_g", mean(weighted)}};
    return score;
  }

 private:
  static constexpr uint64_t kFilterBits = 1 << 17;

  bool Fresh(uint64_t slot) {
    if (!format_.has_slots()) return index_.Add(slot).second;
    uint64_t& word = seen_slots_[slot / 64];
    const uint64_t bit = uint64_t{1} << (slot % 64);
    const bool fresh = (word & bit) == 0;
    word |= bit;
    return fresh;
  }

  // compute_context_repetition_mask: is the context among the last context_history_size hashes, which begin as zeros? A filter says no for nearly all that are not.
  bool Repeated(size_t i) {
    const uint64_t context = contexts_[i];
    const size_t history = format_.parameters().context_history_size;
    if (context == 0 && i < history) return true;
    uint64_t& word = filter_[context / 64 % (kFilterBits / 64)];
    const uint64_t bit = uint64_t{1} << (context % 64);
    const bool maybe = (word & bit) != 0;
    word |= bit;
    if (!maybe) return false;
    static const auto holds = HoldsChoice();
    // Newest first, in pieces: what repeats mostly repeats soon.
    const size_t oldest = i > history ? i - history : 0;
    for (size_t end = i; end > oldest;) {
      const size_t begin = end > oldest + 64 ? end - 64 : oldest;
      if (holds(contexts_.data() + begin, end - begin, context)) return true;
      end = begin;
    }
    return false;
  }

  const SynthId& format_;
  std::vector<uint64_t> contexts_, hashes_, seen_slots_, filter_;
  FlatIndex index_;
};

std::unique_ptr<ForeignScorer> SynthId::NewScorer() const { return std::make_unique<SynthIdScorer>(*this); }

}  // namespace

uint64_t SynthIdInitialValue(std::span<const int64_t> keys) {
  std::vector<uint8_t> bytes;
  for (const int64_t key : keys) {
    for (int b = 0; b < 8; ++b) bytes.push_back(static_cast<uint8_t>(static_cast<uint64_t>(key) >> (8 * b)));
  }
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(bytes.data(), bytes.size(), digest);
  constexpr uint64_t kModulus = (uint64_t{1} << 63) - 1;
  unsigned __int128 value = 0;
  for (const uint8_t byte : digest) value = (value << 8 | byte) % kModulus;
  return static_cast<uint64_t>(value);
}

std::unique_ptr<ForeignFormat> MakeSynthId(SynthIdParameters parameters) { return std::make_unique<SynthId>(std::move(parameters)); }

}  // namespace countermark
