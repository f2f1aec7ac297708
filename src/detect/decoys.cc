#include "countermark/detect/decoys.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>

#include "countermark/detect/tails.h"
#include "countermark/keys/derive.h"

namespace countermark {

DecoySeed DrawDecoySeed() {
  const Secret32 fresh = Secret32::Random();
  DecoySeed seed;
  std::memcpy(seed.data(), fresh.Reveal(SecretAccess()), seed.size());  // a secret no longer: it is printed
  return seed;
}

std::vector<Secret32> DecoyKeys(const DecoySeed& seed, uint64_t first, size_t count) {
  const Secret32 parent{std::span<const uint8_t, Secret32::kSize>(seed)};
  std::vector<Secret32> keys;
  keys.reserve(count);
  for (uint64_t i = first; i < first + count; ++i) keys.push_back(DeriveKey(parent, {"decoy", std::to_string(i)}));
  return keys;
}

uint64_t DecoyControl::rank() const {
  return 1 + static_cast<uint64_t>(std::count_if(log10_p.begin(), log10_p.end(), [this](double p) { return p <= real_log10_p; }));
}

DecoyControl RunDecoys(const PairSet& pairs, std::span<const uint32_t> which, std::span<const uint64_t> scores, const DecoySeed& seed, size_t decoys, const MarkParameters& parameters, int threads,
                       uint64_t most_scores) {
  DecoyControl control;
  control.seed = seed;
  control.pairs = which.size();
  if (decoys > 0 && control.pairs > most_scores / decoys) {
    control.pairs = std::max<uint64_t>(most_scores / decoys, 1);
    control.all_pairs = false;
  }
  which = which.first(control.pairs);
  control.real.scored = control.pairs;
  for (const uint64_t score : scores.first(control.pairs)) control.real.statistic += score;
  control.real_log10_p = Log10P(control.real, parameters);

  control.log10_p.resize(decoys);
  const size_t wanted = threads > 0 ? static_cast<size_t>(threads) : std::max<size_t>(std::thread::hardware_concurrency(), 1);
  const size_t count = std::clamp<size_t>(wanted, 1, decoys / 64 + 1);
  std::vector<std::thread> workers;
  for (size_t t = 0; t < count; ++t) {
    workers.emplace_back([&, t] {
      const size_t begin = decoys * t / count, end = decoys * (t + 1) / count;
      const std::vector<Secret32> keys = DecoyKeys(seed, begin, end - begin);
      const std::vector<ChannelCount> counts = ScoreCandidates(pairs, which, keys, parameters);
      for (size_t i = begin; i < end; ++i) control.log10_p[i] = Log10P(counts[i - begin], parameters);
    });
  }
  for (std::thread& worker : workers) worker.join();
  return control;
}

}  // namespace countermark
