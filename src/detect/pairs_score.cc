// Scores of pairs: columns cut into the batches of the wide kernels, and their sums put together in 128 bits.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "absl/base/internal/raw_logging.h"
#include "countermark/detect/pairs.h"
#include "countermark/mark/chacha.h"
#include "countermark/mark/wide.h"
#include "countermark/mark/window.h"
#include "src/mark/wide_kernels.h"

namespace countermark {
namespace {

using wide::ChannelKeys;
using wide::EncodedPair;
using wide::Kernels;
using wide::PairColumns;
using wide::ScoreSpec;

// Overwrites key words in a way that no optimiser leaves out.
void Wipe(void* bytes, size_t size) {
  std::memset(bytes, 0, size);
  __asm__ __volatile__("" : : "r"(bytes) : "memory");
}

struct WipedKeys : ChannelKeys {
  WipedKeys() : ChannelKeys{} {}
  WipedKeys(const WipedKeys&) = delete;
  WipedKeys& operator=(const WipedKeys&) = delete;
  ~WipedKeys() { Wipe(static_cast<ChannelKeys*>(this), sizeof(ChannelKeys)); }

  void SetRoute(const Secret32& secret) { LoadKeyWords(secret.Reveal(SecretAccess()), route_key); }
  void SetKey(int channel, const Secret32& secret) {
    uint32_t words[8];
    LoadKeyWords(secret.Reveal(SecretAccess()), words);
    for (int j = 0; j < 8; ++j) key[j][channel] = words[j];
    Wipe(words, sizeof words);
  }
  void SetWeights(std::span<const uint32_t> weights) {
    ABSL_RAW_CHECK(!weights.empty() && weights.size() <= kMaxChannels, "an output has 1 to 4 channels");
    channels = static_cast<int>(weights.size());
    uint64_t sum = 0;
    for (int c = 0; c < channels; ++c) {
      sum = std::min<uint64_t>(sum + weights[static_cast<size_t>(c)], 65536);
      total[c] = static_cast<uint32_t>(sum);
    }
  }
};

ScoreSpec SpecOf(const PairSet& pairs, const MarkParameters& parameters) {
  ABSL_RAW_CHECK(pairs.window() == parameters.window, "the pairs' window is not the mark's");
  const uint32_t layers = static_cast<uint32_t>(parameters.layers);
  return {parameters.scheme, parameters.window, static_cast<uint32_t>(parameters.green),
          layers >= 32 ? 0xFFFFFFFF : (1u << layers) - 1};
}

PairColumns Columns(const PairSet& pairs, size_t first, size_t n) {
  PairColumns columns = {};
  for (int j = 0; j < pairs.window(); ++j) columns.window[j] = pairs.window_token(j).data() + first;
  columns.token = pairs.token().data() + first;
  columns.n = static_cast<uint32_t>(n);
  return columns;
}

// Copies of listed pairs, side by side again.
class Gathered {
 public:
  static constexpr size_t kMost = 2048;
  explicit Gathered(int window) : window_(window) {}
  void Take(const PairSet& pairs, size_t index) {
    for (int j = 0; j < window_; ++j) window_token_[j][n_] = pairs.window_token(j)[index];
    token_[n_++] = pairs.token()[index];
  }
  bool full() const { return n_ == kMost; }
  size_t size() const { return n_; }
  void Clear() { n_ = 0; }
  PairColumns columns() const {
    PairColumns columns = {};
    for (int j = 0; j < window_; ++j) columns.window[j] = window_token_[j];
    columns.token = token_;
    columns.n = static_cast<uint32_t>(n_);
    return columns;
  }

 private:
  int window_;
  size_t n_ = 0;
  uint32_t token_[kMost];
  uint32_t window_token_[kMaxWindow][kMost];
};

void ScoreInto(const Kernels& kernels, const ScoreSpec& spec, const ChannelKeys& keys, const PairColumns& columns, ChannelCount* counts) {
  wide::BatchCount batch;
  kernels.score(spec, keys, columns, &batch);
  for (int c = 0; c < keys.channels; ++c) {
    counts[c].scored += batch.scored[c];
    counts[c].statistic += batch.statistic[c];
  }
}

// The listed pairs as every key sees them, pairs of one window together. *windows: how many distinct ones.
std::vector<EncodedPair> Encode(const PairSet& pairs, std::span<const uint32_t> which, const ScoreSpec& spec, size_t* windows) {
  const uint32_t per_block = spec.scheme == Scheme::kPartition ? 64 : 16;
  std::vector<EncodedPair> encoded(which.size());
  for (size_t i = 0; i < which.size(); ++i) {
    uint32_t window[kMaxWindow] = {};
    for (int j = 0; j < spec.window; ++j) window[j] = pairs.window_token(j)[which[i]];
    EncodeWindow(spec.scheme, window, spec.window, Purpose::kMark, encoded[i].input);
    const uint32_t token = pairs.token()[which[i]];
    encoded[i].counter = token / per_block;
    encoded[i].place = static_cast<uint16_t>(token % per_block);
  }
  const auto compare = [](const EncodedPair& a, const EncodedPair& b) {
    return std::lexicographical_compare(a.input, a.input + 4, b.input, b.input + 4);
  };
  std::sort(encoded.begin(), encoded.end(), compare);
  *windows = 0;
  for (size_t i = 0; i < encoded.size(); ++i) {
    const bool fresh = i % wide::kBatchLimit == 0 || compare(encoded[i - 1], encoded[i]);
    encoded[i].new_window = fresh;
    *windows += fresh;
  }
  return encoded;
}

// kernels.lanes keys at a time, every pair under all of them.
void ScoreAcrossKeys(const Kernels& kernels, const ScoreSpec& spec, std::span<const EncodedPair> pairs, std::span<const Secret32> keys,
                     ChannelCount* counts) {
  const size_t lanes = kernels.lanes;
  std::vector<uint32_t> words(8 * lanes);
  std::vector<uint64_t> statistic(lanes);
  uint32_t one[8];
  for (size_t first = 0; first < keys.size(); first += lanes) {
    const size_t here = std::min(lanes, keys.size() - first);
    for (size_t k = 0; k < here; ++k) {
      LoadKeyWords(keys[first + k].Reveal(SecretAccess()), one);
      for (size_t j = 0; j < 8; ++j) words[lanes * j + k] = one[j];
    }
    for (size_t p = 0; p < pairs.size(); p += wide::kBatchLimit) {
      const size_t n = std::min<size_t>(wide::kBatchLimit, pairs.size() - p);
      kernels.score_keys(spec, words.data(), &pairs[p], static_cast<uint32_t>(n), statistic.data());
      for (size_t k = 0; k < here; ++k) counts[first + k].statistic += statistic[k];
    }
  }
  Wipe(one, sizeof one);
  Wipe(words.data(), words.size() * sizeof words[0]);
}

// One key at a time, kernels.lanes pairs at once: for few keys.
void ScoreAcrossPairs(const Kernels& kernels, const ScoreSpec& spec, const PairSet& pairs, std::span<const uint32_t> which,
                      std::span<const Secret32> keys, ChannelCount* counts) {
  WipedKeys one;
  one.channels = 1;
  Gathered gathered(spec.window);
  for (size_t i = 0; i < which.size();) {
    gathered.Clear();
    for (; i < which.size() && !gathered.full(); ++i) gathered.Take(pairs, which[i]);
    for (size_t k = 0; k < keys.size(); ++k) {
      one.SetKey(0, keys[k]);
      ChannelCount count;
      ScoreInto(kernels, spec, one, gathered.columns(), &count);
      counts[k].statistic += count.statistic;
    }
  }
}

}  // namespace

std::vector<uint8_t> RoutePairs(const PairSet& pairs, const Secret32& route_key, Scheme scheme, std::span<const uint32_t> weights) {
  WipedKeys keys;
  keys.SetWeights(weights);
  std::vector<uint8_t> channel(pairs.size());
  if (keys.channels == 1) return channel;
  keys.SetRoute(route_key);
  const ScoreSpec spec = {scheme, pairs.window(), 0, 0};
  for (size_t i = 0; i < pairs.size(); i += wide::kBatchLimit) {
    const size_t n = std::min<size_t>(wide::kBatchLimit, pairs.size() - i);
    wide::BestKernels().route(spec, keys, Columns(pairs, i, n), &channel[i]);
  }
  return channel;
}

ChannelCount ScoreChannel(const PairSet& pairs, std::span<const uint8_t> channel, int which, const Secret32& key,
                          const MarkParameters& parameters) {
  ABSL_RAW_CHECK(channel.size() == pairs.size(), "one channel a pair");
  const ScoreSpec spec = SpecOf(pairs, parameters);
  WipedKeys keys;
  keys.channels = 1;
  keys.SetKey(0, key);
  Gathered gathered(spec.window);
  ChannelCount count;
  for (size_t i = 0; i < channel.size(); ++i) {
    if (channel[i] != which) continue;
    gathered.Take(pairs, i);
    if (gathered.full()) {
      ScoreInto(wide::BestKernels(), spec, keys, gathered.columns(), &count);
      gathered.Clear();
    }
  }
  if (gathered.size() > 0) ScoreInto(wide::BestKernels(), spec, keys, gathered.columns(), &count);
  return count;
}

std::vector<ChannelCount> ScoreAllChannels(const PairSet& pairs, const Secret32& route_key, std::span<const Secret32> keys,
                                           std::span<const uint32_t> weights, const MarkParameters& parameters) {
  ABSL_RAW_CHECK(keys.size() == weights.size(), "one key a channel");
  const ScoreSpec spec = SpecOf(pairs, parameters);
  WipedKeys all;
  all.SetWeights(weights);
  if (all.channels > 1) all.SetRoute(route_key);
  for (size_t c = 0; c < keys.size(); ++c) all.SetKey(static_cast<int>(c), keys[c]);
  std::vector<ChannelCount> counts(keys.size());
  for (size_t i = 0; i < pairs.size(); i += wide::kBatchLimit) {
    const size_t n = std::min<size_t>(wide::kBatchLimit, pairs.size() - i);
    ScoreInto(wide::BestKernels(), spec, all, Columns(pairs, i, n), counts.data());
  }
  return counts;
}

std::vector<ChannelCount> ScoreCandidates(const PairSet& pairs, std::span<const uint32_t> which, std::span<const Secret32> keys,
                                          const MarkParameters& parameters) {
  const Kernels& kernels = wide::BestKernels();
  const ScoreSpec spec = SpecOf(pairs, parameters);
  std::vector<ChannelCount> counts(keys.size());
  for (ChannelCount& count : counts) count.scored = which.size();
  if (which.empty() || keys.empty()) return counts;

  size_t windows = 0;
  const std::vector<EncodedPair> encoded = Encode(pairs, which, spec, &windows);
  // Rounds spent in either order: 20 for a seed, 8 for a block, and lanes that stay empty cost as much as full ones.
  const auto padded = [&](size_t n) { return static_cast<double>((n + kernels.lanes - 1) / kernels.lanes * kernels.lanes); };
  const double across_keys = padded(keys.size()) * (20.0 * static_cast<double>(windows) + 8.0 * static_cast<double>(which.size()));
  const double across_pairs = static_cast<double>(keys.size()) * padded(which.size()) * 28.0;
  if (across_keys <= across_pairs) {
    ScoreAcrossKeys(kernels, spec, encoded, keys, counts.data());
  } else {
    ScoreAcrossPairs(kernels, spec, pairs, which, keys, counts.data());
  }
  return counts;
}

const char* DetectIsa() { return WideIsa(); }

}  // namespace countermark
