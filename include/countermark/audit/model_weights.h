// What a suspect model prefers that a reference does not: for each window the weights w_v = q(v) − q0(v) of a few tokens.
//
//   std::vector<TokenWeight> kept = LargestWeights(q, q0);      // of one context, the 40 largest in size
//   WeightTable table(h);  table.Add(window, kept);             // a window, once
//   WindowSums sums(h);    sums.Add(window, kept);  …           // or summed over the contexts that share it
//   WeightTable table = sums.Table();
//
// Weights are integers in units of 2⁻²⁴, so that sums of them are exact whatever the order. A statistic may take any weights that do not hang
// on the key; rounding them changes the weights and no claim.
#ifndef COUNTERMARK_AUDIT_MODEL_WEIGHTS_H_
#define COUNTERMARK_AUDIT_MODEL_WEIGHTS_H_

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "countermark/detect/pair_words.h"
#include "countermark/mark/scheme.h"

namespace countermark {

inline constexpr int kWeightBits = 24;
inline constexpr size_t kKeptWeights = 40;

struct TokenWeight {
  uint32_t token = 0;
  int64_t weight = 0;  // in units of 2⁻²⁴; never 0 in a table
};

// The `keep` tokens with the largest |q − q0|, ascending by token; those that round to 0 are left out. At a tie the lower token stays. q.size() ==
// q0.size(), both of probabilities; what is no number counts as 0.
std::vector<TokenWeight> LargestWeights(std::span<const float> q, std::span<const float> q0, size_t keep = kKeptWeights);

// Rows of (window, weights). No window may stand in two rows of what is tested together.
class WeightTable {
 public:
  // 1 ≤ window ≤ kMaxWindow.
  explicit WeightTable(int window) : window_(window) {}

  // `window`: h tokens, oldest first. `weights`: ascending by token, none twice, none of weight 0.
  void Add(const uint32_t* window, std::span<const TokenWeight> weights);
  void Clear();

  int window() const { return window_; }
  size_t rows() const { return begin_.size() - 1; }
  size_t terms() const { return weights_.size(); }
  const uint32_t* Window(size_t row) const { return &windows_[row * static_cast<size_t>(window_)]; }
  std::span<const TokenWeight> Weights(size_t row) const { return {&weights_[begin_[row]], begin_[row + 1] - begin_[row]}; }
  std::span<const TokenWeight> AllWeights() const { return weights_; }
  int64_t largest() const { return largest_; }        // the largest weight, at least 0
  int64_t largest_size() const { return largest_size_; }
  double squares() const { return squares_; }         // Σ w², w as a real number

  // The rows whose window lies on channel `which`.
  WeightTable OnChannel(const Secret32& route_key, Scheme scheme, std::span<const uint32_t> channel_weights, int which) const;

 private:
  int window_;
  std::vector<uint32_t> windows_;
  std::vector<size_t> begin_ = {0};
  std::vector<TokenWeight> weights_;
  int64_t largest_ = 0, largest_size_ = 0;
  double squares_ = 0;
};

// Sums over contexts that share a window: one window is one random variable, so it has one weight a token.
class WindowSums {
 public:
  explicit WindowSums(int window) : window_(window) {}
  void Add(const uint32_t* window, std::span<const TokenWeight> weights);
  size_t windows() const { return sums_.size(); }
  size_t terms() const { return terms_; }
  // Rows in ascending order of their windows, sums that came to 0 left out.
  WeightTable Table() const;

 private:
  int window_;
  size_t terms_ = 0;
  struct Hash {
    size_t operator()(unsigned __int128 x) const { return static_cast<size_t>((static_cast<uint64_t>(x) ^ static_cast<uint64_t>(x >> 64) * 0x9E3779B97F4A7C15ull) * 0xC2B2AE3D27D4EB4Full >> 7); }
  };
  std::unordered_map<unsigned __int128, std::vector<TokenWeight>, Hash> sums_;
};

}  // namespace countermark

#endif  // COUNTERMARK_AUDIT_MODEL_WEIGHTS_H_
