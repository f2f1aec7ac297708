// Memory on a CUDA device for the engine there: allocated once, zeroed, and zeroed again before it is given back; and the pinned host memory through
// which requests' records and tokens reach it.
//
//   DeviceBytes table;  CM_RETURN_IF_ERROR(table.Allocate(bytes, "the request table"));
//   CM_ASSIGN_OR_RETURN(Staging::Entry* entry, staging.Take());       // waits only if all entries are still on their way
//   … write entry->host, queue the copy …
//   CM_RETURN_IF_ERROR(staging.Queued(entry, stream));                // wiped as soon as the stream has passed, whether or not anything is called again
#ifndef COUNTERMARK_SRC_SERVER_DEVICE_MEMORY_H_
#define COUNTERMARK_SRC_SERVER_DEVICE_MEMORY_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace countermark::server {

// OK, ResourceExhausted for memory, or Unavailable with the error's name. `what` was tried.
absl::Status CudaStatus(cudaError_t error, std::string_view what);

// Makes `device` the calling thread's, and puts back what it was.
class OnDevice {
 public:
  explicit OnDevice(int device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  const absl::Status& status() const { return status_; }

 private:
  int before_ = -1, device_;
  absl::Status status_;
};

class DeviceBytes {
 public:
  DeviceBytes() = default;
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;
  ~DeviceBytes();  // zeroes and frees; nothing may be running that uses it

  absl::Status Allocate(size_t bytes, std::string_view what);
  template <typename T>
  T* as() const {
    return static_cast<T*>(at_);
  }
  size_t size() const { return bytes_; }

 private:
  void* at_ = nullptr;
  size_t bytes_ = 0;
};

// A ring of pinned entries, all of one size.
class Staging {
 public:
  struct Entry {
    unsigned char* host;
    size_t index;
  };
  Staging() = default;
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging();  // wipes and frees; nothing may be on its way

  absl::Status Allocate(size_t entries, size_t bytes_each);
  size_t bytes_each() const { return bytes_each_; }

  // The next entry, zero. It is the caller's until Queued.
  absl::StatusOr<Entry> Take();
  // Everything that reads the entry has been queued on `stream`. A stream of our own waits for that and wipes the entry, so that `stream` waits for no host.
  absl::Status Queued(const Entry& entry, cudaStream_t stream);

 private:
  struct Place {
    cudaEvent_t passed = nullptr, wiped = nullptr;
    unsigned char* memory = nullptr;
    size_t bytes = 0;
    bool on_its_way = false;
  };
  static void CUDART_CB Wipe(void* place);
  cudaError_t WipeAfter(Place* place, cudaStream_t stream);

  unsigned char* memory_ = nullptr;
  cudaStream_t wiper_ = nullptr;
  size_t bytes_each_ = 0, next_ = 0;
  std::vector<Place> places_;
};

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_DEVICE_MEMORY_H_
