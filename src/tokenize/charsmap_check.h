// Whether the rewriting rules inside a SentencePiece model file can be followed. The library trusts them: their trie is an array of offsets
// that a damaged file sends anywhere.
#ifndef COUNTERMARK_SRC_TOKENIZE_CHARSMAP_CHECK_H_
#define COUNTERMARK_SRC_TOKENIZE_CHARSMAP_CHECK_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace countermark {

// What is in a unit of the trie, Darts-clone's double array.
inline bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) == 1; }
inline uint32_t LeafValue(uint32_t unit) { return unit & 0x7FFFFFFF; }
inline uint32_t Label(uint32_t unit) { return unit & 0x800000FF; }
inline uint32_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

// `model` is a serialized ModelProto (sentencepiece_model.proto). What is wrong with it, or empty. Fields of no concern are passed over.
std::string CheckCharsmaps(std::string_view model);

// The same for one precompiled_charsmap; an empty one has no rules.
std::string CheckCharsmap(std::string_view charsmap);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_TOKENIZE_CHARSMAP_CHECK_H_
