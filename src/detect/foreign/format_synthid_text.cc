// synthid-text: the configuration of the package synthid-text. Its releases (to 0.2.1) have a sampling table, its newer sources have none and another hash; which of the
// two a configuration is of shows in whether it has the table's members.
#include "src/base/status_macros.h"
#include "src/detect/foreign/synthid.h"
#include "src/detect/foreign/table.h"

namespace countermark {

FOREIGN_FORMAT(synthid_text, "the package synthid-text: table hash (0.2.1), or iv hash where there is no sampling table") {
  SynthIdParameters p;
  CM_ASSIGN_OR_RETURN(p.ngram_len, config.Integer("ngram_len", 2, 64));
  CM_ASSIGN_OR_RETURN(p.keys, config.Integers("keys", 1, 255));
  CM_ASSIGN_OR_RETURN(p.context_history_size, config.Integer("context_history_size", 0, 1 << 24));
  p.table_size = 0;
  if (config.Has("sampling_table_size") || config.Has("sampling_table_seed")) {
    CM_ASSIGN_OR_RETURN(p.table_size, config.Integer("sampling_table_size", 2, 1 << 24));
    CM_ASSIGN_OR_RETURN(const int64_t seed, config.Integer("sampling_table_seed", 0, INT64_MAX));
    p.table_seed = static_cast<uint32_t>(seed);
  }
  config.Ignore({"device", "temperature", "top_k", "skip_first_ngram_calls", "apply_top_k"});
  // A tournament of more than two a match has another law of g-values where it marks; where it does not, the null is the same.
  config.Ignore({"num_leaves"});
  return MakeSynthId(std::move(p));
}

}  // namespace countermark
