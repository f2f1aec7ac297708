// The mark's words and score arithmetic on a CUDA device, by raw pointers on a stream. Needs the CUDA runtime's header alone.
//
// All pointers are device memory unless said otherwise; each function queues its work on `stream` and returns at once: cudaSuccess, or
// cudaErrorInvalidValue for a null pointer, a size out of range or a scheme that does not exist, or the launch's own error. Results are
// bit for bit those of the headers in countermark/mark on a host.
//
//   uint32_t *seeds, *words;                        // device: rows × 8, rows × vocabulary
//   cudaError_t error = countermark_launch_word_rows(seeds, rows, vocabulary, words, vocabulary, stream);
#ifndef COUNTERMARK_KERNELS_MARK_WORDS_H_
#define COUNTERMARK_KERNELS_MARK_WORDS_H_

#include <cuda_runtime_api.h>

#include <cstdint>

extern "C" {

// seeds[row] = the seed of windows[row] under keys[channel of the window]. windows: rows × h tokens, the oldest first, 1 ≤ h ≤ 4.
// keys: channels × 8 words; route_key: 8 words (may be null with one channel); weights: `channels` integers in 1/65536, host memory, 1 ≤
// channels ≤ 4. seeds: rows × 8 words out; channel_of: rows integers out, or null.
cudaError_t countermark_launch_seeds(const uint32_t* windows, int rows, int h, int scheme, const uint32_t* keys, const uint32_t* route_key,
                                     const uint32_t* weights, int channels, uint32_t* seeds, int32_t* channel_of, cudaStream_t stream);

// words[row·stride + t] = the word of token t under seeds[row], 0 ≤ t < vocabulary ≤ stride. seeds: rows × 8 words.
cudaError_t countermark_launch_word_rows(const uint32_t* seeds, int rows, uint32_t vocabulary, uint32_t* words, int64_t stride,
                                         cudaStream_t stream);

// bytes[row·stride + t] = the byte of token t under seeds[row], as partition needs.
cudaError_t countermark_launch_byte_rows(const uint32_t* seeds, int rows, uint32_t vocabulary, uint8_t* bytes, int64_t stride,
                                         cudaStream_t stream);

// What a scheme makes of each of n candidates, one thread each; every output may be null. Takes logits[i] ≤ largest (finite) at
// `temperature` ≥ 1e-6 and a word for each. weights[i] = ⌊exp((z − max)/T)·2⁴⁰⌋; red[i] = that weight times e^−δ; arrivals[i] = the gumbel
// arrival time, +∞ where the weight is 0; scores[i] = the gumbel score of the word; counts[i] = its tournament score at `layers` layers.
struct countermark_candidate_outputs {
  uint64_t* weights;
  uint64_t* red;
  double* arrivals;
  uint64_t* scores;
  uint32_t* counts;
};
cudaError_t countermark_launch_candidates(const float* logits, float largest, float temperature, double delta, const uint32_t* words,
                                          int layers, int64_t n, countermark_candidate_outputs outputs, cudaStream_t stream);

// A tournament on each row's weights in place, one block a row: `layers` layers (1…32), 1 ≤ candidates ≤ stride. weights: rows × stride,
// each row's sum above 0 and below 2⁶⁰, shifted left together before the first layer. words: rows × stride.
cudaError_t countermark_launch_tournament_rows(uint64_t* weights, const uint32_t* words, int rows, int candidates, int64_t stride, int layers,
                                               cudaStream_t stream);

// tokens[row] = the plain draw from each row's weights with the request's sampling key (rows × 8 words), position and draw number, or −1
// where all weights are 0. One thread a row: for few candidates.
cudaError_t countermark_launch_plain_draws(const uint64_t* weights, int rows, int candidates, int64_t stride, const uint32_t* sampling_keys,
                                           const uint64_t* positions, uint32_t draw, int32_t* tokens, cudaStream_t stream);

}  // extern "C"

#endif  // COUNTERMARK_KERNELS_MARK_WORDS_H_
