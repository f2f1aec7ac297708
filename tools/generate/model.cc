#include "tools/generate/model.h"

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace countermark::generate {
namespace {

struct SamplerFree {
  void operator()(llama_sampler* s) const { llama_sampler_free(s); }
};

// One prompt on its way through the model.
struct Slot {
  bool busy = false;
  size_t prompt = 0;
  llama_pos position = 0;    // tokens of this sequence already decoded
  llama_token next = 0;      // to be decoded next, once the prompt is in
  size_t fed = 0;            // prompt tokens already decoded
  int32_t logits_at = -1;    // where this step's logits are, −1: none
  std::unique_ptr<llama_sampler, SamplerFree> chain;
  Answer answer;
};

std::string Piece(const llama_vocab* vocab, llama_token token) {
  std::string piece(64, '\0');
  int n = llama_token_to_piece(vocab, token, piece.data(), static_cast<int32_t>(piece.size()), 0, false);
  if (n < 0) {
    piece.resize(static_cast<size_t>(-n));
    n = llama_token_to_piece(vocab, token, piece.data(), static_cast<int32_t>(piece.size()), 0, false);
  }
  piece.resize(static_cast<size_t>(std::max(n, 0)));
  return piece;
}

void Quiet(ggml_log_level level, const char* text, void*) {
  if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

}  // namespace

absl::StatusOr<Model> Model::Load(const ModelOptions& options) {
  llama_log_set(Quiet, nullptr);
  llama_backend_init();
  Model model;
  model.options_ = options;
  if (model.options_.threads <= 0) model.options_.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  model.model_.reset(llama_model_load_from_file(options.path.c_str(), llama_model_default_params()));
  if (!model.model_) return absl::NotFoundError(absl::StrCat(options.path, ": not a model that libllama can load"));

  llama_context_params params = llama_context_default_params();
  const uint32_t each = static_cast<uint32_t>(options.max_prompt + options.max_tokens + 8);
  params.n_seq_max = static_cast<uint32_t>(options.parallel);
  params.n_ctx = each * params.n_seq_max;
  params.n_batch = 512;
  params.n_ubatch = 512;
  params.n_threads = params.n_threads_batch = model.options_.threads;
  params.no_perf = true;
  model.context_.reset(llama_init_from_model(model.model_.get(), params));
  if (!model.context_) {
    return absl::ResourceExhaustedError(absl::StrCat("no context of ", params.n_ctx, " tokens; lower --parallel or --max-tokens"));
  }
  return model;
}

uint32_t Model::vocabulary() const { return static_cast<uint32_t>(llama_vocab_n_tokens(llama_model_get_vocab(model_.get()))); }

absl::StatusOr<std::vector<llama_token>> Model::Tokenize(const std::string& prompt) const {
  std::string text = prompt;
  const char* chat_template = llama_model_chat_template(model_.get(), nullptr);
  if (options_.chat && chat_template != nullptr) {
    const llama_chat_message message = {"user", prompt.c_str()};
    std::string out(prompt.size() * 2 + 1024, '\0');
    int n = llama_chat_apply_template(chat_template, &message, 1, true, out.data(), static_cast<int32_t>(out.size()));
    if (n > static_cast<int>(out.size())) {
      out.resize(static_cast<size_t>(n));
      n = llama_chat_apply_template(chat_template, &message, 1, true, out.data(), static_cast<int32_t>(out.size()));
    }
    if (n < 0) return absl::UnimplementedError("libllama does not know this model's chat template; use --no-chat");
    out.resize(static_cast<size_t>(n));
    text = std::move(out);
  }
  const llama_vocab* vocab = llama_model_get_vocab(model_.get());
  std::vector<llama_token> tokens(text.size() + 8);
  const int n = llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), tokens.data(), static_cast<int32_t>(tokens.size()), true,
                               options_.chat);
  if (n < 0) return absl::InternalError("libllama needs more tokens than the text has bytes");
  tokens.resize(static_cast<size_t>(n));
  if (n > options_.max_prompt) {
    return absl::InvalidArgumentError(absl::StrCat("a prompt of ", n, " tokens; --max-prompt allows ", options_.max_prompt));
  }
  if (n == 0) return absl::InvalidArgumentError("a prompt without a token");
  return tokens;
}

absl::Status Model::Run(const std::vector<std::vector<llama_token>>& prompts,
                        const std::function<absl::StatusOr<llama_sampler*>(size_t)>& chain,
                        const std::function<absl::Status(size_t, const Answer&, llama_sampler*)>& done, const std::function<void(size_t)>& tick) {
  const llama_vocab* vocab = llama_model_get_vocab(model_.get());
  llama_context* context = context_.get();
  std::vector<Slot> slots(static_cast<size_t>(options_.parallel));
  size_t next_prompt = 0;
  const int32_t capacity = static_cast<int32_t>(llama_n_batch(context));
  llama_batch batch = llama_batch_init(capacity, 0, 1);
  struct BatchFree {
    llama_batch* batch;
    ~BatchFree() { llama_batch_free(*batch); }
  } free_batch = {&batch};
  const auto add = [&](llama_token token, llama_pos position, size_t slot, bool logits) {
    batch.token[batch.n_tokens] = token;
    batch.pos[batch.n_tokens] = position;
    batch.n_seq_id[batch.n_tokens] = 1;
    batch.seq_id[batch.n_tokens][0] = static_cast<llama_seq_id>(slot);
    batch.logits[batch.n_tokens] = logits;
    return batch.n_tokens++;
  };

  for (;;) {
    bool any = false;
    batch.n_tokens = 0;
    for (size_t i = 0; i < slots.size(); ++i) {
      Slot& slot = slots[i];
      if (!slot.busy && next_prompt < prompts.size()) {
        slot = Slot{};
        slot.busy = true;
        slot.prompt = next_prompt++;
        CM_ASSIGN_OR_RETURN(llama_sampler * sampler, chain(slot.prompt));
        slot.chain.reset(sampler);
        for (llama_token token : prompts[slot.prompt]) llama_sampler_accept(sampler, token);
        llama_memory_seq_rm(llama_get_memory(context), static_cast<llama_seq_id>(i), -1, -1);
      }
      if (!slot.busy) continue;
      any = true;
      slot.logits_at = -1;
      const std::vector<llama_token>& prompt = prompts[slot.prompt];
      if (slot.fed == prompt.size()) {
        if (batch.n_tokens < capacity) slot.logits_at = add(slot.next, slot.position++, i, true);
      } else {
        while (slot.fed < prompt.size() && batch.n_tokens < capacity) {
          const bool last = slot.fed + 1 == prompt.size();
          const int32_t at = add(prompt[slot.fed++], slot.position++, i, last);
          if (last) slot.logits_at = at;
        }
      }
    }
    if (!any) return absl::OkStatus();
    if (const int status = llama_decode(context, batch); status != 0) {
      return absl::InternalError(absl::StrCat("libllama could not evaluate a batch (status ", status, ")"));
    }
    size_t fresh = 0;
    for (size_t i = 0; i < slots.size(); ++i) {
      Slot& slot = slots[i];
      if (!slot.busy || slot.logits_at < 0) continue;
      slot.next = llama_sampler_sample(slot.chain.get(), context, slot.logits_at);
      ++fresh;
      slot.answer.ended = llama_vocab_is_eog(vocab, slot.next);
      if (!slot.answer.ended) {
        slot.answer.tokens.push_back(static_cast<uint32_t>(slot.next));
        slot.answer.text += Piece(vocab, slot.next);
      }
      if (slot.answer.ended || slot.answer.tokens.size() >= static_cast<size_t>(options_.max_tokens)) {
        CM_RETURN_IF_ERROR(done(slot.prompt, slot.answer, slot.chain.get()));
        slot.busy = false;
        slot.chain.reset();
      }
    }
    tick(fresh);
  }
}

}  // namespace countermark::generate
