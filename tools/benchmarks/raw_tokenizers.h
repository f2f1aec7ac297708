// Other projects' tokenizers as they come, for the time that tokenising alone takes. Standard types only: SentencePiece and Abseil cannot share a
// file.
#ifndef COUNTERMARK_TOOLS_BENCHMARKS_RAW_TOKENIZERS_H_
#define COUNTERMARK_TOOLS_BENCHMARKS_RAW_TOKENIZERS_H_

#include <functional>
#include <string>
#include <string_view>

namespace countermark::bench {

// Tokenises a text and gives the number of ids; null if the file is of another kind. The model is loaded once and lives as long as the function.
using RawTokenizer = std::function<size_t(std::string_view)>;
RawTokenizer RawSentencePiece(const std::string& path);
RawTokenizer RawLlama(const std::string& path);

}  // namespace countermark::bench

#endif  // COUNTERMARK_TOOLS_BENCHMARKS_RAW_TOKENIZERS_H_
