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
  }
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
  for (Place& place : places_) {
    CM_RETURN_IF_ERROR(CudaStatus(cudaEventCreateWithFlags(&place.passed, cudaEventDisableTiming), "no event"));
  }
  return absl::OkStatus();
}

void Staging::Wipe(size_t index) {
  OPENSSL_cleanse(At(index), bytes_each_);
  places_[index].on_its_way = false;
}

absl::StatusOr<Staging::Entry> Staging::Take() {
  Sweep();
  const size_t index = next_;
  if (places_[index].on_its_way) {
    CM_RETURN_IF_ERROR(CudaStatus(cudaEventSynchronize(places_[index].passed), "waiting for a copy"));
    Wipe(index);
  }
  next_ = (next_ + 1) % places_.size();
  return Entry{At(index), index};
}

absl::Status Staging::Queued(const Entry& entry, cudaStream_t stream) {
  places_[entry.index].on_its_way = true;
  return CudaStatus(cudaEventRecord(places_[entry.index].passed, stream), "recording an event");
}

void Staging::Sweep() {
  for (size_t i = 0; i < places_.size(); ++i) {
    if (places_[i].on_its_way && cudaEventQuery(places_[i].passed) == cudaSuccess) Wipe(i);
  }
}

}  // namespace countermark::server
