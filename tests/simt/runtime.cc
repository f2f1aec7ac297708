// The state of the stand-in runtime, launches, and memory: the functions of the CUDA runtime that allocate, copy and set.
//
// Device memory is heap, so ASan sees its bounds; it is filled with a pattern when allocated. Copies hold their device side to one allocation of
// cudaMalloc, as a device would. Streams run in order at once.
#include "tests/simt/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tests/simt/control.h"
#include "tests/simt/launch.h"
#include "tests/simt/machine.h"

namespace countermark::simt {

Runtime& Runtime::Get() {
  static Runtime* const runtime = new Runtime;
  return *runtime;
}

cudaError_t Runtime::Enter(const char* function) {
  const size_t call = ++calls[function];
  for (const Injection& injection : injections) {
    if (injection.at_call == call && injection.function == function) return Leave(injection.error);
  }
  return cudaSuccess;
}

cudaError_t Runtime::Leave(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

CUstream_st* Runtime::StreamOf(cudaStream_t stream) {
  if (stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread) return &default_stream_;
  return streams.count(stream) != 0 ? stream : nullptr;
}

cudaError_t Runtime::Queue(cudaStream_t stream, Work work) {
  CUstream_st* const to = StreamOf(stream);
  if (to == nullptr) return cudaErrorInvalidResourceHandle;
  if (to->capture != nullptr) {
    if (to->capture->broken) return cudaErrorStreamCaptureInvalidated;
    to->capture->work.push_back(std::move(work));
    return cudaSuccess;
  }
  if (to == &default_stream_ && ForbiddenByCapture()) return cudaErrorStreamCaptureImplicit;
  return work();
}

bool Runtime::ForbiddenByCapture() {
  bool forbidden = false;
  for (CUstream_st* stream : streams) {
    if (stream->capture != nullptr && stream->capture->mode != cudaStreamCaptureModeRelaxed) {
      stream->capture->broken = true;
      forbidden = true;
    }
  }
  return forbidden;
}

cudaError_t Runtime::Allocate(void** at, size_t bytes, cudaMemoryType type) {
  if (at == nullptr) return cudaErrorInvalidValue;
  *at = nullptr;
  if (ForbiddenByCapture()) return cudaErrorStreamCaptureUnsupported;
  if (bytes == 0) return cudaSuccess;
  if (posix_memalign(at, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(*at, static_cast<int>(0x81 + 2 * (Configured().seed + fills_++) % 126), bytes);
  allocations[reinterpret_cast<uintptr_t>(*at)] = {bytes, type};
  return cudaSuccess;
}

cudaError_t Runtime::Free(void* at, cudaMemoryType type) {
  if (at == nullptr) return cudaSuccess;
  if (ForbiddenByCapture()) return cudaErrorStreamCaptureUnsupported;
  const auto found = allocations.find(reinterpret_cast<uintptr_t>(at));
  if (found == allocations.end() || found->second.type != type) return cudaErrorInvalidValue;
  allocations.erase(found);
  std::free(at);
  return cudaSuccess;
}

const Allocation* Runtime::Find(const void* at, size_t* offset) const {
  const auto address = reinterpret_cast<uintptr_t>(at);
  auto after = allocations.upper_bound(address);
  if (after == allocations.begin()) return nullptr;
  --after;
  if (address - after->first >= after->second.bytes) return nullptr;
  if (offset != nullptr) *offset = address - after->first;
  return &after->second;
}

bool Runtime::IsDevice(const void* at, size_t bytes) const {
  size_t offset = 0;
  const Allocation* allocation = Find(at, &offset);
  return allocation != nullptr && allocation->type == cudaMemoryTypeDevice && bytes <= allocation->bytes - offset;
}

void InjectFailure(const char* function, int nth, int error) {
  Runtime& runtime = Runtime::Get();
  runtime.injections.push_back({function, runtime.calls[function] + static_cast<size_t>(nth), static_cast<cudaError_t>(error)});
}
void ClearFailures() { Runtime::Get().injections.clear(); }
size_t LiveAllocations() { return Runtime::Get().allocations.size(); }
size_t Calls(const char* function) { return Runtime::Get().calls[function]; }

cudaError_t Launch(const void* kernel, dim3 grid, dim3 block, size_t smem_bytes, cudaStream_t stream, std::function<void()> body) {
  Runtime& runtime = Runtime::Get();
  const std::lock_guard<std::recursive_mutex> lock(runtime.mutex);
  if (const cudaError_t injected = runtime.Enter("Launch"); injected != cudaSuccess) return injected;
  constexpr unsigned kOtherDimension = 65535;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x == 0 || block.y == 0 || block.z == 0 || grid.x > 0x7fffffff ||
      grid.y > kOtherDimension || grid.z > kOtherDimension || block.z > 64 || static_cast<uint64_t>(block.x) * block.y * block.z > 1024) {
    return runtime.Leave(cudaErrorInvalidConfiguration);
  }
  const auto allowed = runtime.dynamic_shared.find(kernel);
  if (smem_bytes > (allowed == runtime.dynamic_shared.end() ? Arena::kStaticLimit : static_cast<size_t>(allowed->second))) {
    return runtime.Leave(cudaErrorInvalidValue);  // cudaFuncSetAttribute was not asked for as much
  }
  return runtime.Leave(runtime.Queue(stream, [grid, block, smem_bytes, body = std::move(body)] {
    return Machine::Get().Run(grid, block, smem_bytes, body, Configured(), NextLaunchSeed());
  }));
}

}  // namespace countermark::simt

using countermark::simt::Allocation;
using countermark::simt::Runtime;

namespace {

// The device side of a copy must be the device's.
cudaError_t CheckCopy(const Runtime& runtime, const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  if (to == nullptr || from == nullptr) return cudaErrorInvalidValue;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if ((to_device && !runtime.IsDevice(to, bytes)) || (from_device && !runtime.IsDevice(from, bytes))) return cudaErrorInvalidValue;
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaMalloc(void** at, size_t bytes) {
  COUNTERMARK_SIMT_ENTER("cudaMalloc");
  return runtime.Leave(runtime.Allocate(at, bytes, cudaMemoryTypeDevice));
}
cudaError_t cudaFree(void* at) {
  COUNTERMARK_SIMT_ENTER("cudaFree");
  return runtime.Leave(runtime.Free(at, cudaMemoryTypeDevice));
}
cudaError_t cudaMallocHost(void** at, size_t bytes) {
  COUNTERMARK_SIMT_ENTER("cudaMallocHost");
  return runtime.Leave(runtime.Allocate(at, bytes, cudaMemoryTypeHost));
}
cudaError_t cudaHostAlloc(void** at, size_t bytes, unsigned) {
  COUNTERMARK_SIMT_ENTER("cudaHostAlloc");
  return runtime.Leave(runtime.Allocate(at, bytes, cudaMemoryTypeHost));
}
cudaError_t cudaFreeHost(void* at) {
  COUNTERMARK_SIMT_ENTER("cudaFreeHost");
  return runtime.Leave(runtime.Free(at, cudaMemoryTypeHost));
}
cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  COUNTERMARK_SIMT_ENTER("cudaHostGetDevicePointer");
  const Allocation* allocation = runtime.Find(host);
  if (device == nullptr || allocation == nullptr || allocation->type != cudaMemoryTypeHost) return runtime.Leave(cudaErrorInvalidValue);
  *device = host;
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  COUNTERMARK_SIMT_ENTER("cudaMemcpy");
  if (runtime.ForbiddenByCapture()) return runtime.Leave(cudaErrorStreamCaptureImplicit);
  if (const cudaError_t error = CheckCopy(runtime, to, from, bytes, kind); error != cudaSuccess) return runtime.Leave(error);
  if (bytes > 0) std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  COUNTERMARK_SIMT_ENTER("cudaMemcpyAsync");
  if (const cudaError_t error = CheckCopy(runtime, to, from, bytes, kind); error != cudaSuccess) return runtime.Leave(error);
  return runtime.Leave(runtime.Queue(stream, [=] {
    if (bytes > 0) std::memmove(to, from, bytes);
    return cudaSuccess;
  }));
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  COUNTERMARK_SIMT_ENTER("cudaMemcpy2DAsync");
  if (width > to_pitch || width > from_pitch) return runtime.Leave(cudaErrorInvalidPitchValue);
  for (size_t row = 0; row < height; ++row) {
    const cudaError_t error = CheckCopy(runtime, static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width, kind);
    if (error != cudaSuccess) return runtime.Leave(error);
  }
  return runtime.Leave(runtime.Queue(stream, [=] {
    for (size_t row = 0; row < height && width > 0; ++row) {
      std::memmove(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
    }
    return cudaSuccess;
  }));
}
cudaError_t cudaMemset(void* at, int value, size_t bytes) {
  COUNTERMARK_SIMT_ENTER("cudaMemset");
  if (runtime.ForbiddenByCapture()) return runtime.Leave(cudaErrorStreamCaptureImplicit);
  if (bytes > 0 && !runtime.IsDevice(at, bytes)) return runtime.Leave(cudaErrorInvalidValue);
  if (bytes > 0) std::memset(at, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t stream) {
  COUNTERMARK_SIMT_ENTER("cudaMemsetAsync");
  if (bytes > 0 && !runtime.IsDevice(at, bytes)) return runtime.Leave(cudaErrorInvalidValue);
  return runtime.Leave(runtime.Queue(stream, [=] {
    if (bytes > 0) std::memset(at, value, bytes);
    return cudaSuccess;
  }));
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* at) {
  COUNTERMARK_SIMT_ENTER("cudaPointerGetAttributes");
  if (attributes == nullptr) return runtime.Leave(cudaErrorInvalidValue);
  *attributes = {};
  const Allocation* allocation = runtime.Find(at);
  auto* const address = const_cast<void*>(at);
  attributes->type = allocation == nullptr ? cudaMemoryTypeUnregistered : allocation->type;
  attributes->device = allocation == nullptr ? -2 : 0;  // cudaInvalidDeviceId
  attributes->devicePointer = allocation == nullptr ? nullptr : address;
  attributes->hostPointer = allocation != nullptr && allocation->type == cudaMemoryTypeDevice ? nullptr : address;
  return cudaSuccess;
}
