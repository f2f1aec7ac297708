#include "src/tokenize/hf/model.h"

#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::hf {

absl::Status ReadVocabulary(const Json& json, const std::string& where, Vocabulary* vocabulary) {
  if (json.kind != Json::kObject) return Broken(where, "must be an object of tokens and their numbers");
  for (size_t i = 0; i < json.names.size(); ++i) {
    const std::optional<uint32_t> id = WholeNumber(json.items[i]);
    if (!id.has_value() || *id > Vocabulary::kHighestId) return Broken(where, Cat("the number of token '", json.names[i], "' must be whole, from 0 to ", Vocabulary::kHighestId));
    if (vocabulary->Has(*id)) return Broken(where, Cat("tokens '", vocabulary->Text(*id), "' and '", json.names[i], "' have the same number ", *id));
    vocabulary->Add(json.names[i], *id);
  }
  return absl::OkStatus();
}

absl::Status NothingFor(std::string_view word, std::string_view unknown_token) {
  return absl::InternalError(Cat("the vocabulary has neither a part of a word of ", word.size(), " bytes nor the unknown token '", unknown_token, "'"));
}

absl::StatusOr<std::unique_ptr<Model>> ReadModel(const Json& json, const std::string& where) {
  const std::string_view type = TypeOf(json);
  if (type == "BPE") return ReadBpe(json, where);
  if (type == "WordPiece") return ReadWordPiece(json, where);
  if (type == "WordLevel") return ReadWordLevel(json, where);
  if (type == "Unigram") return ReadUnigram(json, where);
  // Files from before models had a type: of BPE alone it can be told.
  if (json.Find("type") == nullptr && json.Find("merges") != nullptr) return ReadBpe(json, where);
  if (json.kind != Json::kObject || json.Find("type") == nullptr) return Broken(where, "must be an object with a 'type'");
  return Unknown(where + "/type", Cat("the model '", type, "' is not known"));
}

}  // namespace countermark::hf
