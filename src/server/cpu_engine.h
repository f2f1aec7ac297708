// The engine on the host: countermark::Hook and Request, row after row. The reference of the one on a device.
//
//   std::unique_ptr<Engine> engine = MakeCpuEngine(shape);
//
// Single-precision logits are read where they lie; 16-bit ones are converted a row at a time. Memory for a row is allocated at the first row and
// kept; a request's own grows with its tokens.
#ifndef COUNTERMARK_SRC_SERVER_CPU_ENGINE_H_
#define COUNTERMARK_SRC_SERVER_CPU_ENGINE_H_

#include <memory>

#include "src/server/engine.h"

namespace countermark::server {

std::unique_ptr<Engine> MakeCpuEngine(const EngineShape& shape);

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_CPU_ENGINE_H_
