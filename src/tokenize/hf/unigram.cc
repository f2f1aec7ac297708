// Unigram: of all ways to cut a word into pieces of the vocabulary, the one of the highest sum of scores.
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/hf/model.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

constexpr double kUnknownPenalty = 10.0;

class Unigram final : public Model {
 public:
  static absl::StatusOr<std::unique_ptr<Model>> Read(const Json& json, const std::string& where) {
    auto model = std::make_unique<Unigram>();
    Fields fields(json, where);
    fields.Ignore("type");
    if (fields.Optional("unk_id") != nullptr) model->unknown_ = fields.Whole("unk_id");
    model->byte_fallback_ = fields.Bool("byte_fallback", false);
    const std::vector<Json>& vocabulary = fields.Array("vocab");
    CM_RETURN_IF_ERROR(fields.Done());
    if (vocabulary.size() > Vocabulary::kHighestId) return Broken(fields.Place("vocab"), "has too many tokens");
    if (model->unknown_ >= 0 && static_cast<size_t>(model->unknown_) >= vocabulary.size()) return Broken(fields.Place("unk_id"), "is beyond the vocabulary");
    model->trie_.Reserve(vocabulary.size() * 8);
    double lowest = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < vocabulary.size(); ++i) {
      const Json& item = vocabulary[i];
      const bool pair = item.kind == Json::kArray && item.items.size() == 2 && item.items[0].kind == Json::kString;
      const std::optional<double> score = pair ? Real(item.items[1]) : std::nullopt;
      if (!score.has_value()) return Broken(Cat(fields.Place("vocab"), "/", i), "must be a text and its score");
      model->vocabulary_.Add(item.items[0].text, static_cast<uint32_t>(i));
      model->scores_.push_back(*score);
      lowest = *score < lowest ? *score : lowest;
    }
    model->unknown_score_ = lowest - kUnknownPenalty;
    model->BuildTrie();
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", byte);
      model->fallback_[static_cast<size_t>(byte)] = model->vocabulary_.Find(name);
    }
    return model;
  }

  uint32_t size() const override { return static_cast<uint32_t>(scores_.size()); }

  // encode_optimized() and tokenize() of unigram/model.rs
  absl::Status Tokenize(std::string_view word, std::vector<ModelToken>* tokens) const override {
    struct Best {
      double score = 0;
      size_t begin = SIZE_MAX;
      int64_t id = 0;
    };
    std::vector<Best> best(word.size() + 1);
    const auto offer = [&](size_t begin, size_t end, double score, int64_t id) {
      const double sum = score + best[begin].score;
      if (best[end].begin == SIZE_MAX || sum > best[end].score) best[end] = {sum, begin, id};
    };
    for (size_t begin = 0; begin < word.size();) {
      const size_t length = CharacterLength(word[begin]);
      bool single = false;
      uint32_t node = 0;
      for (size_t at = begin; at < word.size(); ++at) {
        const PairMap::Value* child = trie_.Find(node, static_cast<uint8_t>(word[at]));
        if (child == nullptr) break;
        node = child->rank;
        const int64_t id = id_of_node_[node];
        if (id < 0) continue;
        offer(begin, at + 1, scores_[static_cast<size_t>(id)], id);
        single = single || at + 1 - begin == length;
      }
      if (!single) {
        if (unknown_ < 0 && best[begin + length].begin == SIZE_MAX) return NothingFor(word, "");
        if (unknown_ < 0 && unknown_score_ + best[begin].score > best[begin + length].score) return NothingFor(word, "");
        offer(begin, begin + length, unknown_score_, unknown_);
      }
      begin += length;
    }
    // From the end; unknown pieces side by side are one.
    std::vector<std::pair<size_t, size_t>> pieces;
    bool after_unknown = false;
    for (size_t end = word.size(); end > 0; end = best[end].begin) {
      const bool unknown = unknown_ >= 0 && best[end].id == unknown_;
      if (unknown && after_unknown) {
        pieces.back().first = best[end].begin;
      } else {
        pieces.emplace_back(best[end].begin, end);
      }
      after_unknown = unknown;
    }
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) CM_RETURN_IF_ERROR(Put(word, piece->first, piece->second, tokens));
    return absl::OkStatus();
  }

 private:
  absl::Status Put(std::string_view word, size_t begin, size_t end, std::vector<ModelToken>* tokens) const {
    const std::string_view text = word.substr(begin, end - begin);
    int64_t id = vocabulary_.Find(text);
    if (id < 0 && byte_fallback_) {
      bool all = true;
      for (char byte : text) all = all && fallback_[static_cast<uint8_t>(byte)] >= 0;
      for (size_t at = begin; all && at < end; ++at) tokens->push_back({static_cast<uint32_t>(fallback_[static_cast<uint8_t>(word[at])]), begin, end, at + 1});
      if (all) return absl::OkStatus();
    }
    if (id < 0) id = unknown_;
    if (id < 0) return NothingFor(word, "");
    tokens->push_back({static_cast<uint32_t>(id), begin, end, end});
    return absl::OkStatus();
  }

  void BuildTrie() {
    size_t bytes = 1;
    for (uint32_t id = 0; id < vocabulary_.ids(); ++id) bytes += vocabulary_.Text(id).size();
    trie_.Reserve(bytes);
    id_of_node_.assign(1, -1);
    for (uint32_t id = 0; id < vocabulary_.ids(); ++id) {
      uint32_t node = 0;
      for (char c : vocabulary_.Text(id)) {
        const PairMap::Value* child = trie_.Find(node, static_cast<uint8_t>(c));
        if (child == nullptr) {
          trie_.Put(node, static_cast<uint8_t>(c), {static_cast<uint32_t>(id_of_node_.size()), 0});
          node = static_cast<uint32_t>(id_of_node_.size());
          id_of_node_.push_back(-1);
        } else {
          node = child->rank;
        }
      }
      if (node != 0) id_of_node_[node] = vocabulary_.Find(vocabulary_.Text(id));
    }
  }

  std::vector<double> scores_;
  PairMap trie_;                    // (node, byte) to the node after it
  std::vector<int64_t> id_of_node_;
  int64_t unknown_ = -1;
  double unknown_score_ = 0;
  bool byte_fallback_ = false;
  std::array<int64_t, 256> fallback_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> ReadUnigram(const Json& json, const std::string& where) { return Unigram::Read(json, where); }

}  // namespace countermark::hf
