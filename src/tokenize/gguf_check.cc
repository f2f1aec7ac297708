#include "src/tokenize/gguf_check.h"

#include <gguf.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "llama.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

using Gguf = std::unique_ptr<gguf_context, decltype(&gguf_free)>;

absl::Status Broken(const std::string& path, std::string_view why) { return absl::DataLossError(Cat("GGUF file '", path, "': ", why)); }

// The string value of a key; empty if it is absent.
absl::StatusOr<std::string> StringValue(const std::string& path, const gguf_context* gguf, const char* key) {
  const int64_t at = gguf_find_key(gguf, key);
  if (at < 0) return std::string();
  if (gguf_get_kv_type(gguf, at) != GGUF_TYPE_STRING) return Broken(path, Cat("key ", key, " is no string"));
  return std::string(gguf_get_val_str(gguf, at));
}

// The index of an array of this type, or -1 if the key is absent.
absl::StatusOr<int64_t> ArrayIndex(const std::string& path, const gguf_context* gguf, const char* key, gguf_type type) {
  const int64_t at = gguf_find_key(gguf, key);
  if (at < 0) return int64_t{-1};
  if (gguf_get_kv_type(gguf, at) != GGUF_TYPE_ARRAY || gguf_get_arr_type(gguf, at) != type) {
    return Broken(path, Cat("key ", key, " is no array of ", gguf_type_name(type)));
  }
  return at;
}

bool IsByteForm(std::string_view token) {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); };
  return token.size() == 6 && token.substr(0, 3) == "<0x" && hex(token[3]) && hex(token[4]) && token[5] == '>';
}

}  // namespace

absl::StatusOr<GgufFacts> CheckGguf(const std::string& path) {
  const Gguf gguf(gguf_init_from_file(path.c_str(), {/*no_alloc=*/true, /*ctx=*/nullptr}), &gguf_free);
  if (gguf == nullptr) return Broken(path, "its header cannot be read; it is cut short or damaged");

  GgufFacts facts;
  CM_ASSIGN_OR_RETURN(facts.model, StringValue(path, gguf.get(), "tokenizer.ggml.model"));
  CM_ASSIGN_OR_RETURN(facts.pre, StringValue(path, gguf.get(), "tokenizer.ggml.pre"));
  if (facts.model.empty()) return Broken(path, "it holds no tokenizer (key tokenizer.ggml.model)");
  constexpr std::string_view kKnown[] = {"llama", "gpt2", "gemma4", "t5", "rwkv", "plamo2"};
  if (std::find(std::begin(kKnown), std::end(kKnown), facts.model) == std::end(kKnown)) {
    return absl::UnimplementedError(Cat("GGUF file '", path, "': tokenizers of kind '", facts.model,
                                        "' are not read; known are llama, gpt2, gemma4, t5, rwkv and plamo2"));
  }

  facts.space_prefix = facts.model == "llama";
  if (const int64_t at = gguf_find_key(gguf.get(), "tokenizer.ggml.add_space_prefix"); at >= 0) {
    if (gguf_get_kv_type(gguf.get(), at) != GGUF_TYPE_BOOL) return Broken(path, "key tokenizer.ggml.add_space_prefix is no bool");
    facts.space_prefix = gguf_get_val_bool(gguf.get(), at);
  }

  CM_ASSIGN_OR_RETURN(const int64_t tokens, ArrayIndex(path, gguf.get(), "tokenizer.ggml.tokens", GGUF_TYPE_STRING));
  if (tokens < 0 || gguf_get_arr_n(gguf.get(), tokens) == 0) return Broken(path, "its vocabulary is empty (key tokenizer.ggml.tokens)");
  const size_t count = gguf_get_arr_n(gguf.get(), tokens);
  if (count >= 0xFFFFFF) return Broken(path, Cat("its vocabulary has ", count, " tokens, more than a mark can number"));
  CM_ASSIGN_OR_RETURN(const int64_t types, ArrayIndex(path, gguf.get(), "tokenizer.ggml.token_type", GGUF_TYPE_INT32));
  if (types >= 0 && gguf_get_arr_n(gguf.get(), types) < count) return Broken(path, "it has fewer token types than tokens");
  const auto* type = types < 0 ? nullptr : static_cast<const int32_t*>(gguf_get_arr_data(gguf.get(), types));

  std::unordered_map<std::string, size_t> seen;
  seen.reserve(count);
  for (size_t id = 0; id < count; ++id) {
    std::string token = gguf_get_arr_str(gguf.get(), tokens, id);
    if (token.empty()) token = Cat("[EMPTY_", id, "]");  // the name libllama gives it
    if (type != nullptr && type[id] == LLAMA_TOKEN_TYPE_BYTE && !IsByteForm(token)) return Broken(path, Cat("token ", id, " is called a byte and is none"));
    const auto [first, fresh] = seen.emplace(std::move(token), id);
    if (!fresh) return Broken(path, Cat("token ", id, " is token ", first->second, " again"));
  }
  if (facts.model == "rwkv") {
    // Without a way to write a line feed libllama ends the process.
    if (std::none_of(seen.begin(), seen.end(), [](const auto& entry) { return entry.first.substr(0, 2) == "\\n" || entry.first[0] == '\n'; })) {
      return Broken(path, "its vocabulary has no line feed");
    }
  }
  return facts;
}

}  // namespace countermark
