// The Merkle tree of RFC 9162 over 32-byte entries: one hash that stands for many commitments, and the proof that one is among them.
//
//   Digest32 root = MerkleRoot(commitments);                                  // published before the keys' first use
//   std::vector<Digest32> path = MerkleInclusionPath(commitments, 17);        // shown when account 17's key is revealed
//   bool in = MerkleIncludes(root, commitments.size(), 17, commitments[17], path);
//
// Leaf: SHA-256(0x00 ‖ entry); node: SHA-256(0x01 ‖ left ‖ right); no entries: SHA-256 of nothing. Source: RFC 9162, 2.1.
#ifndef COUNTERMARK_KEYS_MERKLE_H_
#define COUNTERMARK_KEYS_MERKLE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "countermark/keys/derive.h"

namespace countermark {

Digest32 MerkleRoot(std::span<const Digest32> entries);

// The siblings from the leaf up, PATH(index, entries) of RFC 9162, 2.1.3.1. Empty for a single entry; index < entries.size().
std::vector<Digest32> MerkleInclusionPath(std::span<const Digest32> entries, size_t index);

// True if `path` proves that `entry` is number `index` of a tree of `size` entries with that root. RFC 9162, 2.1.3.2.
bool MerkleIncludes(const Digest32& root, size_t size, size_t index, const Digest32& entry, std::span<const Digest32> path);

}  // namespace countermark

#endif  // COUNTERMARK_KEYS_MERKLE_H_
