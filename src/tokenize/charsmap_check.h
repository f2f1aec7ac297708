// Whether the rewriting rules inside a SentencePiece model file can be followed. The library trusts them: their trie is an array of offsets
// that a damaged file sends anywhere.
#ifndef COUNTERMARK_SRC_TOKENIZE_CHARSMAP_CHECK_H_
#define COUNTERMARK_SRC_TOKENIZE_CHARSMAP_CHECK_H_

#include <string>
#include <string_view>

namespace countermark {

// `model` is a serialized ModelProto (sentencepiece_model.proto). What is wrong with it, or empty. Fields of no concern are passed over.
std::string CheckCharsmaps(std::string_view model);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_TOKENIZE_CHARSMAP_CHECK_H_
