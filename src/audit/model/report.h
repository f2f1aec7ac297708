// What a model audit came to, and its JSON.
#ifndef COUNTERMARK_SRC_AUDIT_MODEL_REPORT_H_
#define COUNTERMARK_SRC_AUDIT_MODEL_REPORT_H_

#include <string>
#include <vector>

#include "src/audit/model/probes.h"
#include "src/audit/model/score.h"
#include "src/audit/run.h"

namespace countermark::audit {

struct ModelConclusion {
  ModelScores scores;
  ProbeCounts probes;
  uint64_t parts = 1;                  // of alpha
  double base_corrected = 0;           // log10 p
  std::vector<double> rings_corrected;
  double searched_corrected = 0;
  double coverage = 1;
  bool stands = true, evidence = false;
  std::vector<std::string> reasons;    // why it does not stand
  std::string suspect_sha256, reference_sha256, control_sha256;
};

// Corrects for every question of the run, and says whether any is answered. Before: `reasons` of what is known already.
void Conclude(const ModelOptions& options, const JudgeOptions& judge, ModelConclusion* conclusion);

// result.json: keys sorted, no blanks, a final newline.
std::string ModelResultJson(const RunDirectory& run, const AuditKeys& keys, const ModelOptions& options, const JudgeOptions& judge, const ModelConclusion& conclusion);

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_MODEL_REPORT_H_
