// GGUF vocabularies through libllama. The library gives ids; the spans come from walking the text along the tokens' bytes.
#include <algorithm>
#include <exception>
#include <memory>
#include <utility>

#include "llama.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/backends.h"
#include "src/tokenize/deep_stack.h"
#include "src/tokenize/gguf_check.h"
#include "src/tokenize/llama_log.h"
#include "src/tokenize/span_walker.h"
#include "src/tokenize/utf8_repair.h"

namespace countermark {
namespace {

using Model = std::unique_ptr<llama_model, decltype(&llama_model_free)>;

// libllama cuts a text into words before it merges: for the word rules below in one pass, for the others with std::regex, which recurses
// once a character of a word (324 to 368 bytes of stack with GCC 12; the process ends where the stack does). Those get a stack that fits their
// longest word. Every rule but exaone-moe's ends a word at the latest where white space ends.
constexpr std::string_view kOnePassRules[] = {
    "gpt-2",     "phi-2",     "exaone4",  "mpt",      "olmo",      "jais",             "starcoder", "refact",   "command-r", "smollm", "codeshell",
    "exaone",    "minerva-7b", "mellum2", "qwen2",    "stablelm2", "deepseek-r1-qwen", "megrez",    "grok-2",   "qwen35",    "dbrx",   "smaug-bpe",
    "chatglm-bpe", "glm4",    "llama3",   "llama-v3", "llama-bpe", "kimi-k2",          "laguna",    "gemma4"};
constexpr std::string_view kRuleAcrossWords = "exaone-moe";
constexpr size_t kStackPerByte = 1024;
constexpr size_t kWordOnAnyStack = 4096;
constexpr size_t kLongestWord = size_t{1} << 20;

bool IsAsciiSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

struct Stretch {
  size_t begin = 0;
  size_t length = 0;
};

// The longest stretch in which white space does not end.
Stretch LongestStretch(std::string_view text) {
  Stretch longest;
  size_t begin = 0;
  for (size_t at = 1; at <= text.size(); ++at) {
    if (at < text.size() && !(IsAsciiSpace(text[at - 1]) && !IsAsciiSpace(text[at]))) continue;
    if (at - begin > longest.length) longest = {begin, at - begin};
    begin = at;
  }
  return longest;
}

class GgufTokenizer final : public Tokenizer {
 public:
  GgufTokenizer(Model model, GgufFacts facts, std::string sha256)
      : model_(std::move(model)), vocab_(llama_model_get_vocab(model_.get())), facts_(std::move(facts)), sha256_(std::move(sha256)) {
    one_pass_ = llama_vocab_type(vocab_) != LLAMA_VOCAB_TYPE_BPE || facts_.model == "gemma4" ||
                std::find(std::begin(kOnePassRules), std::end(kOnePassRules), facts_.pre) != std::end(kOnePassRules);
  }

  // Learns the vocabulary's bytes and how it rewrites text.
  absl::Status Prepare() {
    const auto raw = [&](uint32_t id) { return std::string_view(llama_vocab_get_text(vocab_, static_cast<llama_token>(id))); };
    const auto type = llama_vocab_type(vocab_);
    if (type == LLAMA_VOCAB_TYPE_SPM || type == LLAMA_VOCAB_TYPE_UGM) {
      rules_.escape_spaces = true;
      rules_.dummy_prefix = facts_.space_prefix;
    } else if (type == LLAMA_VOCAB_TYPE_BPE) {
      // Some merge UTF-8 with spaces escaped, the others bytes; libllama does not say which, but a space does.
      std::vector<uint32_t> ids;
      CM_RETURN_IF_ERROR(Tokenize(" ", &ids));
      rules_.escape_spaces = !ids.empty() && ids[0] < static_cast<uint32_t>(llama_vocab_n_tokens(vocab_)) && raw(ids[0]) == kBlockMark;
    }
    rules_.replace_invalid = type == LLAMA_VOCAB_TYPE_BPE || type == LLAMA_VOCAB_TYPE_PLAMO2 || type == LLAMA_VOCAB_TYPE_UGM;

    const int32_t count = llama_vocab_n_tokens(vocab_);
    for (llama_token id = 0; id < count; ++id) {
      const int attributes = llama_vocab_get_attr(vocab_, id);
      const TokenTable::Kind kind = (attributes & LLAMA_TOKEN_ATTR_UNKNOWN) != 0                                                ? TokenTable::kUnknown
                                    : (attributes & (LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_CONTROL)) != 0 ? TokenTable::kRaw
                                                                                                                                : TokenTable::kPlain;
      std::string piece = Piece(id, /*special=*/true);
      if (piece.empty()) piece = raw(static_cast<uint32_t>(id));  // an unused token: its text is all there is
      table_.Add(rules_.escape_spaces ? EscapeSpaces(piece) : piece, kind);
    }
    return absl::OkStatus();
  }

  absl::Status Encode(std::string_view text, TokenizedText* out) const override {
    out->ids.clear();
    out->spans.clear();
    CM_RETURN_IF_ERROR(CheckTextLength(text.size()));
    if (text.empty()) return absl::OkStatus();
    std::string masked;
    if (rules_.replace_invalid && MaskUnreadable(text, rules_.escape_spaces, &masked)) text = masked;
    CM_RETURN_IF_ERROR(OnFittingStack(text, &out->ids));
    if (const auto highest = std::max_element(out->ids.begin(), out->ids.end()); highest != out->ids.end() && *highest >= table_.size()) {
      return absl::InternalError(Cat("libllama gave token ", *highest, " of a vocabulary of ", table_.size(), "; it has no token for unknown text"));
    }
    WalkSpans(text, out->ids, table_, rules_, &out->spans);
    return absl::OkStatus();
  }

  std::string Decode(std::span<const uint32_t> ids) const override {
    std::string text;
    for (uint32_t id : ids) {
      if (id < table_.size()) text += Piece(static_cast<llama_token>(id), /*special=*/false);
    }
    if (rules_.dummy_prefix && !text.empty() && text[0] == ' ') text.erase(0, 1);
    return text;
  }

  uint32_t vocabulary() const override { return table_.size(); }
  const std::string& sha256() const override { return sha256_; }
  std::string_view kind() const override { return "gguf"; }

 private:
  absl::Status OnFittingStack(std::string_view text, std::vector<uint32_t>* ids) const {
    if (one_pass_ || text.size() <= kWordOnAnyStack) return Tokenize(text, ids);
    const Stretch word = facts_.pre == kRuleAcrossWords ? Stretch{0, text.size()} : LongestStretch(text);
    if (word.length <= kWordOnAnyStack) return Tokenize(text, ids);
    if (word.length > kLongestWord) {
      return absl::InvalidArgumentError(Cat("byte ", word.begin, " begins ", word.length, " bytes without a break; libllama's word rule '", facts_.pre,
                                            "' can take ", kLongestWord, "; split the text"));
    }
    absl::Status status;
    CM_RETURN_IF_ERROR(RunOnStack(word.length * kStackPerByte + (size_t{1} << 20), [&] { status = Tokenize(text, ids); }));
    return status;
  }

  // No begin or end token is added, and no text is read as a special token.
  absl::Status Tokenize(std::string_view text, std::vector<uint32_t>* ids) const {
    static_assert(sizeof(llama_token) == sizeof(uint32_t));
    try {
      ids->resize(text.size() + 16);
      for (;;) {
        const int32_t count = llama_tokenize(vocab_, text.data(), static_cast<int32_t>(text.size()), reinterpret_cast<llama_token*>(ids->data()),
                                             static_cast<int32_t>(ids->size()), /*add_special=*/false, /*parse_special=*/false);
        if (count == INT32_MIN) return absl::InvalidArgumentError("the text has more tokens than libllama can count; split it");
        ids->resize(static_cast<size_t>(count < 0 ? -count : count));
        if (count >= 0) return absl::OkStatus();
      }
    } catch (const std::exception& error) {
      ids->clear();
      return absl::InternalError(Cat("libllama could not tokenize a text of ", text.size(), " bytes: ", error.what()));
    }
  }

  std::string Piece(llama_token id, bool special) const {
    std::string piece(32, '\0');
    int32_t length = llama_token_to_piece(vocab_, id, piece.data(), static_cast<int32_t>(piece.size()), /*lstrip=*/0, special);
    if (length < 0) {
      piece.resize(static_cast<size_t>(-length));
      length = llama_token_to_piece(vocab_, id, piece.data(), static_cast<int32_t>(piece.size()), 0, special);
    }
    piece.resize(static_cast<size_t>(std::max(length, 0)));
    return piece;
  }

  Model model_;
  const llama_vocab* vocab_;
  GgufFacts facts_;
  std::string sha256_;
  bool one_pass_ = false;
  RewriteRules rules_;
  TokenTable table_;
};

absl::StatusOr<std::unique_ptr<Tokenizer>> Open(const std::string& path, std::string sha256, LlamaLogHolder* log) {
  CM_ASSIGN_OR_RETURN(GgufFacts facts, CheckGguf(path));
  llama_model_params parameters = llama_model_default_params();
  parameters.vocab_only = true;
  parameters.n_gpu_layers = 0;
  Model model(llama_model_load_from_file(path.c_str(), parameters), &llama_model_free);
  if (model == nullptr) {
    const std::string reason = log->Error();
    return absl::DataLossError(Cat("GGUF file '", path, "': libllama could not read its vocabulary", reason.empty() ? "" : ": ", reason));
  }
  auto tokenizer = std::make_unique<GgufTokenizer>(std::move(model), std::move(facts), std::move(sha256));
  CM_RETURN_IF_ERROR(tokenizer->Prepare());
  return tokenizer;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenGguf(const std::string& path, std::string sha256) {
  LlamaLogHolder log;
  try {
    return Open(path, std::move(sha256), &log);
  } catch (const std::exception& error) {
    return absl::DataLossError(Cat("GGUF file '", path, "': libllama could not read its vocabulary: ", error.what()));
  }
}

}  // namespace countermark
