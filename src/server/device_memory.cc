#include "src/server/device_memory.h"

#include <openssl/crypto.h>

#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::server {

absl::Status CudaStatus(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string message = Cat(what, ": ", cudaGetErrorName(error), ", ", cudaGetErrorString(error));
  return error == cudaErrorMemoryAllocation ? absl::ResourceExhaustedError(message) : absl::UnavailableError(message);
}

OnDevice::OnDevice(int device) : device_(device) {
  if (cudaGetDevice(&before_) != cudaSuccess) before_ = -1;
  if (before_ != device) status_ = CudaStatus(cudaSetDevice(device), "the device cannot be used");
}

OnDevice::~OnDevice() {
  if (before_ >= 0 && before_ != device_) (void)cudaSetDevice(before_);
}

DeviceBytes::~DeviceBytes() {
  if (at_ == nullptr) return;
  (void)cudaMemset(at_, 0, bytes_);
  (void)cudaDeviceSynchronize();
  (void)cudaFree(at_);
}

absl::Status DeviceBytes::Allocate(size_t bytes, std::string_view what) {
  CM_RETURN_IF_ERROR(CudaStatus(cudaMalloc(&at_, bytes), Cat("no device memory of ", bytes, " bytes for ", what)));
  bytes_ = bytes;
  return CudaStatus(cudaMemset(at_, 0, bytes), "zeroing device memory");
}

Staging::~Staging() {
  for (const Place& place : places_) {
    if (place.passed != nullptr) (void)cudaEventDestroy(place.passed);
    if (place.wiped != nullptr) (void)cudaEventDestroy(place.wiped);
  }
  if (wiper_ != nullptr) (void)cudaStreamDestroy(wiper_);
  if (memory_ == nullptr) return;
  OPENSSL_cleanse(memory_, places_.size() * bytes_each_);
  (void)cudaFreeHost(memory_);
}

absl::Status Staging::Allocate(size_t entries, size_t bytes_each) {
  places_.resize(entries);
  void* memory = nullptr;
  CM_RETURN_IF_ERROR(CudaStatus(cudaMallocHost(&memory, entries * bytes_each), "no pinned memory"));
  memory_ = static_cast<unsigned char*>(memory);
  bytes_each_ = bytes_each;
  OPENSSL_cleanse(memory_, entries * bytes_each);
  CM_RETURN_IF_ERROR(CudaStatus(cudaStreamCreateWithFlags(&wiper_, cudaStreamNonBlocking), "no stream"));
  for (size_t i = 0; i < entries; ++i) {
    places_[i].memory = memory_ + i * bytes_each;
    places_[i].bytes = bytes_each;
    CM_RETURN_IF_ERROR(CudaStatus(cudaEventCreateWithFlags(&places_[i].passed, cudaEventDisableTiming), "no event"));
    CM_RETURN_IF_ERROR(CudaStatus(cudaEventCreateWithFlags(&places_[i].wiped, cudaEventDisableTiming), "no event"));
  }
  return absl::OkStatus();
}

void Staging::Wipe(void* place) { OPENSSL_cleanse(static_cast<Place*>(place)->memory, static_cast<Place*>(place)->bytes); }

absl::StatusOr<Staging::Entry> Staging::Take() {
  const size_t index = next_;
  Place& place = places_[index];
  if (place.on_its_way) {
    CM_RETURN_IF_ERROR(CudaStatus(cudaEventSynchronize(place.wiped), "waiting for a copy"));
    place.on_its_way = false;
  }
  next_ = (next_ + 1) % places_.size();
  return Entry{place.memory, index};
}

cudaError_t Staging::WipeAfter(Place* place, cudaStream_t stream) {
  if (const cudaError_t error = cudaEventRecord(place->passed, stream); error != cudaSuccess) return error;
  if (const cudaError_t error = cudaStreamWaitEvent(wiper_, place->passed, 0); error != cudaSuccess) return error;
  if (const cudaError_t error = cudaLaunchHostFunc(wiper_, Wipe, place); error != cudaSuccess) return error;
  return cudaEventRecord(place->wiped, wiper_);
}

absl::Status Staging::Queued(const Entry& entry, cudaStream_t stream) {
  Place& place = places_[entry.index];
  const cudaError_t error = WipeAfter(&place, stream);
  place.on_its_way = error == cudaSuccess;
  if (error != cudaSuccess) {  // then here, when nothing can be reading it
    (void)cudaStreamSynchronize(stream);
    (void)cudaStreamSynchronize(wiper_);
    Wipe(&place);
  }
  return CudaStatus(error, "having a copy wiped");
}

}  // namespace countermark::server
