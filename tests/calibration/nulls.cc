#include "tests/calibration/nulls.h"

#include <algorithm>
#include <cmath>

#include "countermark/detect/detector.h"
#include "countermark/detect/pairs.h"
#include "countermark/detect/tails.h"
#include "tests/calibration/blocks.h"

namespace countermark::calibration {
namespace {

constexpr uint64_t kBlock = 1024;

const std::array<double, kAlphas.size()>& LogAlphas() {
  static const std::array<double, kAlphas.size()> logs = [] {
    std::array<double, kAlphas.size()> made;
    for (size_t i = 0; i < kAlphas.size(); ++i) made[i] = std::log10(kAlphas[i]);
    return made;
  }();
  return logs;
}

// Uniform under the null whatever the lattice: between P(> statistic) and P(≥ statistic).
double RandomisedP(const ChannelCount& count, double log10_p, const MarkParameters& mark, double uniform) {
  const double p = std::pow(10, log10_p);
  if (count.scored == 0) return uniform;  // the one outcome there is
  if (mark.scheme == Scheme::kGumbel) return p;
  ChannelCount next = count;
  ++next.statistic;
  const double beyond = PossibleCount(next, mark) ? std::pow(10, Log10P(next, mark)) : 0;
  return beyond + uniform * (p - beyond);
}

}  // namespace

double NullTally::Expected(const AttainedLevels& levels, double alpha) const {
  double sum = 0;
  for (size_t n = 0; n < with_pairs.size(); ++n) {
    if (with_pairs[n] > 0) sum += static_cast<double>(with_pairs[n]) * levels.At(n, alpha);
  }
  return sum;
}

void NullTally::Count(uint64_t pairs, double log10_p) {
  ++passages;
  if (with_pairs.size() <= pairs) with_pairs.resize(pairs + 1);
  ++with_pairs[pairs];
  for (size_t i = 0; i < kAlphas.size() && log10_p <= LogAlphas()[i]; ++i) ++hits[i];
}

void NullTally::Merge(const NullTally& other) {
  passages += other.passages;
  with_pairs.resize(std::max(with_pairs.size(), other.with_pairs.size()));
  for (size_t n = 0; n < other.with_pairs.size(); ++n) with_pairs[n] += other.with_pairs[n];
  for (size_t i = 0; i < kAlphas.size(); ++i) hits[i] += other.hits[i];
  uniform.resize(std::max(uniform.size(), other.uniform.size()));
  for (size_t k = 0; k < other.uniform.size(); ++k) uniform[k].insert(uniform[k].end(), other.uniform[k].begin(), other.uniform[k].end());
  e_values += other.e_values;
  for (size_t i = 0; i < kAlphas.size(); ++i) e_hits[i] += other.e_hits[i];
  capped_e_sum += other.capped_e_sum;
}

Source::Source(uint64_t seed, uint64_t block) {
  std::seed_seq words{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32)};
  random_.seed(words);
}

Secret32 Source::Key() {
  std::array<uint8_t, Secret32::kSize> bytes;
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t word = random_();
    for (size_t j = 0; j < 8; ++j) bytes[i + j] = static_cast<uint8_t>(word >> (8 * j));
  }
  return Secret32(bytes);
}

std::span<const uint32_t> Source::Passage(const Kind& kind) {
  return std::span(kind.ids).subspan(random_() % (kind.ids.size() - kPassageTokens + 1), kPassageTokens);
}

double Source::Uniform() { return 0x1p-53 * static_cast<double>(random_() >> 11); }

NullTally RunNulls(const std::vector<Kind>& corpus, const NullOptions& options) {
  const uint64_t blocks = (options.passages + kBlock - 1) / kBlock;
  const auto work = [&](uint64_t block, NullTally& tally) {
    Source source(options.seed, block);
    Source fixed(options.seed, ~uint64_t{0});
    tally.uniform.resize(corpus.size());
    PairSet pairs(options.mark.window);
    pairs.KeepRepeatsForCalibration(options.keep_repeats);
    const uint64_t end = std::min(options.passages, (block + 1) * kBlock);
    Secret32 route = fixed.Key();
    std::vector<Secret32> keys;
    for (size_t c = 0; c < options.weights.size(); ++c) keys.push_back(fixed.Key());
    for (uint64_t i = block * kBlock; i < end; ++i) {
      const size_t kind = i % corpus.size();
      pairs.Clear();
      pairs.Add(source.Passage(corpus[kind]));
      if (!options.fixed_key) {
        if (keys.size() > 1) route = source.Key();
        for (Secret32& key : keys) key = source.Key();
      }
      const ChannelCount count = ScoreAllChannels(pairs, route, keys, options.weights, options.mark)[0];
      const double log10_p = Log10P(count, options.mark);
      tally.Count(count.scored, log10_p);
      if (options.uniform_every == 0 || i / corpus.size() % options.uniform_every != 0) continue;
      tally.uniform[kind].push_back(RandomisedP(count, log10_p, options.mark, source.Uniform()));
      const double log10_e = Log10E(count, options.mark);
      ++tally.e_values;
      for (size_t a = 0; a < kAlphas.size() && -log10_e <= LogAlphas()[a]; ++a) ++tally.e_hits[a];
      tally.capped_e_sum += std::min(kCap, std::pow(10, log10_e));
    }
  };
  NullTally sum;
  for (const NullTally& tally : InBlocks<NullTally>(blocks, options.threads, work)) sum.Merge(tally);
  return sum;
}

}  // namespace countermark::calibration
