#include <sentencepiece_processor.h>

#include <memory>
#include <vector>

#include "tools/benchmarks/raw_tokenizers.h"

namespace countermark::bench {

RawTokenizer RawSentencePiece(const std::string& path) {
  auto processor = std::make_shared<sentencepiece::SentencePieceProcessor>();
  if (!processor->Load(path).ok()) return nullptr;
  return [processor, ids = std::vector<int>()](std::string_view text) mutable -> size_t {
    ids.clear();
    return processor->Encode({text.data(), text.size()}, &ids).ok() ? ids.size() : 0;
  };
}

}  // namespace countermark::bench
