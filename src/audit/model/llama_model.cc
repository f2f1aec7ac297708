#include <llama.h>

#include <algorithm>
#include <exception>
#include <new>

#include "src/audit/model/language_model.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/gguf_check.h"
#include "src/tokenize/llama_log.h"

namespace countermark::audit {
namespace {

constexpr uint64_t kLogitBytes = uint64_t{64} << 20;  // of one batch

struct Free {
  void operator()(llama_model* model) const { llama_model_free(model); }
  void operator()(llama_context* context) const { llama_free(context); }
};

class LlamaModel final : public LanguageModel {
 public:
  ~LlamaModel() override {
    LlamaLogHolder log;
    context_.reset();
    model_.reset();
  }

  static absl::StatusOr<std::unique_ptr<LanguageModel>> Load(const std::string& path, const LanguageModelOptions& options) {
    CM_RETURN_IF_ERROR(OpenForReading(path).status());
    auto made = std::unique_ptr<LlamaModel>(new LlamaModel);  // before the holder: it holds the log itself when it goes
    LlamaLogHolder log;
    CM_RETURN_IF_ERROR(CheckGguf(path).status());
    llama_backend_init();
    made->path_ = path;
    made->model_.reset(llama_model_load_from_file(path.c_str(), llama_model_default_params()));
    if (made->model_ == nullptr) {
      const std::string reason = log.Error();
      const bool memory = reason.find("allocate") != std::string::npos || reason.find("bad_alloc") != std::string::npos;
      return absl::Status(memory ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kDataLoss,
                          Cat("GGUF file '", path, "': libllama could not load this model", reason.empty() ? "" : ": ", reason));
    }
    made->vocab_ = llama_model_get_vocab(made->model_.get());
    if (llama_model_has_encoder(made->model_.get()) || !llama_model_has_decoder(made->model_.get())) {
      return absl::InvalidArgumentError(Cat("'", path, "': this model does not go on with a text (it is an encoder)"));
    }
    const uint64_t row = sizeof(float) * static_cast<uint64_t>(std::max(1, llama_vocab_n_tokens(made->vocab_)));
    llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = options.max_context;
    parameters.n_seq_max = 1;
    parameters.n_batch = parameters.n_ubatch = static_cast<uint32_t>(std::min<uint64_t>({std::max<uint64_t>(16, kLogitBytes / row), 512, options.max_context}));
    parameters.n_threads = parameters.n_threads_batch = options.threads;
    parameters.no_perf = true;
    made->batch_ = static_cast<int32_t>(parameters.n_batch);
    made->context_.reset(llama_init_from_model(made->model_.get(), parameters));
    if (made->context_ == nullptr) {
      return absl::ResourceExhaustedError(Cat("'", path, "': libllama could not make a context of ", options.max_context, " tokens (", log.Error(), "); lower --max-context"));
    }
    return made;
  }

  uint32_t vocabulary() const override { return static_cast<uint32_t>(llama_vocab_n_tokens(vocab_)); }

  std::string Piece(uint32_t id) const override {
    std::string piece(32, '\0');
    for (int round = 0; round < 2; ++round) {
      const int32_t n = llama_token_to_piece(vocab_, static_cast<llama_token>(id), piece.data(), static_cast<int32_t>(piece.size()), 0, /*special=*/false);
      piece.resize(static_cast<size_t>(n < 0 ? -n : n));
      if (n >= 0) break;
    }
    return piece;
  }

  std::optional<uint32_t> begin_token() const override {
    const llama_token bos = llama_vocab_bos(vocab_);
    if (!llama_vocab_get_add_bos(vocab_) || bos < 0) return std::nullopt;
    return static_cast<uint32_t>(bos);
  }

  absl::StatusOr<std::vector<uint32_t>> Tokenize(std::string_view text) const override {
    std::vector<llama_token> tokens(text.size() + 16);
    const int32_t n = llama_tokenize(vocab_, text.data(), static_cast<int32_t>(text.size()), tokens.data(), static_cast<int32_t>(tokens.size()), false, false);
    if (n < 0) return absl::InternalError(Cat("libllama needs more tokens than a text of ", text.size(), " has bytes"));
    return std::vector<uint32_t>(tokens.begin(), tokens.begin() + n);
  }

  absl::Status Begin() override {
    llama_memory_clear(llama_get_memory(context_.get()), false);
    position_ = 0;
    return absl::OkStatus();
  }

  absl::Status Extend(std::span<const uint32_t> tokens, std::span<const uint8_t> wanted, const Row& row) override {
    LlamaLogHolder log;
    llama_batch batch = llama_batch_init(batch_, 0, 1);
    struct Freed {
      llama_batch* batch;
      ~Freed() { llama_batch_free(*batch); }
    } freed = {&batch};
    for (size_t first = 0; first < tokens.size(); first += static_cast<size_t>(batch_)) {
      batch.n_tokens = static_cast<int32_t>(std::min<size_t>(static_cast<size_t>(batch_), tokens.size() - first));
      for (int32_t i = 0; i < batch.n_tokens; ++i) {
        const size_t at = first + static_cast<size_t>(i);
        batch.token[i] = static_cast<llama_token>(tokens[at]);
        batch.pos[i] = position_++;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = static_cast<int8_t>(wanted[at]);
      }
      const int32_t status = llama_decode(context_.get(), batch);
      if (status == -2 || status == 1) return absl::ResourceExhaustedError(Cat("'", path_, "': libllama has no memory left for a batch of ", batch.n_tokens, " tokens"));
      if (status != 0) return absl::InternalError(Cat("'", path_, "': libllama could not evaluate a batch (status ", status, ") ", log.Error()));
      for (int32_t i = 0; i < batch.n_tokens; ++i) {
        if (!batch.logits[i]) continue;
        const float* logits = llama_get_logits_ith(context_.get(), i);
        if (logits == nullptr) return absl::InternalError(Cat("'", path_, "': libllama gave no logits"));
        row(first + static_cast<size_t>(i), {logits, vocabulary()});
      }
    }
    return absl::OkStatus();
  }

 private:
  std::string path_;
  std::unique_ptr<llama_model, Free> model_;
  std::unique_ptr<llama_context, Free> context_;
  const llama_vocab* vocab_ = nullptr;
  int32_t batch_ = 0;
  llama_pos position_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LanguageModel>> LoadLanguageModel(const std::string& path, const LanguageModelOptions& options) {
  try {
    return LlamaModel::Load(path, options);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(Cat("'", path, "': no memory left for this model"));
  } catch (const std::exception& error) {
    return absl::DataLossError(Cat("GGUF file '", path, "': libllama could not load this model: ", error.what()));
  }
}

}  // namespace countermark::audit
