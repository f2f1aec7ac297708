// The words and bytes of many tokens under one seed: what the sampling hook asks for a row of logits. Bit for bit what prf.h gives one
// at a time, by AVX-512 or AVX2 where the machine has it, chosen when the program runs.
//
//   uint32_t seed[8];
//   MarkSeed(key, Scheme::kGumbel, window, h, seed);
//   WordRow(seed, 0, vocabulary, words);              // the whole row
//   WordsAt(seed, survivors, count, words);           // the survivors of truncation alone
//
// Link countermark::mark_wide. No memory is taken, nothing is kept of the seed, and any thread may call.
#ifndef COUNTERMARK_MARK_WIDE_H_
#define COUNTERMARK_MARK_WIDE_H_

#include <cstdint>

namespace countermark {

// words[i] = WordOf(seed, first + i), 0 ≤ i < n. Any first and n with first + n ≤ 2³²; `words` of any alignment.
void WordRow(const uint32_t seed[8], uint32_t first, uint32_t n, uint32_t* words);

// bytes[i] = ByteOf(seed, first + i), 0 ≤ i < n.
void ByteRow(const uint32_t seed[8], uint32_t first, uint32_t n, uint8_t* bytes);

// words[i] = WordOf(seed, tokens[i]). Any order; neighbours in the list that share a block of 16 tokens share its computation, so a list in
// ascending order is cheapest. `words` may be `tokens` itself.
void WordsAt(const uint32_t seed[8], const uint32_t* tokens, uint32_t n, uint32_t* words);

// bytes[i] = ByteOf(seed, tokens[i]); a block holds 64 tokens.
void BytesAt(const uint32_t seed[8], const uint32_t* tokens, uint32_t n, uint8_t* bytes);

// The instructions in use: "avx512", "avx2" or "scalar". The environment's COUNTERMARK_ISA (one of these) caps the choice when first read.
const char* WideIsa();

}  // namespace countermark

#endif  // COUNTERMARK_MARK_WIDE_H_
