// libFuzzer target: any bytes as a text, through a SentencePiece model and GGUF vocabularies of three kinds. The spans must tile the text, and
// the process must not end. The models come from the folder that tools/setup fills (COUNTERMARK_CACHE_DIR).
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "countermark/tokenize/tokenizer.h"

namespace {

std::vector<std::unique_ptr<countermark::Tokenizer>> OpenAll() {
  std::vector<std::unique_ptr<countermark::Tokenizer>> all;
  for (const char* name : {"models/mistral-v1.model", "llama-0.3.36/share/vocab/ggml-vocab-llama-spm.gguf", "llama-0.3.36/share/vocab/ggml-vocab-gpt-2.gguf",
                           "llama-0.3.36/share/vocab/ggml-vocab-deepseek-coder.gguf", "llama-0.3.36/share/vocab/ggml-vocab-gemma-4.gguf"}) {
    auto tokenizer = countermark::OpenTokenizer(std::string(COUNTERMARK_CACHE_DIR) + "/" + name);
    if (tokenizer.ok()) {
      all.push_back(*std::move(tokenizer));
    } else if (tokenizer.status().code() != absl::StatusCode::kFailedPrecondition) {  // a build without libllama
      std::fprintf(stderr, "%s; run tools/setup\n", std::string(tokenizer.status().message()).c_str());
      std::exit(2);
    }
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto& all = *new auto(OpenAll());
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  countermark::TokenizedText out;
  for (const auto& tokenizer : all) {
    if (const absl::Status status = tokenizer->Encode(text, &out); !status.ok()) {
      std::fprintf(stderr, "%s vocabulary of %u: %s\n", std::string(tokenizer->kind()).c_str(), tokenizer->vocabulary(), std::string(status.message()).c_str());
      std::abort();
    }
    if (out.ids.size() != out.spans.size()) std::abort();
    uint64_t at = 0;
    for (size_t i = 0; i < out.ids.size(); ++i) {
      if (out.spans[i].begin != at || out.spans[i].end < at || out.ids[i] >= tokenizer->vocabulary()) std::abort();
      at = out.spans[i].end;
    }
    if (!out.ids.empty() && at != size) std::abort();
  }
  return 0;
}
