#include "countermark/detect/pair_words.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "countermark/mark/chacha.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/wide.h"
#include "countermark/mark/window.h"
#include "src/mark/wide_kernels.h"

namespace countermark {
namespace {

// kLanes pairs at a time, in the compiler's own vectors of the width that each wrapper's machine has. What is inlined into a wrapper is compiled for
// its machine and for no other.
constexpr int kLanes = 16;

struct Batch {
  alignas(64) uint32_t input[4][kLanes] = {};
  alignas(64) uint32_t counter[kLanes] = {};
  uint32_t place[kLanes] = {};  // of the word in its block
};

#define COUNTERMARK_INLINE inline __attribute__((always_inline))

template <int kWidth>
struct VectorOf {
  typedef uint32_t Type __attribute__((vector_size(4 * kWidth)));
};

template <int kBits, typename V>
COUNTERMARK_INLINE void Rotate(V& x) {
  x = x << kBits | x >> (32 - kBits);
}

template <typename V>
COUNTERMARK_INLINE void Quarter(V& a, V& b, V& c, V& d) {
  a += b; d ^= a; Rotate<16>(d);
  c += d; b ^= c; Rotate<12>(b);
  a += b; d ^= a; Rotate<8>(d);
  c += d; b ^= c; Rotate<7>(b);
}

template <typename V>
COUNTERMARK_INLINE void Rounds(V s[16], int double_rounds) {
#pragma GCC unroll 1
  for (int i = 0; i < double_rounds; ++i) {
    Quarter(s[0], s[4], s[8], s[12]);
    Quarter(s[1], s[5], s[9], s[13]);
    Quarter(s[2], s[6], s[10], s[14]);
    Quarter(s[3], s[7], s[11], s[15]);
    Quarter(s[0], s[5], s[10], s[15]);
    Quarter(s[1], s[6], s[11], s[12]);
    Quarter(s[2], s[7], s[8], s[13]);
    Quarter(s[3], s[4], s[9], s[14]);
  }
}

constexpr uint32_t kConstants[4] = {0x61707865, 0x3320646E, 0x79622D32, 0x6B206574};

// out[l] = the word of place[l] in the block counter[l] of the seed of lane l's input, under the key.
template <int kWidth>
COUNTERMARK_INLINE void Words(const uint32_t key[8], const Batch& batch, uint32_t* out) {
  using V = typename VectorOf<kWidth>::Type;
  alignas(64) uint32_t block[16][kWidth];
  for (int first = 0; first < kLanes; first += kWidth) {
    V s[16], seed[8], counter;
    for (int i = 0; i < 4; ++i) s[i] = V{} + kConstants[i];
    for (int i = 0; i < 8; ++i) s[4 + i] = V{} + key[i];
    for (int i = 0; i < 4; ++i) __builtin_memcpy(&s[12 + i], &batch.input[i][first], sizeof(V));
    Rounds(s, 10);
    for (int i = 0; i < 4; ++i) {
      seed[i] = s[i];
      seed[4 + i] = s[12 + i];
    }
    __builtin_memcpy(&counter, &batch.counter[first], sizeof(V));
    for (int i = 0; i < 4; ++i) s[i] = V{} + kConstants[i];
    for (int i = 0; i < 8; ++i) s[4 + i] = seed[i];
    s[12] = counter;
    for (int i = 13; i < 16; ++i) s[i] = V{};
    Rounds(s, 4);
    for (int i = 0; i < 4; ++i) s[i] += kConstants[i];
    for (int i = 0; i < 8; ++i) s[4 + i] += seed[i];
    s[12] += counter;
    for (int i = 0; i < 16; ++i) __builtin_memcpy(block[i], &s[i], sizeof(V));
    for (int l = 0; l < kWidth; ++l) out[first + l] = block[batch.place[first + l]][l];
  }
}

using WordsFunction = void (*)(const uint32_t key[8], const Batch& batch, uint32_t* out);

void PlainWords(const uint32_t key[8], const Batch& batch, uint32_t* out) { Words<4>(key, batch, out); }
#if defined(__x86_64__)
__attribute__((target("avx2"))) void Avx2Words(const uint32_t key[8], const Batch& batch, uint32_t* out) { Words<8>(key, batch, out); }
__attribute__((target("avx512f"))) void Avx512Words(const uint32_t key[8], const Batch& batch, uint32_t* out) { Words<16>(key, batch, out); }
#endif

WordsFunction BestWords() {
#if defined(__x86_64__)
  if (std::strcmp(WideIsa(), "avx512") == 0) return Avx512Words;
  if (std::strcmp(WideIsa(), "avx2") == 0) return Avx2Words;
#endif
  return PlainWords;
}

struct WipedWords {
  explicit WipedWords(const Secret32& key) { LoadKeyWords(key.Reveal(SecretAccess()), words); }
  ~WipedWords() {
    std::memset(words, 0, sizeof words);
    __asm__ __volatile__("" : : "r"(words) : "memory");
  }
  uint32_t words[8];
};

}  // namespace

void PairWords(const PairSpan& pairs, const Secret32& key, Scheme scheme, int window, std::span<uint32_t> words) {
  static const WordsFunction function = BestWords();
  const WipedWords wiped(key);
  const uint32_t per_block = scheme == Scheme::kPartition ? 64 : 16;
  for (size_t i = 0; i < pairs.size; i += kLanes) {
    const size_t here = std::min<size_t>(kLanes, pairs.size - i);
    Batch batch;
    uint32_t out[kLanes];
    for (size_t l = 0; l < here; ++l) {
      uint32_t tokens[kMaxWindow] = {}, encoded[4];
      for (int j = 0; j < window; ++j) tokens[j] = pairs.window[j][i + l];
      EncodeWindow(scheme, tokens, window, Purpose::kMark, encoded);
      for (int j = 0; j < 4; ++j) batch.input[j][l] = encoded[j];
      batch.counter[l] = pairs.token[i + l] / per_block;
      batch.place[l] = scheme == Scheme::kPartition ? pairs.token[i + l] % 64 / 4 : pairs.token[i + l] % 16;
    }
    function(wiped.words, batch, out);
    for (size_t l = 0; l < here; ++l) {
      words[i + l] = scheme == Scheme::kPartition ? out[l] >> 8 * (pairs.token[i + l] % 4) & 255 : out[l];
    }
  }
}

void PairChannels(const PairSpan& pairs, const Secret32& route_key, Scheme scheme, int window, std::span<const uint32_t> weights,
                  std::span<uint8_t> channel) {
  if (weights.size() == 1) {
    std::fill(channel.begin(), channel.end(), uint8_t{0});
    return;
  }
  wide::ChannelKeys keys = {};
  keys.channels = static_cast<int>(weights.size());
  uint32_t sum = 0;
  for (size_t c = 0; c < weights.size(); ++c) keys.total[c] = sum += weights[c];
  LoadKeyWords(route_key.Reveal(SecretAccess()), keys.route_key);
  const wide::ScoreSpec spec = {scheme, window, 0, 0};
  for (size_t i = 0; i < pairs.size; i += wide::kBatchLimit) {
    wide::PairColumns columns = {};
    for (int j = 0; j < window; ++j) columns.window[j] = pairs.window[j] + i;
    columns.token = pairs.token + i;
    columns.n = static_cast<uint32_t>(std::min<size_t>(wide::kBatchLimit, pairs.size - i));
    wide::BestKernels().route(spec, keys, columns, &channel[i]);
  }
  std::memset(&keys, 0, sizeof keys);
  __asm__ __volatile__("" : : "r"(&keys) : "memory");
}

void ScoresOfWords(std::span<const uint32_t> words, const MarkParameters& parameters, std::span<uint64_t> scores) {
  switch (parameters.scheme) {
    case Scheme::kPartition:
      for (size_t i = 0; i < words.size(); ++i) scores[i] = words[i] < static_cast<uint32_t>(parameters.green);
      return;
    case Scheme::kTournament: {
      const uint32_t mask = parameters.layers >= 32 ? 0xFFFFFFFF : (1u << parameters.layers) - 1;
      for (size_t i = 0; i < words.size(); ++i) scores[i] = static_cast<uint64_t>(std::popcount(words[i] & mask));
      return;
    }
    case Scheme::kGumbel:
      wide::BestKernels().gumbel_scores(words.data(), static_cast<uint32_t>(words.size()), scores.data());
      return;
  }
}

TopHits TopHits::Of(const MarkParameters& parameters) {
  TopHits hits;
  hits.parameters = parameters;
  if (parameters.scheme == Scheme::kPartition) {
    hits.levels = 1;
    hits.threshold[0] = static_cast<uint32_t>(parameters.green);
    hits.numerator[0] = static_cast<uint32_t>(parameters.green) << 23;
    return hits;
  }
  if (parameters.scheme == Scheme::kGumbel) {
    hits.levels = kMost;
    for (int j = 1; j <= kMost; ++j) {
      hits.threshold[j - 1] = static_cast<uint32_t>((uint64_t{1} << 32) - (uint64_t{1} << (32 - j)));
      hits.numerator[j - 1] = kDenominator >> j;
    }
    return hits;
  }
  // tail = the number of words of m bits, of 2^m, with t set bits or more.
  const int m = parameters.layers;
  uint64_t tail = 0, choose = 1;  // C(m, t) from t = m down
  for (int t = m, j = kMost; t >= 0 && j >= 1; --t) {
    const uint64_t next = tail + choose;
    choose = choose * static_cast<uint64_t>(t) / static_cast<uint64_t>(m - t + 1);
    // The last t before the chance goes beyond 2^−j is the threshold of level j.
    for (; j >= 1 && next > (uint64_t{1} << m) >> j; --j) {
      if (tail == 0 || (hits.levels > 0 && hits.threshold[hits.levels - 1] == static_cast<uint32_t>(t + 1))) continue;
      hits.threshold[hits.levels] = static_cast<uint32_t>(t + 1);
      const int shift = m - 31;
      hits.numerator[hits.levels] = static_cast<uint32_t>(shift <= 0 ? tail << -shift : (tail + (uint64_t{1} << shift) - 1) >> shift);
      ++hits.levels;
    }
    tail = next;
  }
  if (hits.levels == 0) {  // one layer: the bit itself
    hits.levels = 1;
    hits.threshold[0] = 1;
    hits.numerator[0] = kDenominator >> 1;
  }
  return hits;
}

void TopHits::Count(std::span<const uint32_t> words, uint64_t counts[kMost]) const {
  const uint32_t mask = parameters.layers >= 32 ? 0xFFFFFFFF : (1u << parameters.layers) - 1;
  for (int j = 0; j < levels; ++j) {
    uint64_t count = 0;
    switch (parameters.scheme) {
      case Scheme::kPartition:
        for (const uint32_t word : words) count += word < threshold[j];
        break;
      case Scheme::kTournament:
        for (const uint32_t word : words) count += static_cast<uint32_t>(std::popcount(word & mask)) >= threshold[j];
        break;
      case Scheme::kGumbel:
        for (const uint32_t word : words) count += word >= threshold[j];
        break;
    }
    counts[j] += count;
  }
}

}  // namespace countermark
