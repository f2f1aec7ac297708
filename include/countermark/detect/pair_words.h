// The pseudorandom word, and the score, of each of many pairs under one key: what the sums of pairs.h are sums of.
//
//   std::vector<uint32_t> words(n);
//   PairWords(columns, key, parameters.scheme, words);           // partition: the byte
//   std::vector<uint64_t> scores(n);
//   ScoresOfWords(words, parameters, scores);                    // green 0/1, set bits, ⌊−ln(1 − word/2³²)·2⁴⁰⌋
//   TopHits hits = TopHits::Of(parameters);
//   hits.Count(words, counts);                                   // pairs whose score is high, against chances known exactly
#ifndef COUNTERMARK_DETECT_PAIR_WORDS_H_
#define COUNTERMARK_DETECT_PAIR_WORDS_H_

#include <cstdint>
#include <span>

#include "countermark/keys/secret.h"
#include "countermark/mark/scheme.h"

namespace countermark {

// Pairs in columns: window[j][i] is token j of the window of pair i, oldest first, j < h; token[i] what follows it. All below kTokenLimit.
struct PairSpan {
  const uint32_t* window[kMaxWindow] = {};
  const uint32_t* token = nullptr;
  size_t size = 0;
};

// words[i] = WordOf(seed of pair i's window, token i); for partition ByteOf. words.size() == pairs.size. As mark-format.md has them; AVX-512 or AVX2
// where the machine has it (COUNTERMARK_ISA caps the choice).
void PairWords(const PairSpan& pairs, const Secret32& key, Scheme scheme, int window, std::span<uint32_t> words);

// The channel of each pair, as RoutePairs gives them.
void PairChannels(const PairSpan& pairs, const Secret32& route_key, Scheme scheme, int window, std::span<const uint32_t> weights,
                  std::span<uint8_t> channel);

// The exact integer scores of mark-format.md, section 9.
void ScoresOfWords(std::span<const uint32_t> words, const MarkParameters& parameters, std::span<uint64_t> scores);

// "A pair scores in the top such share": hits whose chance under the null is known exactly or bounded from above, at a few levels.
//   gumbel      word ≥ 2³² − 2^(32−j), j = 1 … 4: chance 2^−j, exactly (the score rises with the word)
//   tournament  at least t_j set bits, t_j the least with P(Binomial(m, 1/2) ≥ t_j) ≤ 2^−j, j = 1 … 4; levels that coincide are left out
//   partition   green: chance G/256, the one level
// numerator/2³¹ is the chance, rounded up.
struct TopHits {
  static constexpr int kMost = 4;
  static constexpr uint32_t kDenominator = 1u << 31;
  int levels = 0;
  uint32_t threshold[kMost] = {};  // gumbel: of the word; tournament: of the bits; partition: the byte is below it
  uint32_t numerator[kMost] = {};
  MarkParameters parameters;

  static TopHits Of(const MarkParameters& parameters);
  // counts[j] += how many of the words hit level j.
  void Count(std::span<const uint32_t> words, uint64_t counts[kMost]) const;
};

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_PAIR_WORDS_H_
