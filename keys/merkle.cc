#include "countermark/keys/merkle.h"

#include <algorithm>
#include <bit>

namespace countermark {
namespace {

Digest32 LeafHash(const Digest32& entry) {
  uint8_t bytes[33] = {0};
  std::copy(entry.begin(), entry.end(), bytes + 1);
  return Sha256(std::span<const uint8_t>(bytes));
}

Digest32 NodeHash(const Digest32& left, const Digest32& right) {
  uint8_t bytes[65] = {1};
  std::copy(left.begin(), left.end(), bytes + 1);
  std::copy(right.begin(), right.end(), bytes + 33);
  return Sha256(std::span<const uint8_t>(bytes));
}

}  // namespace

Digest32 MerkleRoot(std::span<const Digest32> entries) {
  if (entries.empty()) return Sha256(std::string_view());
  if (entries.size() == 1) return LeafHash(entries[0]);
  const size_t left = std::bit_floor(entries.size() - 1);   // the largest power of two below the size
  return NodeHash(MerkleRoot(entries.first(left)), MerkleRoot(entries.subspan(left)));
}

std::vector<Digest32> MerkleInclusionPath(std::span<const Digest32> entries, size_t index) {
  std::vector<Digest32> path;
  while (entries.size() > 1) {
    const size_t left = std::bit_floor(entries.size() - 1);
    if (index < left) {
      path.push_back(MerkleRoot(entries.subspan(left)));
      entries = entries.first(left);
    } else {
      path.push_back(MerkleRoot(entries.first(left)));
      entries = entries.subspan(left);
      index -= left;
    }
  }
  std::reverse(path.begin(), path.end());   // collected from the root down
  return path;
}

bool MerkleIncludes(const Digest32& root, size_t size, size_t index, const Digest32& entry, std::span<const Digest32> path) {
  if (index >= size) return false;
  size_t f = index, s = size - 1;
  Digest32 hash = LeafHash(entry);
  for (const Digest32& sibling : path) {
    if (s == 0) return false;
    if ((f & 1) != 0 || f == s) {
      hash = NodeHash(sibling, hash);
      while ((f & 1) == 0 && f != 0) {
        f >>= 1;
        s >>= 1;
      }
    } else {
      hash = NodeHash(hash, sibling);
    }
    f >>= 1;
    s >>= 1;
  }
  return s == 0 && hash == root;
}

}  // namespace countermark
