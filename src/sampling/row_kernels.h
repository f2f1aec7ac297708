// The loops over a whole row, once for each instruction set. All give the same bits as the scalar ones.
#ifndef COUNTERMARK_SRC_SAMPLING_ROW_KERNELS_H_
#define COUNTERMARK_SRC_SAMPLING_ROW_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace countermark::row_kernels {

struct Split {
  size_t above = 0, middle = 0;
  uint64_t above_sum = 0, middle_sum = 0;
};

struct Kernels {
  const char* isa;
  // The largest logit that is not NaN (−inf when there is none), and whether a NaN or +inf was seen.
  float (*max)(const float* z, size_t n, bool* nan, bool* infinite);
  // weights[i] = WeightAsFloat(z[i], max, scale), 0 for NaN; returns their sum.
  uint64_t (*weights)(const float* z, size_t n, float max, float scale, float* weights);
  // The sum of all the weights, as above, without storing them: those ≥ cut alone are written, as by `keep`.
  uint64_t (*weigh)(const float* z, const uint32_t* ids, size_t n, float max, float scale, float cut, float* kept_weights, uint32_t* kept_ids,
                    size_t* kept, uint64_t* kept_sum);
  // Copies the entries with weight ≥ cut, in order, with their ids (the place where ids is null); returns how many, and their sum. The
  // outputs need room for n entries and 16 more, and may not overlap the inputs unless they are the very inputs.
  size_t (*keep)(const float* weights, const uint32_t* ids, size_t n, float cut, float* kept_weights, uint32_t* kept_ids,
                 uint64_t* sum);
  // Splits by value: the entries in [low, high) are copied to `middle` (room for n + 16; may be `weights` itself) and counted; those ≥ high are
  // only counted and summed.
  Split (*split)(const float* weights, size_t n, float low, float high, float* middle);
  uint64_t (*sum)(const float* weights, size_t n);
  // The place of the smallest GumbelArrival(words[i], weights[i]), the first at a tie. n ≥ 1, weights ≥ 1.
  size_t (*race)(const uint32_t* words, const float* weights, size_t n);
  // logits[i] += delta where bytes[i] < green.
  void (*add_green)(const uint8_t* bytes, size_t n, uint32_t green, float delta, float* logits);
  // Sum of weights, each ⌊w·factor/2²³⌋ unless its byte is below green; the new weights are written.
  uint64_t (*tilt)(const uint8_t* bytes, const float* weights, size_t n, uint32_t green, uint64_t red_factor, uint64_t* tilted);
};

// GumbelArrival out of line, for the wide files: mark/ headers are not included there, since a function that the linker takes from a file
// compiled for AVX-512 would end a process on a machine without it.
double Arrival(uint32_t word, float weight);
// A single-precision bound for pruning: at least arrival·(1 + 2⁻²⁰).
float RaceLimit(double arrival);

extern const Kernels kScalar;
#if defined(__x86_64__)
extern const Kernels kAvx2;
extern const Kernels kAvx512;
#endif

// The widest this machine has and COUNTERMARK_ISA allows; chosen once.
const Kernels& Best();

}  // namespace countermark::row_kernels

#endif  // COUNTERMARK_SRC_SAMPLING_ROW_KERNELS_H_
