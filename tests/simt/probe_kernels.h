// Small kernels for the emulator's own tests, right ones and wrong ones. All run on host or device pointers.
#ifndef COUNTERMARK_TESTS_SIMT_PROBE_KERNELS_H_
#define COUNTERMARK_TESTS_SIMT_PROBE_KERNELS_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace countermark::probe {

// sums[b] = the sum of values[b·n … b·n + n − 1], by shuffles and shared memory. threads: a multiple of 32, at most 1024.
cudaError_t BlockSums(const uint32_t* values, int n, int blocks, int threads, uint64_t* sums, cudaStream_t stream);

// One warp and a part of a second one (`threads` of at most 64): for each thread what every warp operation gives. See the kernel for the 16 places.
inline constexpr int kWarpResults = 16;
cudaError_t WarpResults(int threads, uint32_t* results, cudaStream_t stream);

// Odd and even lanes part, each part sums over its own mask in a loop of its own length, then all meet. out: 32 words.
cudaError_t Divergence(uint32_t* out, cudaStream_t stream);

// Each warp passes words round through shared memory with __syncwarp alone: rounds times, each lane takes its neighbour's word and adds its own
// number; odd and even lanes apart with masks of their own if `halves`. out: `threads` words.
cudaError_t WarpExchange(int threads, int rounds, bool halves, uint32_t* out, cudaStream_t stream);

// Lanes beyond `live` exit; the others go on with full masks and barriers. out: `live` words, all live·(live + 1)/2.
cudaError_t EarlyExit(int live, uint32_t* out, cudaStream_t stream);

// out[0…2] = what or, and, count say of predicate[threadIdx.x]; 3 words a thread.
cudaError_t BarrierVotes(const int* predicate, int threads, int* out, cudaStream_t stream);

// Each thread of blocks × threads applies every atomic to one place of its own kind. places: kAtomics words of 64 bits, of which some are used as 32.
inline constexpr int kAtomics = 10;
cudaError_t Atomics(int blocks, int threads, uint64_t* places, cudaStream_t stream);

// Running sums over blocks: a block takes a ticket, and waits for the block with the ticket before it. sums[t] = Σ values[0…t]. state: blocks + 1
// words of 64 bits, zero. By LoadAcquire and StoreRelease, or (flags) by atomics and fences.
cudaError_t TicketedSums(const uint32_t* values, int blocks, uint64_t* state, uint64_t* sums, bool flags, cudaStream_t stream);

// Block b waits for block b + 1 by number, without a ticket: needs all blocks resident.
cudaError_t WaitForNextBlock(int blocks, uint32_t* flags, cudaStream_t stream);

// out[i] = block, thread of a three-dimensional grid, packed; blocks and threads are 2 × 3 × 2.
cudaError_t Indices(uint32_t* out, cudaStream_t stream);

// The first words of a static and of the dynamic shared array that nobody has written.
cudaError_t Unwritten(uint64_t* out, cudaStream_t stream);

// ---- Wrong ones --------------------------------------------------------------------------------------------------------------------
// The lines at fault end with a comment, `// kMissedBarrierLine` and so on: emulator_test.cc looks them up there.
cudaError_t MissedBarrier(uint32_t* out, cudaStream_t stream);     // thread 5 waits for a flag that is set after the barrier
cudaError_t DifferentBarriers(cudaStream_t stream);                // the halves of the block meet at different lines
cudaError_t LonelyShuffle(uint32_t* out, cudaStream_t stream);     // lane 3 goes to the barrier while the others shuffle with its bit in the mask
cudaError_t ForeignMask(uint32_t* out, cudaStream_t stream);       // a lane that its own mask does not name
cudaError_t Trap(cudaStream_t stream);
cudaError_t StaticOverrun(int at, cudaStream_t stream);            // writes word `at` of an array of 32
cudaError_t DynamicOverrun(int at, cudaStream_t stream);           // the same in 128 dynamic bytes
cudaError_t TooMuchShared(cudaStream_t stream);                    // 49 KiB static
cudaError_t WideLoad(uint32_t* out, cudaStream_t stream);          // a uint4 from an array of words
cudaError_t RacyBlocks(uint32_t* out, cudaStream_t stream);        // two blocks add to one word without atomics
cudaError_t RacyPublish(uint32_t* data, uint32_t* flag, bool fence, cudaStream_t stream);  // a flag set by an atomic, with and without a fence

}  // namespace countermark::probe

#endif  // COUNTERMARK_TESTS_SIMT_PROBE_KERNELS_H_
