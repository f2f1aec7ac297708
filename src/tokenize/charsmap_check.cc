#include "src/tokenize/charsmap_check.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace countermark {
namespace {

// ModelProto: normalizer_spec = 3, denormalizer_spec = 5, both NormalizerSpec with precompiled_charsmap = 2.
constexpr uint64_t kNormalizerSpec = 3;
constexpr uint64_t kDenormalizerSpec = 5;
constexpr uint64_t kPrecompiledCharsmap = 2;

// Walks the fields of a protobuf message.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  // False at the end, or where the message breaks (then broken()). `bytes` is empty for a field that is no string.
  bool Next(uint64_t* number, std::string_view* bytes) {
    *bytes = {};
    uint64_t tag, size;
    if (rest_.empty() || !Varint(&tag)) return false;
    *number = tag >> 3;
    switch (tag & 7) {
      case 0:
        return Varint(&size);
      case 1:
        return Take(8, bytes) && (*bytes = {}, true);
      case 2:
        return Varint(&size) && Take(size, bytes);
      case 5:
        return Take(4, bytes) && (*bytes = {}, true);
      default:
        broken_ = true;
        return false;
    }
  }
  bool broken() const { return broken_; }

 private:
  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 70 && !rest_.empty(); shift += 7) {
      const uint8_t byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      if (shift < 64) *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    broken_ = true;
    return false;
  }
  bool Take(uint64_t size, std::string_view* bytes) {
    if (size > rest_.size()) {
      broken_ = true;
      return false;
    }
    *bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  std::string_view rest_;
  bool broken_ = false;
};

}  // namespace

// charsmap: the trie's size in bytes (32 bits, little-endian), the trie, then what to write instead, each ended by a NUL.
std::string CheckCharsmap(std::string_view charsmap) {
  if (charsmap.empty()) return "";
  uint32_t trie_bytes;
  if (charsmap.size() <= sizeof(trie_bytes)) return "its rewriting rules are cut short";
  std::memcpy(&trie_bytes, charsmap.data(), sizeof(trie_bytes));
  charsmap.remove_prefix(sizeof(trie_bytes));
  if (trie_bytes >= charsmap.size() || trie_bytes % 4 != 0 || trie_bytes == 0) return "the trie of its rewriting rules does not fit";
  std::vector<uint32_t> trie(trie_bytes / 4);
  std::memcpy(trie.data(), charsmap.data(), trie_bytes);
  const std::string_view replacements = charsmap.substr(trie_bytes);
  if (replacements.back() != '\0') return "the last of its rewriting rules has no end";

  // Every place a search can come to: a search at `at` may read any unit that differs from it in the low eight bits.
  std::vector<bool> seen(trie.size());
  std::vector<size_t> open;
  const auto enter = [&](size_t at) {
    if ((at | 0xFF) >= trie.size()) return false;
    if (!seen[at]) {
      seen[at] = true;
      open.push_back(at);
    }
    return true;
  };
  if (!enter(Offset(trie[0]))) return "the trie of its rewriting rules leads outside itself";
  while (!open.empty()) {
    const size_t at = open.back();
    open.pop_back();
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const size_t child = at ^ byte;
      const uint32_t unit = trie[child];
      if (Label(unit) != byte) continue;
      const size_t next = child ^ Offset(unit);
      if (HasLeaf(unit)) {
        if (next >= trie.size()) return "the trie of its rewriting rules leads outside itself";
        if (LeafValue(trie[next]) >= replacements.size()) return "one of its rewriting rules leads outside the replacements";
        if ((static_cast<uint8_t>(replacements[LeafValue(trie[next])]) & 0xC0) == 0x80) return "one of its rewriting rules begins inside a character";
      }
      if (!enter(next)) return "the trie of its rewriting rules leads outside itself";
    }
  }
  return "";
}

std::string CheckCharsmaps(std::string_view model) {
  Fields fields(model);
  uint64_t number;
  std::string_view bytes;
  while (fields.Next(&number, &bytes)) {
    if (number != kNormalizerSpec && number != kDenormalizerSpec) continue;
    Fields inner(bytes);
    uint64_t inner_number;
    std::string_view charsmap;
    while (inner.Next(&inner_number, &charsmap)) {
      if (inner_number != kPrecompiledCharsmap) continue;
      if (std::string error = CheckCharsmap(charsmap); !error.empty()) return error;
    }
    if (inner.broken()) return "it is no SentencePiece model (a broken field)";
  }
  return fields.broken() ? "it is no SentencePiece model (a broken field)" : "";
}

}  // namespace countermark
