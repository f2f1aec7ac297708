// The detector's counts in the plainest form: sets of vectors and the format's scalar headers, one pair at a time. Like reference.py.
#ifndef COUNTERMARK_TESTS_DETECT_PAIRS_NAIVE_H_
#define COUNTERMARK_TESTS_DETECT_PAIRS_NAIVE_H_

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "countermark/detect/pairs.h"
#include "countermark/mark/chacha.h"
#include "countermark/mark/channel.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/tournament.h"

namespace countermark {

using NaivePair = std::vector<uint32_t>;  // the window, then the token

struct NaivePairs {
  explicit NaivePairs(int h) : window(h) {}
  int window;
  bool keep_repeats = false;
  std::vector<NaivePair> pairs;
  std::set<NaivePair> seen;
  std::set<NaivePair> excluded;

  void Exclude(std::span<const uint32_t> prompt) {
    const size_t h = static_cast<size_t>(window);
    for (size_t i = 0; i + h <= prompt.size(); ++i) {
      excluded.insert(NaivePair(prompt.begin() + static_cast<ptrdiff_t>(i), prompt.begin() + static_cast<ptrdiff_t>(i + h)));
    }
  }
  size_t Add(std::span<const uint32_t> ids) {
    const size_t h = static_cast<size_t>(window), before = pairs.size();
    for (size_t i = h; i < ids.size(); ++i) {
      const NaivePair pair(ids.begin() + static_cast<ptrdiff_t>(i - h), ids.begin() + static_cast<ptrdiff_t>(i + 1));
      bool usable = true;
      for (uint32_t t : pair) usable = usable && t < kTokenLimit;
      if (!usable || excluded.contains(NaivePair(pair.begin(), pair.end() - 1))) continue;
      if (!keep_repeats && !seen.insert(pair).second) continue;
      pairs.push_back(pair);
    }
    return pairs.size() - before;
  }
};

inline std::vector<NaivePair> PairsOf(const PairSet& set) {
  std::vector<NaivePair> pairs(set.size());
  for (size_t i = 0; i < set.size(); ++i) {
    for (int j = 0; j < set.window(); ++j) pairs[i].push_back(set.window_token(j)[i]);
    pairs[i].push_back(set.token()[i]);
  }
  return pairs;
}

inline int NaiveChannel(const NaivePair& pair, const Secret32& route_key, Scheme scheme, std::span<const uint32_t> weights) {
  uint32_t key[8];
  LoadKeyWords(route_key.Reveal(SecretAccess()), key);
  return RouteWindow(key, scheme, pair.data(), static_cast<int>(pair.size()) - 1, weights.data(), static_cast<int>(weights.size()));
}

inline uint64_t NaiveScore(const NaivePair& pair, const Secret32& secret, const MarkParameters& mark) {
  uint32_t key[8], seed[8];
  LoadKeyWords(secret.Reveal(SecretAccess()), key);
  MarkSeed(key, mark.scheme, pair.data(), mark.window, seed);
  switch (mark.scheme) {
    case Scheme::kPartition: return IsGreen(ByteOf(seed, pair.back()), static_cast<uint32_t>(mark.green));
    case Scheme::kTournament: return TournamentScore(WordOf(seed, pair.back()), mark.layers);
    case Scheme::kGumbel: break;
  }
  return GumbelScore(WordOf(seed, pair.back()));
}

}  // namespace countermark

#endif  // COUNTERMARK_TESTS_DETECT_PAIRS_NAIVE_H_
