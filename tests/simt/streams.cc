// Streams, events, graphs, and what the stand-in runtime says of its device and of errors.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "tests/simt/arena.h"
#include "tests/simt/control.h"
#include "tests/simt/runtime.h"

using countermark::simt::Capture;
using countermark::simt::Runtime;
using countermark::simt::Work;

// ---- Streams ---------------------------------------------------------------------------------------------------------------------
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  COUNTERMARK_SIMT_ENTER("cudaStreamCreate");
  if (stream == nullptr) return runtime.Leave(cudaErrorInvalidValue);
  *stream = new CUstream_st;
  runtime.streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) { return cudaStreamCreateWithFlags(stream, flags); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  COUNTERMARK_SIMT_ENTER("cudaStreamDestroy");
  if (runtime.streams.erase(stream) == 0) return runtime.Leave(cudaErrorInvalidResourceHandle);
  delete stream;
  return cudaSuccess;
}
// Waiting for a stream, or asking after it, breaks its capture.
static cudaError_t WaitFor(Runtime& runtime, cudaStream_t stream) {
  CUstream_st* const waited = runtime.StreamOf(stream);
  if (waited == nullptr) return cudaErrorInvalidResourceHandle;
  if (waited->capture == nullptr) return cudaSuccess;
  waited->capture->broken = true;
  return cudaErrorStreamCaptureUnsupported;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  COUNTERMARK_SIMT_ENTER("cudaStreamSynchronize");
  return runtime.Leave(WaitFor(runtime, stream));
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  COUNTERMARK_SIMT_ENTER("cudaStreamQuery");
  return runtime.Leave(WaitFor(runtime, stream));
}
cudaError_t cudaDeviceSynchronize() {
  COUNTERMARK_SIMT_ENTER("cudaDeviceSynchronize");
  return runtime.Leave(runtime.ForbiddenByCapture() ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  COUNTERMARK_SIMT_ENTER("cudaLaunchHostFunc");
  if (function == nullptr) return runtime.Leave(cudaErrorInvalidValue);
  return runtime.Leave(runtime.Queue(stream, [=] {
    function(data);
    return cudaSuccess;
  }));
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  COUNTERMARK_SIMT_ENTER("cudaStreamWaitEvent");
  CUstream_st* const waits = runtime.StreamOf(stream);
  if (waits == nullptr || runtime.events.count(event) == 0) return runtime.Leave(cudaErrorInvalidResourceHandle);
  if (event->capture != nullptr) {
    if (waits->capture != nullptr && waits->capture != event->capture) return runtime.Leave(cudaErrorStreamCaptureMerge);
    waits->capture = event->capture;  // the stream joins the capture
  }
  return cudaSuccess;
}

// ---- Events ----------------------------------------------------------------------------------------------------------------------
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  COUNTERMARK_SIMT_ENTER("cudaEventCreate");
  if (event == nullptr) return runtime.Leave(cudaErrorInvalidValue);
  *event = new CUevent_st;
  runtime.events.insert(*event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  COUNTERMARK_SIMT_ENTER("cudaEventRecord");
  CUstream_st* const records = runtime.StreamOf(stream);
  if (records == nullptr || runtime.events.count(event) == 0) return runtime.Leave(cudaErrorInvalidResourceHandle);
  event->capture = records->capture;
  event->recorded = true;
  event->nanoseconds = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
  return cudaSuccess;
}
static cudaError_t WaitFor(Runtime& runtime, cudaEvent_t event) {
  if (runtime.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
  if (event->capture == nullptr) return cudaSuccess;
  event->capture->broken = true;
  return cudaErrorCapturedEvent;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  COUNTERMARK_SIMT_ENTER("cudaEventQuery");
  return runtime.Leave(WaitFor(runtime, event));
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  COUNTERMARK_SIMT_ENTER("cudaEventSynchronize");
  return runtime.Leave(WaitFor(runtime, event));
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  COUNTERMARK_SIMT_ENTER("cudaEventElapsedTime");
  if (milliseconds == nullptr || runtime.events.count(start) == 0 || runtime.events.count(end) == 0 || !start->recorded || !end->recorded) {
    return runtime.Leave(cudaErrorInvalidResourceHandle);
  }
  *milliseconds = static_cast<float>(static_cast<double>(end->nanoseconds - start->nanoseconds) / 1e6);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  COUNTERMARK_SIMT_ENTER("cudaEventDestroy");
  if (runtime.events.erase(event) == 0) return runtime.Leave(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}

// ---- Graphs: what was queued while a stream captured, in that order ----------------------------------------------------------------
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  COUNTERMARK_SIMT_ENTER("cudaStreamBeginCapture");
  if (runtime.streams.count(stream) == 0) return runtime.Leave(cudaErrorStreamCaptureUnsupported);  // nor the default stream
  if (stream->capture != nullptr) return runtime.Leave(cudaErrorIllegalState);
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  stream->capture->mode = mode;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  COUNTERMARK_SIMT_ENTER("cudaStreamEndCapture");
  if (runtime.streams.count(stream) == 0 || stream->capture == nullptr || graph == nullptr) return runtime.Leave(cudaErrorIllegalState);
  const std::shared_ptr<Capture> capture = stream->capture;
  *graph = nullptr;
  if (capture->origin != stream) return runtime.Leave(cudaErrorStreamCaptureUnmatched);
  for (CUstream_st* other : runtime.streams) {
    if (other->capture == capture) other->capture = nullptr;
  }
  if (capture->broken) return runtime.Leave(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st{capture->work};
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  COUNTERMARK_SIMT_ENTER("cudaStreamIsCapturing");
  CUstream_st* const asked = runtime.StreamOf(stream);
  if (asked == nullptr || status == nullptr) return runtime.Leave(cudaErrorInvalidResourceHandle);
  *status = asked->capture == nullptr    ? cudaStreamCaptureStatusNone
            : asked->capture->broken     ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  COUNTERMARK_SIMT_ENTER("cudaGraphInstantiate");
  if (executable == nullptr || graph == nullptr) return runtime.Leave(cudaErrorInvalidValue);
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  COUNTERMARK_SIMT_ENTER("cudaGraphLaunch");
  if (executable == nullptr) return runtime.Leave(cudaErrorInvalidValue);
  for (const Work& work : executable->work) {
    if (const cudaError_t error = runtime.Queue(stream, work); error != cudaSuccess) return runtime.Leave(error);
  }
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

// ---- The device ------------------------------------------------------------------------------------------------------------------
cudaError_t cudaGetDeviceCount(int* count) {
  COUNTERMARK_SIMT_ENTER("cudaGetDeviceCount");
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  COUNTERMARK_SIMT_ENTER("cudaSetDevice");
  return runtime.Leave(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaGetDevice(int* device) {
  COUNTERMARK_SIMT_ENTER("cudaGetDevice");
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  COUNTERMARK_SIMT_ENTER("cudaGetDeviceProperties");
  if (properties == nullptr || device != 0) return runtime.Leave(cudaErrorInvalidDevice);
  const countermark::simt::Options options = countermark::simt::Configured();
  std::memset(properties, 0, sizeof(*properties));
  std::snprintf(properties->name, sizeof(properties->name), "countermark SIMT emulator");
  properties->major = 8;
  properties->minor = 0;
  properties->multiProcessorCount = options.multiprocessors;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->sharedMemPerBlock = countermark::simt::Arena::kStaticLimit;
  properties->sharedMemPerBlockOptin = options.dynamic_shared_limit;
  properties->totalGlobalMem = size_t{1} << 34;
  properties->unifiedAddressing = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  COUNTERMARK_SIMT_ENTER("cudaDeviceGetAttribute");
  if (value == nullptr || device != 0) return runtime.Leave(cudaErrorInvalidDevice);
  const countermark::simt::Options options = countermark::simt::Configured();
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = options.multiprocessors; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(countermark::simt::Arena::kStaticLimit); break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(options.dynamic_shared_limit); break;
    case cudaDevAttrComputeCapabilityMajor: *value = 8; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrCooperativeLaunch: *value = 0; break;
    case cudaDevAttrUnifiedAddressing: *value = 1; break;
    default: return runtime.Leave(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  COUNTERMARK_SIMT_ENTER("cudaFuncSetAttribute");
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;  // the carveout is a hint
  if (value < 0 || static_cast<size_t>(value) > countermark::simt::Configured().dynamic_shared_limit) return runtime.Leave(cudaErrorInvalidValue);
  runtime.dynamic_shared[kernel] = value;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int threads, size_t smem_bytes) {
  COUNTERMARK_SIMT_ENTER("cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  if (blocks == nullptr || threads < 1 || threads > 1024) return runtime.Leave(cudaErrorInvalidValue);
  const int by_shared = static_cast<int>(size_t{164 * 1024} / (smem_bytes + 1024));
  *blocks = std::min({2048 / ((threads + 31) / 32 * 32), by_shared, 32});
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

// ---- Errors ------------------------------------------------------------------------------------------------------------------------
cudaError_t cudaGetLastError() {
  Runtime& runtime = Runtime::Get();
  const std::lock_guard<std::recursive_mutex> lock(runtime.mutex);
  const cudaError_t error = runtime.last_error;
  runtime.last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() {
  Runtime& runtime = Runtime::Get();
  const std::lock_guard<std::recursive_mutex> lock(runtime.mutex);
  return runtime.last_error;
}
const char* cudaGetErrorName(cudaError_t error) {
#define COUNTERMARK_SIMT_NAME(e) \
  case e: return #e
  switch (error) {
    COUNTERMARK_SIMT_NAME(cudaSuccess);
    COUNTERMARK_SIMT_NAME(cudaErrorInvalidValue);
    COUNTERMARK_SIMT_NAME(cudaErrorMemoryAllocation);
    COUNTERMARK_SIMT_NAME(cudaErrorInvalidConfiguration);
    COUNTERMARK_SIMT_NAME(cudaErrorInvalidPitchValue);
    COUNTERMARK_SIMT_NAME(cudaErrorInsufficientDriver);
    COUNTERMARK_SIMT_NAME(cudaErrorNoDevice);
    COUNTERMARK_SIMT_NAME(cudaErrorInvalidDevice);
    COUNTERMARK_SIMT_NAME(cudaErrorIllegalState);
    COUNTERMARK_SIMT_NAME(cudaErrorInvalidResourceHandle);
    COUNTERMARK_SIMT_NAME(cudaErrorNotReady);
    COUNTERMARK_SIMT_NAME(cudaErrorIllegalAddress);
    COUNTERMARK_SIMT_NAME(cudaErrorLaunchFailure);
    COUNTERMARK_SIMT_NAME(cudaErrorStreamCaptureUnsupported);
    COUNTERMARK_SIMT_NAME(cudaErrorStreamCaptureInvalidated);
    COUNTERMARK_SIMT_NAME(cudaErrorStreamCaptureMerge);
    COUNTERMARK_SIMT_NAME(cudaErrorStreamCaptureUnmatched);
    COUNTERMARK_SIMT_NAME(cudaErrorStreamCaptureImplicit);
    COUNTERMARK_SIMT_NAME(cudaErrorCapturedEvent);
    COUNTERMARK_SIMT_NAME(cudaErrorUnknown);
    default: return "an error that the emulator does not name";
  }
#undef COUNTERMARK_SIMT_NAME
}
const char* cudaGetErrorString(cudaError_t error) { return error == cudaSuccess ? "no error" : cudaGetErrorName(error); }
