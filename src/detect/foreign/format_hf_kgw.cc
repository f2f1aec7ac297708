// hf-kgw: transformers' WatermarkingConfig with seeding_scheme lefthash.
#include "src/detect/foreign/kgw.h"
#include "src/detect/foreign/table.h"

namespace countermark {

FOREIGN_FORMAT(hf_kgw, "KGW lefthash of transformers (WatermarkingConfig)") { return MakeKgw(config, /*selfhash=*/false); }

}  // namespace countermark
