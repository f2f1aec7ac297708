// The three schemes and the numbers that describe a mark. Takes nothing; gives the vocabulary the other stages share.
#ifndef COUNTERMARK_MARK_SCHEME_H_
#define COUNTERMARK_MARK_SCHEME_H_

#include <cstdint>

namespace countermark {

// The id is part of the pseudorandom function's input (mark format 1), so a number never changes its meaning.
enum class Scheme : uint8_t {
  kPartition = 1,   // green list: a token is green with probability green/256, and green tokens are made likelier
  kTournament = 2,  // SynthID-style: layers of one-bit duels
  kGumbel = 3,      // exponential race; the default
};

inline constexpr int kMinWindow = 1;
inline constexpr int kMaxWindow = 4;
inline constexpr int kMaxChannels = 4;
inline constexpr int kMaxLayers = 32;
inline constexpr uint32_t kTokenLimit = 0xFFFFFF;  // a token id must be below it: three bytes, all ones excluded

// What, beside the keys, determines the words and the score of a (window, token) pair.
struct MarkParameters {
  Scheme scheme = Scheme::kGumbel;
  int window = 2;      // h, tokens, 1…4
  int green = 64;      // G, partition only: γ = G/256, 1…255
  double delta = 2.0;  // δ, partition only: a green token's logit gains δ, 0 < δ ≤ 16; the detector does not need it
  int layers = 30;     // m, tournament only, 1…32
};

}  // namespace countermark

#endif  // COUNTERMARK_MARK_SCHEME_H_
