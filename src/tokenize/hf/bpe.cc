#include "src/tokenize/hf/bpe.h"

#include <algorithm>
#include <cstdio>
#include <queue>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/hf/byte_chars.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

constexpr size_t kShort = 48;  // symbols up to which looking through all pairs is faster than a queue

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> ReadBpe(const Json& json, const std::string& where) { return Bpe::Read(json, where); }

absl::StatusOr<std::unique_ptr<Bpe>> Bpe::Read(const Json& json, const std::string& where) {
  auto bpe = std::make_unique<Bpe>();
  Fields fields(json, where);
  fields.Ignore("type");
  if (const Json* dropout = fields.Optional("dropout"); dropout != nullptr && Real(*dropout) != 0.0) {
    return Unknown(fields.Place("dropout"), "with dropout the same text has other tokens each time; set it to null");
  }
  bpe->unknown_ = fields.OptionalString("unk_token");
  bpe->prefix_ = fields.OptionalString("continuing_subword_prefix");
  bpe->suffix_ = fields.OptionalString("end_of_word_suffix");
  bpe->fuse_unknown_ = fields.Bool("fuse_unk", false);
  bpe->byte_fallback_ = fields.Bool("byte_fallback", false);
  bpe->ignore_merges_ = fields.Bool("ignore_merges", false);
  const Json& vocabulary = fields.Any("vocab");
  const Json& merges = fields.Any("merges");
  CM_RETURN_IF_ERROR(fields.Done());
  CM_RETURN_IF_ERROR(ReadVocabulary(vocabulary, fields.Place("vocab"), &bpe->vocabulary_));
  CM_RETURN_IF_ERROR(bpe->ReadMerges(merges, fields.Place("merges")));
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    bpe->fallback_[static_cast<size_t>(byte)] = bpe->vocabulary_.Find(name);
  }
  bpe->PrepareBytes();
  return bpe;
}

// Pairs, or strings of two with a space between.
absl::Status Bpe::ReadMerges(const Json& json, const std::string& where) {
  if (json.kind != Json::kArray) return Broken(where, "must be an array");
  merges_.Reserve(json.items.size());
  const size_t prefix = prefix_.has_value() ? prefix_->size() : 0;
  uint32_t rank = 0;
  std::string joined;
  for (size_t i = 0; i < json.items.size(); ++i) {
    const Json& item = json.items[i];
    const auto place = [&] { return Cat(where, "/", i); };
    std::string_view left, right;
    if (item.kind == Json::kArray && item.items.size() == 2 && item.items[0].kind == Json::kString && item.items[1].kind == Json::kString) {
      left = item.items[0].text;
      right = item.items[1].text;
    } else if (item.kind == Json::kString) {
      if (item.text.starts_with("#version")) continue;
      const size_t space = item.text.find(' ');
      if (space == std::string::npos || item.text.find(' ', space + 1) != std::string::npos) return Broken(place(), "must be two texts with one space between");
      left = std::string_view(item.text).substr(0, space);
      right = std::string_view(item.text).substr(space + 1);
    } else {
      return Broken(place(), "must be two strings, or one with a space");
    }
    if (right.size() < prefix) return Broken(place(), "its second part is shorter than continuing_subword_prefix");
    joined.assign(left);
    joined.append(right.substr(prefix));
    const int64_t a = vocabulary_.Find(left), b = vocabulary_.Find(right), made = vocabulary_.Find(joined);
    if (a < 0 || b < 0 || made < 0) return Broken(place(), Cat("'", a < 0 ? left : b < 0 ? right : std::string_view(joined), "' is not in the vocabulary"));
    if (unknown_.has_value() && (left == *unknown_ || right == *unknown_)) plain_texts_ = false;
    merges_.Put(static_cast<uint32_t>(a), static_cast<uint32_t>(b), {rank++, static_cast<uint32_t>(made)});
  }
  return absl::OkStatus();
}

void Bpe::PrepareBytes() {
  if (prefix_.has_value() || suffix_.has_value()) return;
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    AppendCharacter(ByteChar(static_cast<uint8_t>(byte)), &text);
    const int64_t id = vocabulary_.Find(text);
    if (id < 0) return;
    id_of_byte_[static_cast<size_t>(byte)] = static_cast<uint32_t>(id);
  }
  bytes_of_id_.resize(vocabulary_.ids());
  for (uint32_t id = 0; id < vocabulary_.ids(); ++id) {
    const std::optional<std::string> bytes = vocabulary_.Has(id) ? BytesOf(vocabulary_.Text(id)) : std::nullopt;
    if (!bytes.has_value()) continue;  // never made of bytes
    bytes_of_id_[id] = static_cast<uint32_t>(bytes->size());
    if (ignore_merges_) by_bytes_.Add(*bytes, id);
  }
  byte_level_ = true;
}

void Bpe::TokenizeBytes(std::string_view word, std::vector<uint32_t>* ids) const {
  ids->clear();
  if (ignore_merges_) {
    if (const int64_t id = by_bytes_.Find(word); id >= 0) {
      ids->push_back(static_cast<uint32_t>(id));
      return;
    }
  }
  std::vector<Symbol> symbols(word.size());
  for (size_t i = 0; i < word.size(); ++i) symbols[i] = {id_of_byte_[static_cast<uint8_t>(word[i])], 1};
  Merge(&symbols);
  for (const Symbol& symbol : symbols) ids->push_back(symbol.id);
}

absl::Status Bpe::Tokenize(std::string_view word, std::vector<ModelToken>* tokens) const {
  if (ignore_merges_) {
    if (const int64_t id = vocabulary_.Find(word); id >= 0) {
      tokens->push_back({static_cast<uint32_t>(id), 0, word.size(), word.size()});
      return absl::OkStatus();
    }
  }
  std::vector<Symbol> symbols;
  CM_RETURN_IF_ERROR(Symbols(word, &symbols));
  Merge(&symbols);
  size_t at = 0;
  for (const Symbol& symbol : symbols) {
    tokens->push_back({symbol.id, at, at + symbol.bytes, at + symbol.bytes});
    at += symbol.bytes;
  }
  return absl::OkStatus();
}

// merge_word(): the characters, each with the prefix or suffix of its place, or its bytes, or unknown.
absl::Status Bpe::Symbols(std::string_view word, std::vector<Symbol>* symbols) const {
  Symbol unknown{0, 0};
  bool has_unknown = false;
  std::string named;
  for (size_t at = 0; at < word.size();) {
    const size_t length = CharacterLength(word[at]);
    std::string_view text = word.substr(at, length);
    const bool first = at == 0, last = at + length == word.size();
    if ((!first && prefix_.has_value()) || (last && suffix_.has_value())) {
      named = Cat(!first && prefix_.has_value() ? *prefix_ : std::string(), text, last && suffix_.has_value() ? *suffix_ : std::string());
      text = named;
    }
    at += length;
    if (const int64_t id = vocabulary_.Find(text); id >= 0) {
      if (has_unknown) symbols->push_back(unknown);
      has_unknown = false;
      symbols->push_back({static_cast<uint32_t>(id), static_cast<uint32_t>(length)});
      continue;
    }
    if (byte_fallback_ && std::all_of(text.begin(), text.end(), [&](char byte) { return fallback_[static_cast<uint8_t>(byte)] >= 0; })) {
      for (char byte : text) symbols->push_back({static_cast<uint32_t>(fallback_[static_cast<uint8_t>(byte)]), 1});
      continue;  // an unknown before them comes after them, as there
    }
    if (!unknown_.has_value()) continue;  // dropped
    if (has_unknown && fuse_unknown_) {
      unknown.bytes += static_cast<uint32_t>(length);
      continue;
    }
    if (has_unknown) symbols->push_back(unknown);
    const int64_t id = vocabulary_.Find(*unknown_);
    if (id < 0) return NothingFor(word, *unknown_);
    unknown = {static_cast<uint32_t>(id), static_cast<uint32_t>(length)};
    has_unknown = true;
  }
  if (has_unknown) symbols->push_back(unknown);
  return absl::OkStatus();
}

void Bpe::Merge(std::vector<Symbol>* symbols) const {
  if (symbols->size() < 2) return;
  if (symbols->size() <= kShort && plain_texts_) {
    MergeShort(symbols);
  } else {
    MergeLong(symbols);
  }
}

void Bpe::MergeShort(std::vector<Symbol>* symbols) const {
  constexpr uint32_t kNever = UINT32_MAX;
  uint32_t ranks[kShort], made[kShort];
  size_t count = symbols->size();
  Symbol* symbol = symbols->data();
  const auto look = [&](size_t i) {
    const PairMap::Value* value = i + 1 < count ? merges_.Find(symbol[i].id, symbol[i + 1].id) : nullptr;
    ranks[i] = value == nullptr ? kNever : value->rank;
    made[i] = value == nullptr ? 0 : value->id;
  };
  for (size_t i = 0; i < count; ++i) look(i);
  for (;;) {
    size_t best = 0;
    uint32_t rank = kNever;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (ranks[i] < rank) {
        rank = ranks[i];
        best = i;
      }
    }
    if (rank == kNever) break;
    symbol[best] = {made[best], symbol[best].bytes + symbol[best + 1].bytes};
    for (size_t i = best + 1; i + 1 < count; ++i) {
      symbol[i] = symbol[i + 1];
      ranks[i] = ranks[i + 1];
      made[i] = made[i + 1];
    }
    --count;
    look(best);
    if (best > 0) look(best - 1);
  }
  symbols->resize(count);
}

// merge_all() of word.rs: a queue by rank, then place; an entry whose pair is no more, or makes another token now, is passed over.
void Bpe::MergeLong(std::vector<Symbol>* symbols) const {
  struct Link {
    uint32_t id, bytes;
    int64_t before, after;
  };
  struct Entry {
    uint32_t rank;
    uint32_t id;
    size_t at;
    bool operator<(const Entry& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  std::vector<Link> links(symbols->size());
  for (size_t i = 0; i < links.size(); ++i) {
    links[i] = {(*symbols)[i].id, (*symbols)[i].bytes, static_cast<int64_t>(i) - 1, i + 1 < links.size() ? static_cast<int64_t>(i) + 1 : -1};
  }
  std::vector<Entry> start;
  const auto pair_at = [&](size_t at, std::vector<Entry>* into) {
    const PairMap::Value* value = links[at].after < 0 ? nullptr : merges_.Find(links[at].id, links[static_cast<size_t>(links[at].after)].id);
    if (value != nullptr) into->push_back({value->rank, value->id, at});
  };
  for (size_t i = 0; i + 1 < links.size(); ++i) pair_at(i, &start);
  std::priority_queue<Entry> queue(std::less<Entry>(), std::move(start));
  std::vector<Entry> made;
  while (!queue.empty()) {
    const Entry top = queue.top();
    queue.pop();
    Link& left = links[top.at];
    if (left.bytes == 0 || left.after < 0) continue;
    Link& right = links[static_cast<size_t>(left.after)];
    const PairMap::Value* value = merges_.Find(left.id, right.id);
    if (value == nullptr || value->id != top.id) continue;
    left.id = top.id;
    left.bytes += right.bytes;
    right.bytes = 0;
    left.after = right.after;
    if (right.after >= 0) links[static_cast<size_t>(right.after)].before = static_cast<int64_t>(top.at);
    made.clear();
    if (left.before >= 0) pair_at(static_cast<size_t>(left.before), &made);
    pair_at(top.at, &made);
    for (const Entry& entry : made) queue.push(entry);
  }
  symbols->clear();
  for (const Link& link : links) {
    if (link.bytes != 0) symbols->push_back({link.id, link.bytes});
  }
}

}  // namespace countermark::hf
