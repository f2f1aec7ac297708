// vLLM's gumbel and dual-key gumbel watermarks (vllm/v1/watermarking), scored: the formats vllm-gumbel and vllm-dual.
//
// A window of context_width generated tokens, -1 before the first, is absorbed by Philox4x32-10 four ids at a time under the 64-bit key; a further call gives the words of
// four neighbouring tokens. u is the word's upper 24 bits, plus one, over 2²⁴ + 1, as a float.
// With context deduplication (the default) a window is scored at its first occurrence in a text, as a repeated one was sampled without the mark; without it,
// vLLM's detector scores every position, and the test here every pair once.
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_VLLM_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_VLLM_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "countermark/detect/foreign/format.h"
#include "src/detect/foreign/config.h"

namespace countermark {

// The state after the window, and the word of a token after it.
std::array<uint32_t, 4> VllmWindowState(uint64_t key, std::span<const uint32_t> window);
uint32_t VllmWord(uint64_t key, const std::array<uint32_t, 4>& state, uint32_t token);
// SHA-256(domain, then the key's 8 bytes big-endian), its first 8 bytes big-endian. domain: "key_a" or "key_b".
uint64_t VllmDerivedKey(uint64_t key, std::string_view domain);

absl::StatusOr<std::unique_ptr<ForeignFormat>> MakeVllm(ConfigObject& config, bool dual);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_VLLM_H_
