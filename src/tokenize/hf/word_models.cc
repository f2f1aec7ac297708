// WordPiece and WordLevel: words looked up, whole or the longest part first.
#include <algorithm>
#include <cstdint>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/hf/model.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

class WordPiece final : public Model {
 public:
  static absl::StatusOr<std::unique_ptr<Model>> Read(const Json& json, const std::string& where) {
    auto model = std::make_unique<WordPiece>();
    Fields fields(json, where);
    fields.Ignore("type");
    model->unknown_ = fields.String("unk_token");
    model->prefix_ = fields.String("continuing_subword_prefix");
    model->longest_word_ = fields.Whole("max_input_chars_per_word");
    const Json& vocabulary = fields.Any("vocab");
    CM_RETURN_IF_ERROR(fields.Done());
    CM_RETURN_IF_ERROR(ReadVocabulary(vocabulary, fields.Place("vocab"), &model->vocabulary_));
    return model;
  }

  absl::Status Tokenize(std::string_view word, std::vector<ModelToken>* tokens) const override {
    const size_t before = tokens->size();
    const auto characters = std::count_if(word.begin(), word.end(), [](char c) { return !IsContinuation(c); });
    bool known = static_cast<uint64_t>(characters) <= longest_word_;
    std::string part;
    for (size_t at = 0; known && at < word.size();) {
      size_t end = std::min(word.size(), at + vocabulary_.longest());
      while (end < word.size() && IsContinuation(word[end])) --end;
      int64_t id = -1;
      while (end > at) {
        part.assign(at > 0 ? prefix_ : std::string());
        part.append(word.substr(at, end - at));
        if ((id = vocabulary_.Find(part)) >= 0) break;
        do {
          --end;
        } while (end > at && IsContinuation(word[end]));
      }
      known = id >= 0;
      if (known) tokens->push_back({static_cast<uint32_t>(id), at, end, end});
      at = end;
    }
    if (known) return absl::OkStatus();
    tokens->resize(before);
    const int64_t id = vocabulary_.Find(unknown_);
    if (id < 0) return NothingFor(word, unknown_);
    tokens->push_back({static_cast<uint32_t>(id), 0, word.size(), word.size()});
    return absl::OkStatus();
  }

 private:
  std::string unknown_, prefix_;
  uint32_t longest_word_ = 0;  // characters
};

class WordLevel final : public Model {
 public:
  static absl::StatusOr<std::unique_ptr<Model>> Read(const Json& json, const std::string& where) {
    auto model = std::make_unique<WordLevel>();
    Fields fields(json, where);
    fields.Ignore("type");
    model->unknown_ = fields.String("unk_token");
    const Json& vocabulary = fields.Any("vocab");
    CM_RETURN_IF_ERROR(fields.Done());
    CM_RETURN_IF_ERROR(ReadVocabulary(vocabulary, fields.Place("vocab"), &model->vocabulary_));
    return model;
  }

  absl::Status Tokenize(std::string_view word, std::vector<ModelToken>* tokens) const override {
    int64_t id = vocabulary_.Find(word);
    if (id < 0) id = vocabulary_.Find(unknown_);
    if (id < 0) return NothingFor(word, unknown_);
    tokens->push_back({static_cast<uint32_t>(id), 0, word.size(), word.size()});
    return absl::OkStatus();
  }

 private:
  std::string unknown_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> ReadWordPiece(const Json& json, const std::string& where) { return WordPiece::Read(json, where); }
absl::StatusOr<std::unique_ptr<Model>> ReadWordLevel(const Json& json, const std::string& where) { return WordLevel::Read(json, where); }

}  // namespace countermark::hf
