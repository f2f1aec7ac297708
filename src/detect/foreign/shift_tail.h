// The upper tail of a SynthID count under the key, exactly: a fixed set of places on a public table, which each layer's key shifts round.
//
//   Log10ShiftTail(table, places, 30, 9214);   // log10 P(at least 9,214 ones, over 30 layers)
//
// A place x shows layer l the bit table[(x + k_l) mod size]. With C(k) = Σ table[(x + k) mod size] over the places, the count is Σ_l C(k_l), and H0, the text is independent of
// the key, leaves the k_l alone as random: uniform, and distinct, as equal layers are one. C is no binomial variable: whoever knows the table can choose places that make it large at shifts
// of his choice. So its distribution over all shifts is counted out, and the sum's is its convolution:
//
//   P(Σ C(k_l) ≥ s | k distinct) ≤ P(Σ C(k_l) ≥ s) / P(k distinct),   k independent and uniform on the right; P(k distinct) = Π (1 − l/size), 0.993 for 30 layers of 65,536.
//
// The convolution is that of the tilted distribution, weights e^(t·c)/M(t) with the mean at s/L, so that no probability vanishes: P(Σ ≥ s) = M(t)^L·e^(−t·s)·E[e^(−t·(J − s)); J ≥ s],
// J the sum under the tilt. Values that carry a tilted mass of 1e-18 in all are left out and L·1e-18 added to the expectation, which is what they could add at most. Where the convolution is
// too dear the expectation is taken as 1, its bound (Chernoff). So the result is exact to nine digits, or above.
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_SHIFT_TAIL_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_SHIFT_TAIL_H_

#include <cstdint>
#include <span>
#include <vector>

namespace countermark {

// How often each count comes over all shifts: entry c says how many shifts show c ones. `table`: bits, 0 or 1, in the order a shift moves along. Places: distinct, below its size.
std::vector<uint64_t> ShiftCounts(std::span<const uint8_t> table, std::span<const uint32_t> places);

// log10 of the tail, in [−layers·log10(size), 0]; 0 for no places. 0 ≤ ones ≤ places·layers, 1 ≤ layers ≤ size. Takes `places`·`size` additions of bytes; 0.3 ms for 200 places of 65,536.
// `work`: products a convolution may take, for tests.
double Log10ShiftTail(std::span<const uint8_t> table, std::span<const uint32_t> places, uint32_t layers, uint64_t ones, double work = 2e8);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_SHIFT_TAIL_H_
