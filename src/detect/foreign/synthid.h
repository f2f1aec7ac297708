// SynthID-Text, scored: the formats hf-synthid and synthid-text. Both hashes of n-grams there are.
//
//   table  h = 1, then h = (h + x)·A + 1 over the n-gram's tokens; of key k the bit is table[((h + k)·A + 1) mod size], the table being randint(0, 2) under a
//          public seed. With the usual size, 2¹⁶, only h mod 2¹⁶ matters: n-grams that agree there are the same draw, whatever the key.
//          Of a size that is no power of two, n-grams that agree in (h·A) mod size are, and of those that could meet on one place one is tested.
//   iv     h begins at the keys' SHA-256; the bit is bit 30 after twelve rounds more of the hash, each shifted right by five.
//
// Null, table of a power of two: each layer's key shifts the draws' places round the public table by a distance that is uniform, and differs from layer to layer
// (shift_tail.h). Other tables, by assumption: the bits of a draw, one a layer, are 1 with the table's own share of ones, independent of each other. iv: the same with 1/2.
// A layer whose key repeats another's (table: modulo its size) repeats its bits and is left out of the test, not of mean_g.
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_SYNTHID_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_SYNTHID_H_

#include <memory>
#include <vector>

#include "countermark/detect/foreign/format.h"

namespace countermark {

struct SynthIdParameters {
  uint32_t ngram_len = 5;            // 2 … 64
  std::vector<int64_t> keys;         // 1 … 255
  uint32_t context_history_size = 1024;
  uint32_t table_size = 1 << 16;     // 0: the iv hash
  uint32_t table_seed = 0;
};

// SHA-256 of the keys' bytes, big-endian, modulo 2⁶³ − 1: where the iv hash begins.
uint64_t SynthIdInitialValue(std::span<const int64_t> keys);

std::unique_ptr<ForeignFormat> MakeSynthId(SynthIdParameters parameters);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_SYNTHID_H_
