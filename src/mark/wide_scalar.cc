// The kernels in plain C++, from the format's own headers: for every machine, and what the wide ones must equal.
#include <bit>
#include <cstring>

#include "countermark/mark/chacha.h"
#include "countermark/mark/channel.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/tournament.h"
#include "countermark/mark/window.h"
#include "src/mark/wide_kernels.h"

namespace countermark::wide {
namespace {

static_assert(std::endian::native == std::endian::little, "the rows are copied as the key stream's little-endian bytes");

uint8_t ByteOfBlock(const uint32_t block[16], uint32_t i) { return static_cast<uint8_t>(block[i / 4] >> (8 * (i % 4))); }

void Stream(const uint32_t seed[8], uint64_t first, uint64_t n, uint8_t* out) {
  uint32_t block[16];
  while (n > 0) {
    const uint32_t skip = static_cast<uint32_t>(first % 64);
    const uint64_t take = n < 64 - skip ? n : 64 - skip;
    ChaCha8Block(seed, static_cast<uint32_t>(first / 64), block);
    std::memcpy(out, reinterpret_cast<const uint8_t*>(block) + skip, take);
    out += take;
    first += take;
    n -= take;
  }
}

void WordsAt(const uint32_t seed[8], const uint32_t* tokens, uint32_t n, uint32_t* words) {
  uint32_t block[16];
  uint32_t have = UINT32_MAX;  // no block has this counter: token / 16 is below 2²⁸
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t token = tokens[i];
    if (token / 16 != have) {
      have = token / 16;
      ChaCha8Block(seed, have, block);
    }
    words[i] = block[token % 16];
  }
}

void BytesAt(const uint32_t seed[8], const uint32_t* tokens, uint32_t n, uint8_t* bytes) {
  uint32_t block[16];
  uint32_t have = UINT32_MAX;
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t token = tokens[i];
    if (token / 64 != have) {
      have = token / 64;
      ChaCha8Block(seed, have, block);
    }
    bytes[i] = ByteOfBlock(block, token % 64);
  }
}

uint64_t ScoreOfBlock(const ScoreSpec& spec, const uint32_t block[16], uint32_t place) {
  switch (spec.scheme) {
    case Scheme::kPartition: return IsGreen(ByteOfBlock(block, place), spec.green);
    case Scheme::kTournament: return TournamentScore(block[place] & spec.layer_mask, kMaxLayers);
    case Scheme::kGumbel: break;
  }
  return GumbelScore(block[place]);
}

uint32_t TokensPerBlock(const ScoreSpec& spec) { return spec.scheme == Scheme::kPartition ? 64 : 16; }

void WindowOf(const ScoreSpec& spec, const PairColumns& pairs, uint32_t i, uint32_t window[kMaxWindow]) {
  for (int j = 0; j < spec.window; ++j) window[j] = pairs.window[j][i];
}

int ChannelOfWindow(const ScoreSpec& spec, const ChannelKeys& keys, const uint32_t* window) {
  if (keys.channels == 1) return 0;
  uint32_t input[4], out[8];
  EncodeWindow(spec.scheme, window, spec.window, Purpose::kRoute, input);
  HChaCha20(keys.route_key, input, out);
  int c = 0;
  while (c + 1 < keys.channels && out[0] >> 16 >= keys.total[c]) ++c;
  return c;
}

void Route(const ScoreSpec& spec, const ChannelKeys& keys, const PairColumns& pairs, uint8_t* channel) {
  uint32_t window[kMaxWindow];
  for (uint32_t i = 0; i < pairs.n; ++i) {
    WindowOf(spec, pairs, i, window);
    channel[i] = static_cast<uint8_t>(ChannelOfWindow(spec, keys, window));
  }
}

void Score(const ScoreSpec& spec, const ChannelKeys& keys, const PairColumns& pairs, BatchCount* count) {
  *count = {};
  const uint32_t per_block = TokensPerBlock(spec);
  uint32_t window[kMaxWindow], key[8], seed[8], block[16];
  for (uint32_t i = 0; i < pairs.n; ++i) {
    WindowOf(spec, pairs, i, window);
    const int c = ChannelOfWindow(spec, keys, window);
    for (int j = 0; j < 8; ++j) key[j] = keys.key[j][c];
    MarkSeed(key, spec.scheme, window, spec.window, seed);
    ChaCha8Block(seed, pairs.token[i] / per_block, block);
    ++count->scored[c];
    count->statistic[c] += ScoreOfBlock(spec, block, pairs.token[i] % per_block);
  }
}

constexpr uint32_t kScalarLanes = 1;

void ScoreKeys(const ScoreSpec& spec, const uint32_t* key_words, const EncodedPair* pairs, uint32_t n, uint64_t* statistic) {
  uint32_t seed[8], block[16];
  uint64_t sum = 0;
  for (uint32_t i = 0; i < n; ++i) {
    if (pairs[i].new_window) HChaCha20(key_words, pairs[i].input, seed);
    ChaCha8Block(seed, pairs[i].counter, block);
    sum += ScoreOfBlock(spec, block, pairs[i].place);
  }
  *statistic = sum;
}

void GumbelScores(const uint32_t* words, uint32_t n, uint64_t* scores) {
  for (uint32_t i = 0; i < n; ++i) scores[i] = GumbelScore(words[i]);
}

}  // namespace

uint64_t ExactGumbelScore(uint32_t word) { return GumbelScore(word); }

const Kernels kScalarKernels = {"scalar", kScalarLanes, Stream, WordsAt, BytesAt, Route, Score, ScoreKeys, GumbelScores};

}  // namespace countermark::wide
