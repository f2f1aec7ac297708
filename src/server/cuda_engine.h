// The engine on a CUDA device: the kernels of kernels/sample.h over a request table in the device's memory. Plain C++ against the CUDA runtime.
//
//   CM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, MakeCudaEngine(shape, /*device=*/0, options));
//
// All memory is allocated here and nowhere later. Sample and Bias queue kernels and nothing else, so that a CUDA graph can capture them. Begin, Commit
// and Rebuild copy through pinned memory; they wait only if the stream is some thirty such calls behind.
#ifndef COUNTERMARK_SRC_SERVER_CUDA_ENGINE_H_
#define COUNTERMARK_SRC_SERVER_CUDA_ENGINE_H_

#include <memory>

#include "src/server/engine.h"

namespace countermark::server {

// Runs the self-test (device_self_test.h) on this device first: Internal if it gives other bits than the host. InvalidArgument: no such device, or
// tournament candidates that its kernels do not hold. ResourceExhausted, Unavailable: the device's runtime says why.
absl::StatusOr<std::unique_ptr<Engine>> MakeCudaEngine(const EngineShape& shape, int device, const HookOptions& options);

// The same without the self-test, for the self-test.
absl::StatusOr<std::unique_ptr<Engine>> MakeUntestedCudaEngine(const EngineShape& shape, int device);

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_CUDA_ENGINE_H_
