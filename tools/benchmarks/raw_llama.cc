#include <llama.h>

#include <memory>
#include <vector>

#include "tools/benchmarks/raw_tokenizers.h"

namespace countermark::bench {

RawTokenizer RawLlama(const std::string& path) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  std::shared_ptr<llama_model> model(llama_model_load_from_file(path.c_str(), params), [](llama_model* m) { if (m != nullptr) llama_model_free(m); });
  if (!model) return nullptr;
  return [model, ids = std::vector<llama_token>()](std::string_view text) mutable -> size_t {
    ids.resize(text.size() + 8);
    const int n = llama_tokenize(llama_model_get_vocab(model.get()), text.data(), static_cast<int32_t>(text.size()), ids.data(), static_cast<int32_t>(ids.size()), false, false);
    return n < 0 ? 0 : static_cast<size_t>(n);
  };
}

}  // namespace countermark::bench
