#include "src/tokenize/hf/charsmap.h"

#include <cstring>

#include "src/tokenize/charsmap_check.h"
#include "src/tokenize/hf/graphemes.h"

namespace countermark::hf {
namespace {

constexpr size_t kLongGrapheme = 6;

std::optional<std::string> Unbase64(std::string_view text) {
  std::string bytes;
  uint32_t bits = 0;
  int held = 0;
  size_t padding = 0;
  for (char c : text) {
    const size_t digit = std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/").find(c);
    if (c == '=') {
      ++padding;
      continue;
    }
    if (digit == std::string_view::npos || padding > 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    held += 6;
    if (held >= 8) bytes.push_back(static_cast<char>(bits >> (held -= 8)));
  }
  if (text.size() % 4 != 0 || padding > 2 || (bits & ((1u << held) - 1)) != 0) return std::nullopt;
  return bytes;
}

// The characters that stand for others: the last of them are added or drop what is left.
void AppendReplacement(std::string_view old_part, std::string_view new_part, std::vector<Change>* changes) {
  const size_t first = changes->size();
  for (char32_t c : Decode(new_part)) changes->push_back({c, 0});
  const size_t made = changes->size() - first, replaced = Decode(old_part).size();
  if (made > replaced) {
    for (size_t i = changes->size() - (made - replaced); i < changes->size(); ++i) (*changes)[i].change = 1;
  } else if (made < replaced && !changes->empty()) {
    changes->back().change -= static_cast<int>(replaced - made);
  }
}

}  // namespace

absl::StatusOr<Charsmap> Charsmap::FromBase64(std::string_view base64) {
  const std::optional<std::string> bytes = Unbase64(base64);
  if (!bytes.has_value()) return absl::DataLossError("is no base64");
  if (std::string error = CheckCharsmap(*bytes); bytes->empty() || !error.empty()) {
    return absl::DataLossError(error.empty() ? "is empty" : error);
  }
  Charsmap map;
  uint32_t trie_bytes;
  std::memcpy(&trie_bytes, bytes->data(), 4);
  map.trie_.resize(trie_bytes / 4);
  std::memcpy(map.trie_.data(), bytes->data() + 4, trie_bytes);
  map.replacements_ = bytes->substr(4 + trie_bytes);
  if (MakeValid(map.replacements_).changed) return absl::DataLossError("has replacements that are no UTF-8");
  return map;
}

std::optional<std::string_view> Charsmap::Replacement(std::string_view chunk) const {
  size_t at = Offset(trie_[0]);
  for (char c : chunk) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (byte == 0) break;
    at ^= byte;
    const uint32_t unit = trie_[at];
    if (Label(unit) != byte) break;
    at ^= Offset(unit);
    if (!HasLeaf(unit)) continue;
    const size_t begin = LeafValue(trie_[at]);
    return std::string_view(replacements_).substr(begin, replacements_.find('\0', begin) - begin);
  }
  return std::nullopt;
}

absl::Status Charsmap::Apply(Rewriter* rewriter) const {
  const std::string_view text = rewriter->text();
  std::vector<Change> changes;
  bool modified = false;
  for (size_t at = 0; at < text.size();) {
    const size_t end = GraphemeEnd(text, at);
    const std::string_view grapheme = text.substr(at, end - at);
    at = end;
    if (grapheme.size() < kLongGrapheme) {
      if (const auto replacement = Replacement(grapheme)) {
        modified = true;
        AppendReplacement(grapheme, *replacement, &changes);
        continue;
      }
    }
    for (size_t k = 0; k < grapheme.size(); k += CharacterLength(grapheme[k])) {
      const std::string_view part = grapheme.substr(k, CharacterLength(grapheme[k]));
      if (const auto replacement = Replacement(part)) {
        modified = true;
        AppendReplacement(part, *replacement, &changes);
      } else {
        changes.push_back({DecodeCharacter(part.data()), 0});
      }
    }
  }
  return modified ? rewriter->Transform(changes, 0) : absl::OkStatus();
}

}  // namespace countermark::hf
