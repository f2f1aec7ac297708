// The state behind the stand-in for the CUDA runtime: allocations, streams, captures, injected failures. Internal to the emulator.
#ifndef COUNTERMARK_TESTS_SIMT_RUNTIME_H_
#define COUNTERMARK_TESTS_SIMT_RUNTIME_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace countermark::simt {

using Work = std::function<cudaError_t()>;

// What streams record between BeginCapture and EndCapture.
struct Capture {
  CUstream_st* origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool broken = false;           // something was called that cannot be captured
  std::vector<Work> work;
};

}  // namespace countermark::simt

// The types that the CUDA headers leave incomplete.
struct CUstream_st {
  std::shared_ptr<countermark::simt::Capture> capture;
};
struct CUevent_st {
  uint64_t nanoseconds = 0;
  bool recorded = false;
  std::shared_ptr<countermark::simt::Capture> capture;  // it was recorded in a capture
};
struct CUgraph_st {
  std::vector<countermark::simt::Work> work;
};
struct CUgraphExec_st {
  std::vector<countermark::simt::Work> work;
};

namespace countermark::simt {

struct Allocation {
  size_t bytes;
  cudaMemoryType type;
};

class Runtime {
 public:
  static Runtime& Get();

  // Counts a call and notes the error, if any. Every function of the stand-in begins with Enter(its name) and ends with Leave.
  cudaError_t Enter(const char* function);   // an injected failure, or cudaSuccess
  cudaError_t Leave(cudaError_t error);      // notes it for cudaGetLastError
  cudaError_t last_error = cudaSuccess;

  CUstream_st* StreamOf(cudaStream_t stream);  // null and the two special handles are the default stream; null: no such stream
  // Does the work now, or records it if the stream captures.
  cudaError_t Queue(cudaStream_t stream, Work work);
  // For what may not happen while anything captures (global mode): breaks the captures, as CUDA does.
  bool ForbiddenByCapture();

  cudaError_t Allocate(void** at, size_t bytes, cudaMemoryType type);
  cudaError_t Free(void* at, cudaMemoryType type);
  const Allocation* Find(const void* at, size_t* offset = nullptr) const;
  bool IsDevice(const void* at, size_t bytes) const;  // lies in one allocation of cudaMalloc

  std::recursive_mutex mutex;  // one call at a time; host functions of a stream may not call back, but kernels launch under it
  std::map<uintptr_t, Allocation> allocations;
  std::set<CUstream_st*> streams;
  std::set<CUevent_st*> events;
  std::map<const void*, int> dynamic_shared;  // by cudaFuncSetAttribute
  std::map<std::string, size_t> calls;
  struct Injection {
    std::string function;
    size_t at_call;
    cudaError_t error;
  };
  std::vector<Injection> injections;

 private:
  CUstream_st default_stream_;
  uint64_t fills_ = 0;
};

}  // namespace countermark::simt

// Begins a function of the stand-in for the runtime: one call at a time, counted, perhaps told to fail.
#define COUNTERMARK_SIMT_ENTER(name)                                          \
  countermark::simt::Runtime& runtime = countermark::simt::Runtime::Get();                                          \
  const std::lock_guard<std::recursive_mutex> lock(runtime.mutex);            \
  if (const cudaError_t injected = runtime.Enter(name); injected != cudaSuccess) return injected

#endif  // COUNTERMARK_TESTS_SIMT_RUNTIME_H_
