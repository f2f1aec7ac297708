// Launchers over the mark's own headers: each arithmetic step of the format, compiled for the device.
//
// The device code must not fuse what the format keeps apart. The headers leave no product to be fused with a sum except by explicit fma,
// so nvcc's default contraction changes nothing; --fmad=false (CMakeLists.txt) makes that hold for whatever is written here too.
#include "kernels/mark_words.h"

#include <cmath>
#include <cstdint>

#include "countermark/mark/channel.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/scheme.h"
#include "countermark/mark/select.h"
#include "countermark/mark/tournament.h"
#include "countermark/mark/weight.h"
#include "kernels/device.cuh"

namespace countermark {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxGridRows = 65535;  // the y dimension's limit: rows beyond it are taken in strides

struct ChannelWeights {
  uint32_t of[kMaxChannels];
};

unsigned GridFor(int64_t threads) { return static_cast<unsigned>((threads + kThreads - 1) / kThreads); }
unsigned GridRows(int rows) { return static_cast<unsigned>(rows < kMaxGridRows ? rows : kMaxGridRows); }

__global__ void Seeds(const uint32_t* windows, int rows, int h, Scheme scheme, const uint32_t* keys, const uint32_t* route_key,
                      ChannelWeights weights, int channels, uint32_t* seeds, int32_t* channel_of) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= rows) return;
  const uint32_t* window = windows + row * h;
  const int channel = RouteWindow(route_key, scheme, window, h, weights.of, channels);
  MarkSeed(keys + 8 * channel, scheme, window, h, seeds + 8 * row);
  if (channel_of != nullptr) channel_of[row] = channel;
}

// One thread a ChaCha block: 16 words, or 64 bytes, of one row.
__global__ void WordRows(const uint32_t* seeds, int rows, uint32_t vocabulary, uint32_t* words, int64_t stride) {
  const uint32_t n = blockIdx.x * kThreads + threadIdx.x;
  if (static_cast<uint64_t>(n) * 16 >= vocabulary) return;
  const uint32_t left = vocabulary - n * 16;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    uint32_t block[16];
    ChaCha8Block(seeds + 8 * row, n, block);
    uint32_t* out = words + row * stride + n * 16;
#pragma unroll
    for (uint32_t i = 0; i < 16; ++i) {
      if (i < left) out[i] = block[i];
    }
  }
}

__global__ void ByteRows(const uint32_t* seeds, int rows, uint32_t vocabulary, uint8_t* bytes, int64_t stride) {
  const uint32_t n = blockIdx.x * kThreads + threadIdx.x;
  if (static_cast<uint64_t>(n) * 64 >= vocabulary) return;
  const uint32_t left = vocabulary - n * 64;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    uint32_t block[16];
    ChaCha8Block(seeds + 8 * row, n, block);
    uint8_t* out = bytes + row * stride + n * 64;
#pragma unroll
    for (uint32_t i = 0; i < 64; ++i) {
      if (i < left) out[i] = static_cast<uint8_t>(block[i / 4] >> (8 * (i % 4)));
    }
  }
}

__global__ void Candidates(const float* logits, float largest, float scale, uint64_t red_factor, const uint32_t* words, int layers,
                           int64_t n, countermark_candidate_outputs outputs) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  const float as_float = WeightAsFloat(logits[i], largest, scale);
  const uint64_t weight = static_cast<uint64_t>(as_float);
  const uint32_t word = words[i];
  if (outputs.weights != nullptr) outputs.weights[i] = weight;
  if (outputs.red != nullptr) outputs.red[i] = RedWeight(weight, red_factor);
  if (outputs.arrivals != nullptr) {
    outputs.arrivals[i] = weight > 0 ? GumbelArrival(word, static_cast<double>(as_float)) : static_cast<double>(INFINITY);
  }
  if (outputs.scores != nullptr) outputs.scores[i] = GumbelScore(word);
  if (outputs.counts != nullptr) outputs.counts[i] = TournamentScore(word, layers);
}

// The sum over a block of each thread's `value`, given to all. Integers: the order does not matter.
__device__ uint64_t BlockSum(uint64_t value, unsigned long long* shared) {
  __syncthreads();  // [read] all have read the sum before this one
  if (threadIdx.x == 0) *shared = 0;
  __syncthreads();  // [cleared] nothing is added to what is not yet 0
  atomicAdd(shared, static_cast<unsigned long long>(value));
  __syncthreads();  // [added] all have added
  return *shared;
}

__global__ void TournamentRows(uint64_t* weights, const uint32_t* words, int rows, int candidates, int64_t stride, int layers) {
  SHARED_ARRAY(unsigned long long, shared, 1);
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    uint64_t* w = weights + row * stride;
    const uint32_t* g = words + row * stride;
    uint64_t mine = 0;
    for (int i = threadIdx.x; i < candidates; i += kThreads) mine += w[i];
    uint64_t total = BlockSum(mine, shared);
    if (total == 0) continue;  // an empty row stays empty; the whole block agrees
    const int shift = TournamentShift(total);
    total <<= shift;
    for (int i = threadIdx.x; i < candidates; i += kThreads) w[i] <<= shift;
    for (int layer = 0; layer < layers; ++layer) {
      uint64_t ones = 0;
      for (int i = threadIdx.x; i < candidates; i += kThreads) ones += g[i] >> layer & 1 ? w[i] : 0;
      const uint64_t ratio = TournamentRatioByDoubles(total, BlockSum(ones, shared));
      mine = 0;
      for (int i = threadIdx.x; i < candidates; i += kThreads) {
        w[i] = TournamentWeight(w[i], g[i] >> layer & 1, ratio);
        mine += w[i];
      }
      total = BlockSum(mine, shared);
    }
  }
}

__global__ void PlainDraws(const uint64_t* weights, int rows, int candidates, int64_t stride, const uint32_t* sampling_keys,
                           const uint64_t* positions, uint32_t draw, int32_t* tokens) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= rows) return;
  const uint64_t* w = weights + row * stride;
  uint64_t total = 0;
  for (int i = 0; i < candidates; ++i) total += w[i];
  int32_t token = -1;
  if (total > 0) {
    const uint64_t target = DrawTarget(DrawBits(sampling_keys + 8 * row, positions[row], draw), total);
    uint64_t cumulative = 0;
    do cumulative += w[++token];
    while (cumulative <= target);
  }
  tokens[row] = token;
}

}  // namespace
}  // namespace countermark

using countermark::kThreads;

cudaError_t countermark_launch_seeds(const uint32_t* windows, int rows, int h, int scheme, const uint32_t* keys, const uint32_t* route_key,
                                     const uint32_t* weights, int channels, uint32_t* seeds, int32_t* channel_of, cudaStream_t stream) {
  if (rows < 0 || h < countermark::kMinWindow || h > countermark::kMaxWindow || scheme < 1 || scheme > 3 || channels < 1 ||
      channels > countermark::kMaxChannels || (channels > 1 && route_key == nullptr) || windows == nullptr || keys == nullptr ||
      weights == nullptr || seeds == nullptr) {
    return cudaErrorInvalidValue;
  }
  if (rows == 0) return cudaSuccess;
  countermark::ChannelWeights by_value = {};
  for (int c = 0; c < channels; ++c) by_value.of[c] = weights[c];
  return countermark::Launch(countermark::Seeds, countermark::GridFor(rows), kThreads, 0, stream, windows, rows, h,
                             static_cast<countermark::Scheme>(scheme), keys, route_key, by_value, channels, seeds, channel_of);
}

cudaError_t countermark_launch_word_rows(const uint32_t* seeds, int rows, uint32_t vocabulary, uint32_t* words, int64_t stride,
                                         cudaStream_t stream) {
  if (seeds == nullptr || words == nullptr || rows < 0 || vocabulary > countermark::kTokenLimit || stride < vocabulary) {
    return cudaErrorInvalidValue;
  }
  if (rows == 0 || vocabulary == 0) return cudaSuccess;
  const dim3 grid(countermark::GridFor((vocabulary + 15) / 16), countermark::GridRows(rows));
  return countermark::Launch(countermark::WordRows, grid, kThreads, 0, stream, seeds, rows, vocabulary, words, stride);
}

cudaError_t countermark_launch_byte_rows(const uint32_t* seeds, int rows, uint32_t vocabulary, uint8_t* bytes, int64_t stride,
                                         cudaStream_t stream) {
  if (seeds == nullptr || bytes == nullptr || rows < 0 || vocabulary > countermark::kTokenLimit || stride < vocabulary) {
    return cudaErrorInvalidValue;
  }
  if (rows == 0 || vocabulary == 0) return cudaSuccess;
  const dim3 grid(countermark::GridFor((vocabulary + 63) / 64), countermark::GridRows(rows));
  return countermark::Launch(countermark::ByteRows, grid, kThreads, 0, stream, seeds, rows, vocabulary, bytes, stride);
}

cudaError_t countermark_launch_candidates(const float* logits, float largest, float temperature, double delta, const uint32_t* words,
                                          int layers, int64_t n, countermark_candidate_outputs outputs, cudaStream_t stream) {
  // Beyond 2³¹ − 1 blocks a grid does not go.
  if (logits == nullptr || words == nullptr || n < 0 || n > int64_t{0x7FFFFFFF} * kThreads || !std::isfinite(largest) ||
      !(temperature >= countermark::kMinTemperature) || !(delta > 0 && delta <= 16) || layers < 1 || layers > countermark::kMaxLayers) {
    return cudaErrorInvalidValue;
  }
  if (n == 0) return cudaSuccess;
  return countermark::Launch(countermark::Candidates, countermark::GridFor(n), kThreads, 0, stream, logits, largest,
                             countermark::InverseTemperature(temperature), countermark::RedFactor(delta), words, layers, n, outputs);
}

cudaError_t countermark_launch_tournament_rows(uint64_t* weights, const uint32_t* words, int rows, int candidates, int64_t stride, int layers,
                                               cudaStream_t stream) {
  if (weights == nullptr || words == nullptr || rows < 0 || candidates < 1 || stride < candidates || layers < 1 ||
      layers > countermark::kMaxLayers) {
    return cudaErrorInvalidValue;
  }
  if (rows == 0) return cudaSuccess;
  return countermark::Launch(countermark::TournamentRows, static_cast<unsigned>(rows), kThreads, 0, stream, weights, words, rows, candidates,
                             stride, layers);
}

cudaError_t countermark_launch_plain_draws(const uint64_t* weights, int rows, int candidates, int64_t stride, const uint32_t* sampling_keys,
                                           const uint64_t* positions, uint32_t draw, int32_t* tokens, cudaStream_t stream) {
  if (weights == nullptr || sampling_keys == nullptr || positions == nullptr || tokens == nullptr || rows < 0 || candidates < 1 ||
      stride < candidates) {
    return cudaErrorInvalidValue;
  }
  if (rows == 0) return cudaSuccess;
  return countermark::Launch(countermark::PlainDraws, countermark::GridFor(rows), kThreads, 0, stream, weights, rows, candidates, stride,
                             sampling_keys, positions, draw, tokens);
}
