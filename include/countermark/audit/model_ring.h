// Evidence that a suspect learned from an account's answers, of one account and of several together.
//
//   EvidenceScale scale{.served = true, .filter = &filter, .parameters = parameters};
//   Evidence of_a = …, of_b = …;                                 // one a key
//   Reading both = Judge(scale, Pool(of_a, of_b));               // a ring that was named beforehand
//   RingFound ring = SearchRing(scale, evidence, log10_p);       // and one that is looked for among all
//
// Keys of different accounts are independent, so what is known of each adds up: sums, counts, and ln of bets.
//
// A ring that is looked for: accounts are taken one by one in the order of their own p, and for each size k the k first are tested together. Any of the C(n, k) sets of k
// accounts could have come first, so the pooled p is multiplied by C(n, k), and by k(k + 1), as Σ 1/(k(k + 1)) = 1 over all sizes: under H0 the chance
// that any size of any order gives a corrected p ≤ α is at most α. A ring says: the suspect depends on the answers of one of these accounts at least;
// that each of them was used is said by their own tests alone.
#ifndef COUNTERMARK_AUDIT_MODEL_RING_H_
#define COUNTERMARK_AUDIT_MODEL_RING_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "countermark/audit/model_filter.h"
#include "countermark/detect/tails.h"

namespace countermark {

// What one key says, or several keys together.
struct Evidence {
  uint64_t keys = 0;      // pooled; 1 for an account
  uint64_t windows = 0;
  FilterSum sum = 0;
  double squares = 0;     // Σ w²
  ChannelCount top1;      // (window, the suspect's argmax), each once
  std::array<long double, kFilterBets> ln_filter{};        // served probes: ln of the bets, so far
  std::array<long double, kEValueBets.size()> ln_top1{};
};

Evidence Pool(const Evidence& a, const Evidence& b);

// How evidence becomes p.
struct EvidenceScale {
  bool served = false;                   // mixture e-values; else tails for fixed weights
  const MatchedFilter* filter = nullptr;
  const ChernoffBound* bound = nullptr;  // key-independent probes: of the table that every key was tested on
};

struct Reading {
  double log10_filter = 0, log10_top1 = 0;  // raw p
  double log10_e_filter = 0, log10_e_top1 = 0;  // served probes
  double log10_p = 0;                       // of both, corrected for two
};
Reading Judge(const EvidenceScale& scale, const Evidence& evidence);

struct RingFound {
  std::vector<size_t> members;  // indices, strongest first; empty where there is none to look among
  Reading reading;              // pooled, raw
  double log10_sets = 0;        // C(n, k)·k(k + 1), what p is multiplied by
  double log10_p = 0;           // corrected for the search
};
// `log10_p`: of each account on its own, by which they are ordered (a tie: the lower index first). `largest`: sizes beyond it are not tried.
RingFound SearchRing(const EvidenceScale& scale, std::span<const Evidence> accounts, std::span<const double> log10_p, size_t largest = 4096);

}  // namespace countermark

#endif  // COUNTERMARK_AUDIT_MODEL_RING_H_
