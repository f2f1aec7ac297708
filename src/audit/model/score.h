// From rows and keys to evidence: the base channel, its controls, every candidate account, rings.
#ifndef COUNTERMARK_SRC_AUDIT_MODEL_SCORE_H_
#define COUNTERMARK_SRC_AUDIT_MODEL_SCORE_H_

#include <array>
#include <string>
#include <vector>

#include "countermark/audit/model.h"
#include "countermark/audit/model_ring.h"
#include "src/audit/frame_log.h"
#include "src/audit/model/rows.h"

namespace countermark::audit {

// The matched filter under keys that marked nothing, on the same weights.
struct DecoyControl {
  uint64_t count = 0;
  uint64_t at_least = 0;        // decoys whose statistic is the key's or more
  double mean = 0, sd = 0, largest = 0;  // of z
  std::vector<double> quantiles;         // of z at 0, 5, …, 100 %
  double log10_p_least = 0;              // of the filter, the worst decoy's
  std::array<uint64_t, 3> p_at_most{};   // decoys whose p is at most 0.1, 0.01, 0.001: a bound that holds gives no more than such a share
};

struct TestedKey {
  Evidence evidence;
  Reading reading;
  double z = 0;
};

struct TestedAccount : TestedKey {
  size_t index = 0;             // in the family's labels
  double log10_p_adjusted = 0;  // Holm, over the accounts tested
  double log10_p_corrected = 0;
};

struct NamedRing {
  std::vector<std::string> members;  // those that have windows
  uint64_t without_windows = 0;
  Reading reading;
  double z = 0;
};

struct ModelScores {
  PositionCounts counts;
  uint64_t probes = 0, evaluated_windows = 0;
  std::vector<std::string> errors;
  uint64_t error_count = 0;
  bool same = false;            // the suspect and the reference agree everywhere
  TestedKey base;
  DecoyControl base_decoys;
  bool has_control = false;
  TestedKey control;
  std::vector<TestedAccount> accounts;  // with windows
  uint64_t candidates = 0;
  size_t strongest = 0;                 // into accounts
  DecoyControl account_decoys;          // of the strongest account's windows
  std::vector<NamedRing> rings;
  RingFound searched;                   // indices into accounts
};

// Reads every frame, served probes twice where there are accounts. `decoy_seed`: decoy keys are derived from it; they need be no secret.
absl::StatusOr<ModelScores> ScoreModel(const AuditKeys& keys, const ModelOptions& options, const FrameLog& weights, uint64_t frames, int subjects,
                                       const Secret32& decoy_seed, const AuditObserver& observer);

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_MODEL_SCORE_H_
