// Entropies by libllama: windows of the text's tokens, in batches small enough that the logits of one fit the caches' neighbourhood.
#include <algorithm>
#include <cmath>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "countermark/detect/entropy.h"
#include "llama.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/llama_log.h"

namespace countermark {
namespace {

constexpr int kBatch = 128;  // its logits: 25 MiB with 49,152 ids, 128 MiB with 262,144
constexpr int kLeastWindow = 16;

using Model = std::unique_ptr<llama_model, decltype(&llama_model_free)>;
using Context = std::unique_ptr<llama_context, decltype(&llama_free)>;

// −Σ p·ln p with p ∝ e^logit. NaN where a logit is no number.
double Entropy(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double mass = 0, moment = 0;
  for (const float logit : logits) {
    const double below = logit - top, weight = std::exp(below);
    mass += weight;
    if (weight != 0) moment += weight * below;
  }
  return std::max(0.0, std::log(mass) - moment / mass);
}

class LlamaEntropyModel final : public EntropyModel {
 public:
  LlamaEntropyModel(std::unique_ptr<Tokenizer> tokenizer, Model model, Context context, EntropyModelOptions options)
      : tokenizer_(std::move(tokenizer)), model_(std::move(model)), context_(std::move(context)), options_(options) {
    const llama_vocab* vocab = llama_model_get_vocab(model_.get());
    vocabulary_ = static_cast<size_t>(llama_vocab_n_tokens(vocab));
    if (llama_vocab_get_add_bos(vocab)) begin_ = llama_vocab_bos(vocab);
  }

  absl::Status Evaluate(std::string_view text, std::vector<TokenEntropy>* out) override {
    out->clear();
    TokenizedText tokens;
    CM_RETURN_IF_ERROR(tokenizer_->Encode(text, &tokens));
    out->reserve(tokens.ids.size());
    for (const ByteSpan& span : tokens.spans) out->push_back({span.begin, 0});
    const std::lock_guard<std::mutex> guard(mutex_);
    try {
      // What stands before `done` has its entropy. A begin token goes before every window and takes one place of it.
      const size_t lead = begin_ >= 0 ? 1 : 0, count = tokens.ids.size();
      for (size_t done = 1 - lead; done < count;) {
        const size_t from = done <= static_cast<size_t>(options_.context) ? 0 : done - static_cast<size_t>(options_.context);
        const size_t to = std::min(count - 1, from + static_cast<size_t>(options_.window) - lead);  // the last token predicts nothing that is asked
        CM_RETURN_IF_ERROR(EvaluateWindow(tokens.ids, from, to, done, out));
        done = to + 1;
      }
    } catch (const std::exception& error) {
      return absl::InternalError(Cat("libllama could not evaluate the text: ", error.what()));
    }
    return absl::OkStatus();
  }

  const std::string& sha256() const override { return tokenizer_->sha256(); }

 private:
  // Feeds the tokens from … to − 1; fills the entropies of done … to.
  absl::Status EvaluateWindow(std::span<const uint32_t> ids, size_t from, size_t to, size_t done, std::vector<TokenEntropy>* out) {
    llama_memory_clear(llama_get_memory(context_.get()), /*data=*/true);
    const size_t lead = begin_ >= 0 ? 1 : 0, length = to - from + lead;
    llama_batch batch = llama_batch_init(kBatch, 0, 1);
    const std::unique_ptr<llama_batch, void (*)(llama_batch*)> owner(&batch, [](llama_batch* b) { llama_batch_free(*b); });
    for (size_t first = 0; first < length; first += kBatch) {
      batch.n_tokens = static_cast<int32_t>(std::min<size_t>(kBatch, length - first));
      // Place p of the window holds token from + p − lead and predicts the one after it.
      const auto predicted = [&](int32_t i) { return from + first + static_cast<size_t>(i) + 1 - lead; };
      for (int32_t i = 0; i < batch.n_tokens; ++i) {
        const size_t place = first + static_cast<size_t>(i);
        batch.token[i] = place < lead ? begin_ : static_cast<llama_token>(ids[from + place - lead]);
        batch.pos[i] = static_cast<llama_pos>(place);
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = predicted(i) >= done;
      }
      if (const int32_t status = llama_decode(context_.get(), batch); status != 0) {
        return absl::InternalError(Cat("libllama could not evaluate tokens ", from + first, " and after (status ", status, ")"));
      }
      for (int32_t i = 0; i < batch.n_tokens; ++i) {
        if (!batch.logits[i]) continue;
        const float* logits = llama_get_logits_ith(context_.get(), i);
        const double nats = logits == nullptr ? std::nan("") : Entropy({logits, vocabulary_});
        if (!std::isfinite(nats)) return absl::InternalError(Cat("libllama gave no distribution for token ", predicted(i), "; the model file may be damaged"));
        (*out)[predicted(i)].nats = nats;
      }
    }
    return absl::OkStatus();
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  Model model_;
  Context context_;  // goes before the model
  EntropyModelOptions options_;
  size_t vocabulary_ = 0;
  llama_token begin_ = -1;
  std::mutex mutex_;
};

absl::StatusOr<std::unique_ptr<EntropyModel>> OpenModel(const std::string& path, EntropyModelOptions options) {
  CM_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(path));
  if (tokenizer->kind() != "gguf") return absl::DataLossError(Cat("'", path, "' is not a GGUF model"));
  LlamaLogHolder log;
  const auto because = [&log] {
    const std::string reason = log.Error();
    return reason.empty() ? std::string() : Cat(": ", reason);
  };
  llama_model_params of_model = llama_model_default_params();
  of_model.n_gpu_layers = 0;  // the same figures on any machine's CPU code path
  Model model(llama_model_load_from_file(path.c_str(), of_model), &llama_model_free);
  if (model == nullptr) return absl::DataLossError(Cat("GGUF file '", path, "': libllama could not load the model", because()));
  if (llama_model_has_encoder(model.get()) || !llama_model_has_decoder(model.get())) {
    return absl::UnimplementedError(Cat("GGUF file '", path, "': not a model that predicts the next token of a text"));
  }
  const int trained = llama_model_n_ctx_train(model.get());
  if (trained > 0) options.window = std::min(options.window, trained);
  options.context = std::min(options.context, options.window / 2);

  llama_context_params of_context = llama_context_default_params();
  of_context.n_ctx = static_cast<uint32_t>(options.window);
  of_context.n_batch = of_context.n_ubatch = kBatch;
  of_context.n_seq_max = 1;
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  of_context.n_threads = of_context.n_threads_batch = options.threads > 0 ? options.threads : cores;
  of_context.no_perf = true;
  Context context(llama_init_from_model(model.get(), of_context), &llama_free);
  if (context == nullptr) return absl::ResourceExhaustedError(Cat("no room to evaluate ", options.window, " tokens with '", path, "'", because()));
  return std::make_unique<LlamaEntropyModel>(std::move(tokenizer), std::move(model), std::move(context), options);
}

}  // namespace

absl::StatusOr<std::unique_ptr<EntropyModel>> EntropyModel::Open(const std::string& path, const EntropyModelOptions& options) {
  if (options.window < kLeastWindow || options.context < 1 || options.context > options.window / 2 || options.threads < 0) {
    return absl::InvalidArgumentError(Cat("a window of ", options.window, " tokens with ", options.context, " of the one before, ", options.threads,
                                          " threads; a window has at least ", kLeastWindow, ", of them 1 to half from before"));
  }
  try {
    return OpenModel(path, options);
  } catch (const std::exception& error) {
    return absl::DataLossError(Cat("GGUF file '", path, "': libllama could not load the model: ", error.what()));
  }
}

}  // namespace countermark
