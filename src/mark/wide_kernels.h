// What an instruction set must offer: the row forms of wide.h, and the batches of pairs that the detector scores. Internal.
//
// Included by files that are compiled for different machines: plain data and declarations only, no inline function.
#ifndef COUNTERMARK_SRC_MARK_WIDE_KERNELS_H_
#define COUNTERMARK_SRC_MARK_WIDE_KERNELS_H_

#include <cstdint>

#include "countermark/mark/scheme.h"

namespace countermark::wide {

// The most pairs in one call: lanes then sum scores below 2⁴⁵ in 64 bits.
inline constexpr uint32_t kBatchLimit = 65536;

// Pairs as columns. window[j] for j < h; the rest unused.
struct PairColumns {
  const uint32_t* window[kMaxWindow];
  const uint32_t* token;
  uint32_t n;
};

struct ScoreSpec {
  Scheme scheme;
  int window;           // h
  uint32_t green;       // partition: green ⇔ byte < green
  uint32_t layer_mask;  // tournament: the low m bits
};

// The channels that share the pairs, and the keys of each. key[j][c] is word j of channel c's key.
struct ChannelKeys {
  int channels;
  uint32_t total[kMaxChannels];  // total[c] = w_0 + … + w_c, at most 65536; the last is not read
  uint32_t route_key[8];         // not read with one channel
  alignas(64) uint32_t key[8][16];
};

struct BatchCount {
  uint64_t scored[kMaxChannels];
  uint64_t statistic[kMaxChannels];
};

// A pair as every key's function sees it: the encoded window, the block and the place of the token in it.
struct EncodedPair {
  uint32_t input[4];
  uint32_t counter;
  uint16_t place;       // word in the block, or byte for partition
  uint16_t new_window;  // 0: the window of the pair before, whose seeds may be used again
};

struct Kernels {
  const char* name;
  uint32_t lanes;
  // Bytes first … first + n − 1 of the seed's key stream, blocks from 0 on.
  void (*stream)(const uint32_t seed[8], uint64_t first, uint64_t n, uint8_t* out);
  void (*words_at)(const uint32_t seed[8], const uint32_t* tokens, uint32_t n, uint32_t* words);
  void (*bytes_at)(const uint32_t seed[8], const uint32_t* tokens, uint32_t n, uint8_t* bytes);
  // channel[i] of pair i. At least two channels.
  void (*route)(const ScoreSpec& spec, const ChannelKeys& keys, const PairColumns& pairs, uint8_t* channel);
  // Routes and scores at once; *count is overwritten.
  void (*score)(const ScoreSpec& spec, const ChannelKeys& keys, const PairColumns& pairs, BatchCount* count);
  // statistic[k] of all n pairs under key k = 0 … lanes − 1, word j of key k at key_words[lanes·j + k]. The first pair has new_window set.
  void (*score_keys)(const ScoreSpec& spec, const uint32_t* key_words, const EncodedPair* pairs, uint32_t n, uint64_t* statistic);
  // scores[i] = GumbelScore(words[i]).
  void (*gumbel_scores)(const uint32_t* words, uint32_t n, uint64_t* scores);
};

extern const Kernels kScalarKernels;
extern const Kernels kAvx2Kernels;    // x86-64 alone
extern const Kernels kAvx512Kernels;  // x86-64 alone

// The kernels of that name, or null where this machine (or build) has not got them. For tests and benchmarks.
const Kernels* KernelsNamed(const char* name);
// The widest this machine has under the cap of COUNTERMARK_ISA.
const Kernels& BestKernels();

// GumbelScore(word), compiled for every machine: what the wide score asks where a double cannot decide.
uint64_t ExactGumbelScore(uint32_t word);

}  // namespace countermark::wide

#endif  // COUNTERMARK_SRC_MARK_WIDE_KERNELS_H_
