// What the models said of a few probes, in a frame of the run directory.
//
//   std::string payload = EncodeRows(probes, window, subjects);
//   CM_ASSIGN_OR_RETURN(std::vector<ProbeRows> probes, ParseRows(payload, window, subjects));   // any bytes
#ifndef COUNTERMARK_SRC_AUDIT_MODEL_ROWS_H_
#define COUNTERMARK_SRC_AUDIT_MODEL_ROWS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/audit/model_weights.h"

namespace countermark::audit {

// The suspect, and the control model if there is one, each against the reference.
inline constexpr int kMostSubjects = 2;

struct SubjectRow {
  int64_t top1 = -1;                  // the likeliest token; −1 where the provider's vocabulary lacks it
  std::vector<TokenWeight> weights;
};
struct PositionRow {
  uint32_t window[kMaxWindow] = {};
  bool first_in_log = false;          // the window stands in no earlier answer, whoever's
  std::array<SubjectRow, kMostSubjects> subject;
};

// How many positions of a probe went which way.
struct PositionCounts {
  uint64_t positions = 0;   // with a whole window
  uint64_t in_context = 0;  // left out: the window stood earlier in the same context
  uint64_t earlier = 0;     // left out: the window stood in an earlier answer under the same keys
  uint64_t unaligned = 0;   // left out: the models' tokens do not begin where ours do
  uint64_t beyond = 0;      // left out: beyond the longest context
  void Add(const PositionCounts& more) {
    positions += more.positions;
    in_context += more.in_context;
    earlier += more.earlier;
    unaligned += more.unaligned;
    beyond += more.beyond;
  }
};

struct ProbeRows {
  std::string account;
  PositionCounts counts;
  std::string error;        // the probe could not be put to the models
  std::vector<PositionRow> rows;
};

std::string EncodeRows(const std::vector<ProbeRows>& probes, int window, int subjects);
// DataLoss for what is not well formed.
absl::StatusOr<std::vector<ProbeRows>> ParseRows(std::string_view payload, int window, int subjects);

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_MODEL_ROWS_H_
