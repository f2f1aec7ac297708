// Which documents, and how many at least: from one e-value a document, valid whatever the dependence between them.
//
//   CM_ASSIGN_OR_RETURN(double threshold, ListingThreshold(documents, 0.01, scan));   // list those with log10 e ≥ threshold
//   CM_ASSIGN_OR_RETURN(uint64_t at_least, MarkedDocumentsAtLeast(documents, 0.01, scan));
//
// `scan` visits log10 of every document's e-value, in any order, and may be called several times: nothing grows with their number beyond 256 MiB.
// A document's e-value takes its own distinct pairs, whether or not others hold them too (tails.h, Log10E).
#ifndef COUNTERMARK_AUDIT_DOCUMENTS_H_
#define COUNTERMARK_AUDIT_DOCUMENTS_H_

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"

namespace countermark {

using VisitE = std::function<void(double log10_e)>;
using ScanE = std::function<absl::Status(const VisitE&)>;

// e-BH (Wang and Ramdas 2022): with e sorted descending, k = the largest rank with e_k ≥ documents/(k·fdr); the k first are listed. Of the listed documents the
// expected share that is independent of the key is at most fdr, under any dependence; if none is marked, any is listed with chance at most fdr.
// Gives log10(documents/(k·fdr)): a document is listed just when its log10 e is at least that. +infinity where none is. `kept`: how many values
// may be kept in memory at once, for tests.
absl::StatusOr<double> ListingThreshold(uint64_t documents, double fdr, const ScanE& scan, size_t kept = size_t{1} << 25);

// A lower confidence bound of the number of documents that depend on the key.
//
// Claim: with U the documents whose text is independent of the key, P(documents − |U| < bound) ≤ risk, over the draw of the key, whatever the other
// documents are and however all depend on each other.
// Proof: each e_d, d ∈ U, has expectation at most 1, so the mean of e over U has, and by Markov it is ≥ 1/risk with chance at most risk. Else U is a
// set whose mean is below 1/risk. The largest set with that property is made of the smallest values: |U| ≤ k*, the largest k whose k
// smallest values have a mean below 1/risk (the mean rises with k). The bound is documents − k*.
absl::StatusOr<uint64_t> MarkedDocumentsAtLeast(uint64_t documents, double risk, const ScanE& scan, size_t kept = size_t{1} << 25);

}  // namespace countermark

#endif  // COUNTERMARK_AUDIT_DOCUMENTS_H_
