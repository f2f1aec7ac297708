// One decoding step: rows of logits in, marked tokens out, in one launch. And what moves requests on: begin, commit, rebuild, end.
//
// All pointers are device memory unless said otherwise. Every function queues its work on `stream` and returns at once: cudaSuccess,
// cudaErrorInvalidValue (a null pointer, a size out of range), or the launch's own error. Nothing is allocated and no stream is waited for, so
// that calls can be captured in a CUDA graph. One table and one workspace belong to one stream at a time.
//
//   RequestTable table;  Workspace space;                   // allocated once (countermark_workspace_bytes)
//   SampleBatch batch = {slots, rows, logits, kBfloat16, stride, columns, …};
//   cudaError_t error = countermark_launch_sample(table, space, batch, stream);
//
// The tokens are those of countermark::Hook::Choose for the same logits, bit for bit, whatever else is in the batch: weights are integers, and
// everything that is summed is summed in integers.
#ifndef COUNTERMARK_KERNELS_SAMPLE_H_
#define COUNTERMARK_KERNELS_SAMPLE_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/request_table.h"

namespace countermark {

enum LogitType : int32_t { kFloat32 = 0, kFloat16 = 1, kBfloat16 = 2 };

inline constexpr int32_t kNoToken = -1;  // a row with nothing finite

// Rows of one step. A row's slot may have up to kMaxDepth rows more, each with one draft token more before it: row r of depth d follows row
// r − 1 of depth d − 1 of the same slot, and its window ends with drafts[r − d … r − 1].
struct SampleBatch {
  const int32_t* slots;     // rows
  const int32_t* depths;    // rows, or null: all 0
  const int32_t* drafts;    // rows: the token that a draft model proposes for the row; null without depths
  int32_t rows;
  int32_t columns;          // logits a row, ≥ vocabulary; those beyond the vocabulary are never chosen
  int32_t vocabulary;
  LogitType type;
  void* logits;             // rows × stride; read by sample, changed by bias
  int64_t stride;           // elements from a row to the next, ≥ columns
  int32_t* out_tokens;      // rows; kNoToken where nothing is finite
  float* out_logprobs;      // rows, or null: ln of the token's probability in the unmarked, truncated distribution
  uint8_t* out_causes;      // rows, or null
  int32_t* out_accepted;    // rows, or null: of a row of depth 0, how many tokens of its slot's rows hold (1 + drafts that match); else 0
  int32_t commit;           // nonzero: the tokens that hold are committed
};

// Scratch of a step, allocated once for at most `rows` rows of `columns` columns. Zero before its first use; every step leaves it as it found it.
struct Workspace {
  void* memory;
  int32_t rows;
  int32_t columns;
  int32_t multiprocessors;  // of the device: how many blocks to start
};
size_t countermark_workspace_bytes(int32_t rows, int32_t columns);  // host

cudaError_t countermark_launch_sample(const RequestTable& table, const Workspace& space, const SampleBatch& batch, cudaStream_t stream);

// For hosts that keep their own sampler: changes the logits in place as Hook::Bias does, and notes what was done, so that a later commit counts
// right. out_tokens: as sample; kNoToken where the host's own sampler is to choose (partition, or no mark at this position). `commit` must be 0.
cudaError_t countermark_launch_bias(const RequestTable& table, const Workspace& space, const SampleBatch& batch, cudaStream_t stream);

// A slot starts anew with `record` (device memory; may be wiped once the stream has passed). What the slot held before is gone.
cudaError_t countermark_launch_begin(const RequestTable& table, int32_t slot, const SlotRecord* record, cudaStream_t stream);
// tokens (device memory, n) become the next of the slot. A token is counted under the cause its last step gave, if it is the one that the step
// chose; else as forced. `first`: the tokens are not the rest of an earlier launch's; of all launches of one call an empty slot is counted once.
cudaError_t countermark_launch_commit(const RequestTable& table, int32_t slot, const int32_t* tokens, int32_t n, cudaStream_t stream, bool first = true);
// One token a row: tokens[r] is committed to slots[r]; for hosts that sample elsewhere. A negative token is passed over, as a step gives kNoToken. Slots
// that do not exist are skipped and counted; of several rows that name a slot the first is committed.
cudaError_t countermark_launch_commit_rows(const RequestTable& table, const int32_t* slots, const int32_t* tokens, int32_t rows, cudaStream_t stream);
// Forgets the last n tokens (all, where there are fewer).
cudaError_t countermark_launch_rollback(const RequestTable& table, int32_t slot, int32_t n, cudaStream_t stream);
// Replaces everything committed by `tokens` (device memory, n): causes are kept up to the first that differs, and forced from there.
cudaError_t countermark_launch_rebuild(const RequestTable& table, int32_t slot, const int32_t* tokens, int32_t n, cudaStream_t stream);
// Zeroes all that the slot held.
cudaError_t countermark_launch_end(const RequestTable& table, int32_t slot, cudaStream_t stream);

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_SAMPLE_H_
