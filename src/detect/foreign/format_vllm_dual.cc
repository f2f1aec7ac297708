// vllm-dual: vLLM's WatermarkConfig with algorithm dual_key_gumbel.
#include "src/detect/foreign/table.h"
#include "src/detect/foreign/vllm.h"

namespace countermark {

FOREIGN_FORMAT(vllm_dual, "dual-key gumbel of vLLM (WatermarkConfig)") { return MakeVllm(config, /*dual=*/true); }

}  // namespace countermark
