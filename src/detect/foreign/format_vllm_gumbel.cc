// vllm-gumbel: vLLM's WatermarkConfig with algorithm gumbel.
#include "src/detect/foreign/table.h"
#include "src/detect/foreign/vllm.h"

namespace countermark {

FOREIGN_FORMAT(vllm_gumbel, "gumbel of vLLM (WatermarkConfig)") { return MakeVllm(config, /*dual=*/false); }

}  // namespace countermark
