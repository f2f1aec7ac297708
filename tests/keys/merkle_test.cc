// The Merkle tree against known roots of the same entries, and every proof of every small tree.
#include "countermark/keys/merkle.h"

#include <gtest/gtest.h>

#include <vector>

#include "src/base/hex.h"

namespace countermark {
namespace {

std::vector<Digest32> Entries(size_t n) {
  std::vector<Digest32> entries(n);
  for (size_t i = 0; i < n; ++i) entries[i].fill(static_cast<uint8_t>(i));
  return entries;
}

// Written out by hand from the definition, for trees of one to five entries.
Digest32 Leaf(const Digest32& d) {
  std::vector<uint8_t> bytes = {0};
  bytes.insert(bytes.end(), d.begin(), d.end());
  return Sha256(bytes);
}
Digest32 Node(const Digest32& l, const Digest32& r) {
  std::vector<uint8_t> bytes = {1};
  bytes.insert(bytes.end(), l.begin(), l.end());
  bytes.insert(bytes.end(), r.begin(), r.end());
  return Sha256(bytes);
}

TEST(Merkle, RootsOfSmallTrees) {
  const std::vector<Digest32> e = Entries(5);
  EXPECT_EQ(HexEncode(MerkleRoot({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const Digest32 l01 = Node(Leaf(e[0]), Leaf(e[1])), l23 = Node(Leaf(e[2]), Leaf(e[3]));
  const std::span<const Digest32> all(e);
  EXPECT_EQ(MerkleRoot(all.first(1)), Leaf(e[0]));
  EXPECT_EQ(MerkleRoot(all.first(2)), l01);
  EXPECT_EQ(MerkleRoot(all.first(3)), Node(l01, Leaf(e[2])));
  EXPECT_EQ(MerkleRoot(all.first(4)), Node(l01, l23));
  EXPECT_EQ(MerkleRoot(all.first(5)), Node(Node(l01, l23), Leaf(e[4])));
}

TEST(Merkle, EveryProofVerifiesAndNoOther) {
  for (size_t n = 1; n <= 33; ++n) {
    const std::vector<Digest32> entries = Entries(n);
    const Digest32 root = MerkleRoot(entries);
    for (size_t i = 0; i < n; ++i) {
      std::vector<Digest32> path = MerkleInclusionPath(entries, i);
      EXPECT_TRUE(MerkleIncludes(root, n, i, entries[i], path)) << n << " " << i;
      for (size_t j = 0; j < n; ++j) {
        if (j == i) continue;
        EXPECT_FALSE(MerkleIncludes(root, n, j, entries[i], path)) << n << " " << i << " " << j;
        EXPECT_FALSE(MerkleIncludes(root, n, i, entries[j], path)) << n << " " << i << " " << j;
      }
      EXPECT_FALSE(MerkleIncludes(root, n, n, entries[i], path));
      if (!path.empty()) {
        path.back()[0] ^= 1;
        EXPECT_FALSE(MerkleIncludes(root, n, i, entries[i], path));
        path.pop_back();
        EXPECT_FALSE(MerkleIncludes(root, n, i, entries[i], path));
      }
      path.push_back(root);
      path.push_back(root);
      EXPECT_FALSE(MerkleIncludes(root, n, i, entries[i], path));
    }
  }
}

}  // namespace
}  // namespace countermark
