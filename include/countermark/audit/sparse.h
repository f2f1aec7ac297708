// A few marked documents among many: an e-value that a mixture of bets earns along the documents, in the order they come in.
//
//   SparseProduct product;
//   for (each document) product.Add(count_of_its_new_pairs, parameters);   // pairs that no earlier document holds
//   double log10_e = product.Log10();                                     // P(E ≥ 1/α) ≤ α under H0, and so for the highest E on the way
//
// E = mean over the grid of (ε, λ) of Π_d [(1 − ε) + ε·e_d(λ)], e_d(λ) the whole product of the bet λ over the document's pairs (tails.h).
//
// Why E is an e-value, and a martingale along the documents: H0 says that the texts are independent of the key. Given the texts and the route key, the
// words of distinct pairs are independent and uniform, and each pair is in one factor alone, that of its first document. So the factors are independent given
// the texts, each of expectation 1 (gumbel: at most 1), as e_d(λ) is (tails.h) and as a mixture with 1 keeps it. Products over independent factors, and the
// mean over a fixed grid, keep it too. The order of the documents, copies among them and how they were chosen do not matter, as long as
// whoever chose had no knowledge of the key. Ville's inequality gives P(sup over documents of E ≥ 1/α) ≤ α.
#ifndef COUNTERMARK_AUDIT_SPARSE_H_
#define COUNTERMARK_AUDIT_SPARSE_H_

#include <array>
#include <cstdint>

#include "countermark/detect/tails.h"

namespace countermark {

// The shares of marked documents that are bet on: 4^−j, j = 0 … 12. 13 × 24 bets cost at most log10 312 = 2.5 decades against the best.
inline constexpr std::array<double, 13> kSparseShares = [] {
  std::array<double, 13> shares{};
  double share = 1;
  for (double& s : shares) {
    s = share;
    share /= 4;
  }
  return shares;
}();

class SparseProduct {
 public:
  SparseProduct();
  // One more document. None of its pairs may have been in an earlier one. No pairs: nothing changes.
  void Add(const ChannelCount& count, const MarkParameters& parameters);
  // As if `next`'s documents had been added. Rounding aside, the result does not depend on where the documents were cut.
  void Append(const SparseProduct& next);
  double Log10() const;

 private:
  // mantissa·2^exponent·e^ln: what would leave the range of a long double goes to the other two.
  struct Factor {
    long double mantissa = 1;
    int64_t exponent = 0;
    long double ln = 0;
    void Multiply(long double by);
  };
  std::array<std::array<Factor, kSparseShares.size()>, kEValueBets.size()> factors_;
};

}  // namespace countermark

#endif  // COUNTERMARK_AUDIT_SPARSE_H_
