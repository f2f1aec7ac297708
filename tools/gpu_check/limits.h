// Kernels that a decoding step is measured against: reading the same bytes and no more, copying them; the multiprocessors' own clock; and rows to work on.
#ifndef COUNTERMARK_TOOLS_GPU_CHECK_LIMITS_H_
#define COUNTERMARK_TOOLS_GPU_CHECK_LIMITS_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/sample.h"

namespace countermark::gpu_check {

// Reads `bytes` (a multiple of 16) at `from`, 16 to 64 bytes a thread at once, and writes one word a block. out: 4096 words.
cudaError_t LaunchRead(const void* from, int64_t bytes, uint32_t* out, int multiprocessors, cudaStream_t stream);
cudaError_t LaunchCopy(const void* from, void* to, int64_t bytes, int multiprocessors, cudaStream_t stream);
// Nothing: what a launch costs.
cudaError_t LaunchEmpty(cudaStream_t stream);

// Every multiprocessor works for some milliseconds; out[0] = cycles, out[1] = nanoseconds of one of them.
cudaError_t LaunchClock(unsigned long long* out, int multiprocessors, cudaStream_t stream);

enum class RowKind {
  kNormal,   // independent, standard deviation 2.5
  kPeaked,   // as a language model's: −1.6 ln(rank + 1), and below rank 1,000 falling faster, ranks scattered over the ids, a little noise
};
// Fills rows × columns logits. What a row holds depends on `seed` and its number alone.
cudaError_t LaunchFill(void* logits, LogitType type, int32_t rows, int32_t columns, RowKind kind, uint64_t seed, cudaStream_t stream);

}  // namespace countermark::gpu_check

#endif  // COUNTERMARK_TOOLS_GPU_CHECK_LIMITS_H_
