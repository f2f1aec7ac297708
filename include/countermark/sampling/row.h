// One row of logits → its weights → the candidates that truncation leaves. No key is involved.
//
//   RowScratch scratch;
//   Row row = {logits, vocabulary};
//   CandidateSet s = Truncate(row, parameters, &scratch);   // ids ascending, integer weights
#ifndef COUNTERMARK_SAMPLING_ROW_H_
#define COUNTERMARK_SAMPLING_ROW_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "countermark/sampling/parameters.h"

namespace countermark {

// Logits of tokens 0 … size−1, or of the tokens `ids` (ascending, distinct) when a host has already dropped some.
struct Row {
  const float* logits = nullptr;
  size_t size = 0;
  const uint32_t* ids = nullptr;  // null: token i at place i
};

// What stood in the row that should not have.
enum class RowFault {
  kNone,
  kNan,       // some logits were NaN; they count as −inf
  kInfinite,  // some were +inf; only they are candidates, equally
  kEmpty,     // nothing finite: there is no token to give
};

// The truncated distribution: weights are integers held exactly in floats (mark/weight.h), none is zero.
struct CandidateSet {
  std::span<const uint32_t> ids;  // ascending
  std::span<const float> weights;
  uint64_t total = 0;
  RowFault fault = RowFault::kNone;
};

// Memory for one row at a time; reused, never shared between threads. After a choice it holds the words of the last window's candidates.
struct RowScratch {
  CandidateSet last;  // what Truncate gave last
  std::vector<float> kept_weights, other_weights, spare_weights, top_weights, sample;
  std::vector<uint32_t> ids, kept_ids, top, words;
  std::vector<uint8_t> bytes;
  std::vector<uint64_t> tournament;
};

// Temperature, top-k, top-p, min-p on integer weights. The parameters are those that the policy let through; temperature ≥
// kMinTemperature. The set lies in `scratch` until its next use.
CandidateSet Truncate(const Row& row, const SamplingParameters& parameters, RowScratch* scratch);

// The likeliest token, the lowest id at a tie. Returns false when nothing is finite.
bool Greedy(const Row& row, uint32_t* token, RowFault* fault);

// A plain draw: the first candidate, ascending, whose cumulative weight exceeds ⌊random·total/2⁶⁴⌋.
uint32_t DrawPlainly(const CandidateSet& set, uint64_t random);

// The `count` first of a set in the order of truncation, as indices into it, ascending. All of them when there are not more.
void TopIndices(const CandidateSet& set, size_t count, RowScratch* scratch, std::vector<uint32_t>* indices);

// Which instructions rows are worked on with: "scalar", "avx2", "avx512". COUNTERMARK_ISA caps the choice.
const char* SamplingIsa();

}  // namespace countermark

#endif  // COUNTERMARK_SAMPLING_ROW_H_
