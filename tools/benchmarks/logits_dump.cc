// logits_dump MODEL OUT [ROWS]: rows of logits as a model gives them while it answers a prompt, each after a token drawn from the row before at
// temperature 1. Repeatable on one machine.
#include <llama.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tools/benchmarks/logits_file.h"

int main(int argc, char** argv) {
  using countermark::bench::Die;
  if (argc < 3) Die("logits_dump MODEL OUT [ROWS]");
  const size_t wanted = argc > 3 ? static_cast<size_t>(std::atoi(argv[3])) : 64;
  llama_log_set([](ggml_log_level level, const char* text, void*) { if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr); }, nullptr);
  llama_backend_init();
  const std::unique_ptr<llama_model, void (*)(llama_model*)> model(llama_model_load_from_file(argv[1], llama_model_default_params()), llama_model_free);
  if (!model) Die(std::string(argv[1]) + " is not a model that libllama can load");
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(wanted + 256);
  params.n_threads = params.n_threads_batch = 1;  // more would wait for each other in a loop, which on a busy machine takes minutes
  const std::unique_ptr<llama_context, void (*)(llama_context*)> context(llama_init_from_model(model.get(), params), llama_free);
  if (!context) Die("no context");
  const llama_vocab* vocab = llama_model_get_vocab(model.get());
  const std::unique_ptr<llama_sampler, void (*)(llama_sampler*)> dist(llama_sampler_init_dist(1), llama_sampler_free);

  const char* prompt = "<|im_start|>user\nWrite a long story about a lighthouse keeper who finds a message in a bottle.<|im_end|>\n<|im_start|>assistant\n";
  std::vector<llama_token> tokens(256);
  const int n = llama_tokenize(vocab, prompt, static_cast<int32_t>(std::strlen(prompt)), tokens.data(), static_cast<int32_t>(tokens.size()), true, true);
  if (n <= 0) Die("the prompt does not fit");
  tokens.resize(static_cast<size_t>(n));

  countermark::bench::LogitsRows rows;
  rows.vocabulary = static_cast<uint32_t>(llama_vocab_n_tokens(vocab));
  while (rows.rows.size() < wanted) {
    if (llama_decode(context.get(), llama_batch_get_one(tokens.data(), static_cast<int32_t>(tokens.size()))) != 0) Die("libllama could not evaluate a batch");
    float* logits = llama_get_logits_ith(context.get(), -1);
    // An answer that ended would tell nothing more.
    for (llama_token t = 0; t < static_cast<llama_token>(rows.vocabulary); ++t) {
      if (llama_vocab_is_eog(vocab, t)) logits[t] = std::min(logits[t], -20.0f);
    }
    rows.rows.emplace_back(logits, logits + rows.vocabulary);
    tokens.assign(1, llama_sampler_sample(dist.get(), context.get(), -1));
  }
  countermark::bench::WriteLogits(argv[2], rows);
}
