// hf-synthid: transformers' SynthIDTextWatermarkingConfig. Its hash is the table's, that of synthid-text 0.2.1.
#include "src/base/status_macros.h"
#include "src/detect/foreign/synthid.h"
#include "src/detect/foreign/table.h"

namespace countermark {

FOREIGN_FORMAT(hf_synthid, "SynthID of transformers (SynthIDTextWatermarkingConfig), table hash") {
  SynthIdParameters p;
  CM_ASSIGN_OR_RETURN(p.ngram_len, config.Integer("ngram_len", 2, 64));
  CM_ASSIGN_OR_RETURN(p.keys, config.Integers("keys", 1, 255));
  CM_ASSIGN_OR_RETURN(p.context_history_size, config.Integer("context_history_size", 0, 1 << 24, 1024));
  CM_ASSIGN_OR_RETURN(p.table_size, config.Integer("sampling_table_size", 2, 1 << 24, 1 << 16));
  CM_ASSIGN_OR_RETURN(const int64_t seed, config.Integer("sampling_table_seed", 0, INT64_MAX, 0));
  p.table_seed = static_cast<uint32_t>(seed);
  config.Ignore({"skip_first_ngram_calls", "debug_mode"});
  return MakeSynthId(std::move(p));
}

}  // namespace countermark
