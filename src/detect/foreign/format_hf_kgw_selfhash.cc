// hf-kgw-selfhash: transformers' WatermarkingConfig with seeding_scheme selfhash.
#include "src/detect/foreign/kgw.h"
#include "src/detect/foreign/table.h"

namespace countermark {

FOREIGN_FORMAT(hf_kgw_selfhash, "KGW selfhash of transformers (WatermarkingConfig)") { return MakeKgw(config, /*selfhash=*/true); }

}  // namespace countermark
