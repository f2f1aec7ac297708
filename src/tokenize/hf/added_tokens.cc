#include "src/tokenize/hf/added_tokens.h"

#include <algorithm>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/hf/code_points.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

size_t LastCharacter(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && IsContinuation(text[at])) --at;
  return at;
}

bool EndsWithWord(std::string_view text) { return !text.empty() && RegexWordMap()[DecodeCharacter(text.data() + LastCharacter(text))] != 0; }
bool BeginsWithWord(std::string_view text) { return !text.empty() && RegexWordMap()[DecodeCharacter(text.data())] != 0; }

size_t SpaceBefore(std::string_view text) {  // where the white space at the end begins
  while (!text.empty() && SpaceMap()[DecodeCharacter(text.data() + LastCharacter(text))] != 0) text = text.substr(0, LastCharacter(text));
  return text.size();
}

size_t SpaceAfter(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && SpaceMap()[DecodeCharacter(text.data() + at)] != 0) at += CharacterLength(text[at]);
  return at;
}

absl::StatusOr<AddedToken> ReadToken(const Json& json, const std::string& where) {
  AddedToken token;
  Fields fields(json, where);
  fields.Whole("id");
  token.text = fields.String("content");
  token.single_word = fields.Bool("single_word");
  token.left_strip = fields.Bool("lstrip");
  token.right_strip = fields.Bool("rstrip");
  token.is_normalized = fields.Bool("normalized");
  token.special = fields.Bool("special");
  CM_RETURN_IF_ERROR(fields.Done());
  return token;
}

}  // namespace

absl::StatusOr<AddedTokens> AddedTokens::Read(const Json& json, const std::string& where, const Model& model, const Normalizer* normalizer) {
  AddedTokens added;
  if (json.is_null()) return added;
  if (json.kind != Json::kArray) return Broken(where, "must be an array");
  uint32_t next_id = model.size();
  for (size_t i = 0; i < json.items.size(); ++i) {
    const std::string place = Cat(where, "/", i);
    CM_ASSIGN_OR_RETURN(AddedToken token, ReadToken(json.items[i], place));
    if (token.text.empty()) continue;
    token.normalized = token.text;
    if (token.is_normalized && normalizer != nullptr) {
      std::vector<Origin> origins;
      AppendIdentity(token.text, 0, &origins);
      Rewriter rewriter(token.text, origins, {0, static_cast<uint32_t>(token.text.size())});
      if (const absl::Status status = normalizer->Apply(&rewriter); !status.ok()) return Broken(place, Cat("", std::string(status.message())));
      token.normalized = rewriter.text();
    }
    const auto known = added.id_of_.find(token.text);
    const int64_t own = known != added.id_of_.end() ? static_cast<int64_t>(known->second) : model.vocabulary().Find(token.text);
    if (own < 0 && next_id > Vocabulary::kHighestId) return Broken(place, "its number would be too high");
    const uint32_t id = own >= 0 ? static_cast<uint32_t>(own) : next_id++;
    if (token.special) added.special_.emplace(token.text, true);
    added.id_of_[token.text] = id;
    added.ids_ = std::max(added.ids_, id + 1);
    added.tokens_[id] = std::move(token);
  }
  for (const auto& [id, token] : added.tokens_) {
    if (token.normalized.empty()) return Broken(where, Cat("nothing is left of the token '", token.text, "' once it is normalized"));
    if (!added.Put(&added.tries_[token.is_normalized ? 1 : 0], token.normalized, id)) {
      return Broken(where, Cat("the token '", token.text, "' is looked for by the same text as another"));
    }
  }
  return added;
}

bool AddedTokens::Put(Trie* trie, std::string_view text, uint32_t id) {
  if (trie->nodes.empty()) trie->nodes.emplace_back();
  uint32_t node = 0;
  for (char c : text) {
    const uint8_t byte = static_cast<uint8_t>(c);
    uint32_t child = 0;
    for (const auto& [label, to] : trie->nodes[node].children) child = label == byte ? to : child;
    if (child == 0) {
      child = static_cast<uint32_t>(trie->nodes.size());
      trie->nodes[node].children.emplace_back(byte, child);
      trie->nodes.emplace_back();
      if (node == 0) trie->first[byte] = child;
    }
    node = child;
  }
  if (trie->nodes[node].id >= 0) return false;
  trie->nodes[node].id = id;
  return true;
}

size_t AddedTokens::Longest(const Trie& trie, std::string_view text, size_t at, uint32_t* id) const {
  size_t end = 0;
  uint32_t node = trie.first[static_cast<uint8_t>(text[at])];
  while (node != 0) {
    ++at;
    if (trie.nodes[node].id >= 0) {
      end = at;
      *id = static_cast<uint32_t>(trie.nodes[node].id);
    }
    if (at == text.size()) break;
    uint32_t child = 0;
    for (const auto& [label, to] : trie.nodes[node].children) child = label == static_cast<uint8_t>(text[at]) ? to : child;
    node = child;
  }
  return end;
}

// find_matches() of added_vocabulary.rs
void AddedTokens::Find(std::string_view text, bool normalized, bool special_as_text, std::vector<Pieces::Cut>* cuts) const {
  const Trie& trie = tries_[normalized ? 1 : 0];
  size_t done = 0;
  if (!trie.nodes.empty()) {
    for (size_t at = 0; at < text.size();) {
      uint32_t id = 0;
      size_t begin = at, end = trie.first[static_cast<uint8_t>(text[at])] == 0 ? 0 : Longest(trie, text, at, &id);
      if (end == 0) {
        ++at;
        continue;
      }
      at = end;
      const AddedToken& token = tokens_.at(id);
      if (special_as_text && special_.contains(token.text)) continue;
      if (token.single_word && (EndsWithWord(text.substr(0, begin)) || BeginsWithWord(text.substr(end)))) continue;
      if (token.left_strip) begin = std::max(SpaceBefore(text.substr(0, begin)), done);
      if (token.right_strip) end += SpaceAfter(text.substr(end));
      if (done < begin) cuts->push_back({.begin = done, .end = begin});
      cuts->push_back({.begin = begin, .end = end, .token = id});
      done = end;
    }
  }
  if (done != text.size()) cuts->push_back({.begin = done, .end = text.size()});
}

const AddedToken* AddedTokens::Get(uint32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second;
}

}  // namespace countermark::hf
