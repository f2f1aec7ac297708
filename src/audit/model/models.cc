// Loading the models, and finding out how their tokens become the provider's.
#include <unordered_map>

#include "src/audit/model/evaluate.h"
#include "src/audit/parallel.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

std::vector<std::string> PiecesOf(const LanguageModel& model) {
  std::vector<std::string> pieces(model.vocabulary());
  for (uint32_t id = 0; id < pieces.size(); ++id) pieces[id] = model.Piece(id);
  return pieces;
}

// Decode drops the space before a text, so a token's own text is what it adds to another's.
absl::StatusOr<std::vector<std::string>> PiecesOf(const Tokenizer& tokenizer) {
  TokenizedText before;
  CM_RETURN_IF_ERROR(tokenizer.Encode("a", &before));
  std::vector<uint32_t> ids = before.ids;
  const size_t length = tokenizer.Decode(ids).size();
  ids.push_back(0);
  std::vector<std::string> pieces(tokenizer.vocabulary());
  for (uint32_t id = 0; id < pieces.size(); ++id) {
    ids.back() = id;
    const std::string text = tokenizer.Decode(ids);
    if (text.size() > length) pieces[id] = text.substr(length);
  }
  return pieces;
}

// Whether both give every id that both have the same text.
uint64_t Differences(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  uint64_t differences = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) differences += a[i] != b[i];
  return differences;
}

}  // namespace

absl::StatusOr<ModelSet> LoadModels(const ModelOptions& options, const Tokenizer* tokenizer, uint32_t provider_vocabulary) {
  ModelSet set;
  std::vector<std::string> paths = {options.suspect};
  if (!options.control.empty()) paths.push_back(options.control);
  paths.push_back(options.reference);
  std::vector<std::vector<std::string>> pieces;
  for (const std::string& path : paths) {
    CM_ASSIGN_OR_RETURN(std::unique_ptr<LanguageModel> model, LoadLanguageModel(path, {options.max_context, ThreadsOr(options.threads)}));
    pieces.push_back(PiecesOf(*model));
    set.models.push_back(std::move(model));
  }
  // The same ids: every model's texts are the provider's, or, without its tokenizer, each other's.
  std::vector<std::string> ours = pieces.back();
  if (tokenizer != nullptr) {
    CM_ASSIGN_OR_RETURN(ours, PiecesOf(*tokenizer));
  }
  set.vocabulary = tokenizer != nullptr ? tokenizer->vocabulary() : provider_vocabulary != 0 ? provider_vocabulary : static_cast<uint32_t>(ours.size());
  std::string different;
  for (size_t m = 0; m < paths.size() && different.empty(); ++m) {
    if (pieces[m].size() < set.vocabulary) {
      different = Cat("'", paths[m], "' has ", pieces[m].size(), " tokens, and the marks are on a vocabulary of ", set.vocabulary);
    } else if (const uint64_t differences = Differences(pieces[m], ours); differences > 0) {
      different = Cat("'", paths[m], "' has other tokens than ", tokenizer != nullptr ? "the tokenizer" : "the reference", " (", differences, " ids differ)");
    }
  }
  if (different.empty()) {
    set.maps.resize(paths.size());
    return set;
  }
  if (!options.map_vocabulary) return absl::InvalidArgumentError(Cat(different, "; --map-vocabulary (with --tokenizer) compares through text"));
  if (tokenizer == nullptr) return absl::InvalidArgumentError(Cat(different, "; --map-vocabulary needs --tokenizer, the one that the marks are on"));
  std::unordered_map<std::string_view, int32_t> id_of;
  for (size_t id = 0; id < ours.size(); ++id) {
    if (!ours[id].empty()) id_of.emplace(ours[id], static_cast<int32_t>(id));
  }
  for (const std::vector<std::string>& theirs : pieces) {
    std::vector<int32_t>& map = set.maps.emplace_back(theirs.size(), -1);
    for (size_t id = 0; id < theirs.size(); ++id) {
      if (const auto found = id_of.find(theirs[id]); found != id_of.end()) map[id] = found->second;
    }
  }
  set.pieces = std::move(ours);
  return set;
}

}  // namespace countermark::audit
