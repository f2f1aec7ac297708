// A request table and a workspace in device memory, for tests of the kernels; on the emulator or on a GPU, by the CUDA runtime alone.
#ifndef COUNTERMARK_TESTS_KERNELS_DEVICE_TABLE_H_
#define COUNTERMARK_TESTS_KERNELS_DEVICE_TABLE_H_

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "countermark/sampling/hook.h"
#include "kernels/sample.h"

namespace countermark::testing {

inline void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::abort();
}

// Device memory that goes with its owner; zero at first.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t n) : size_(n) {
    Check(cudaMalloc(reinterpret_cast<void**>(&data_), n * sizeof(T) + 1), "cudaMalloc");
    Check(cudaMemset(data_, 0, n * sizeof(T)), "cudaMemset");
  }
  explicit DeviceArray(std::span<const T> host) : DeviceArray(host.size()) { Set(host); }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* get() { return data_; }
  size_t size() const { return size_; }
  void Set(std::span<const T> host) { Check(cudaMemcpy(data_, host.data(), host.size_bytes(), cudaMemcpyHostToDevice), "cudaMemcpy"); }
  std::vector<T> Get() const {
    std::vector<T> host(size_);
    Check(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return host;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

// The record of a request, as a serving engine would write it.
SlotRecord RecordOf(const Hook& hook, const Request& request, SlotState state);
// What state Hook::Choose would treat the request in.
SlotState StateOf(const Hook& hook, const Request& request);

class DeviceTable {
 public:
  DeviceTable(int32_t slots, int32_t max_length, int32_t rows, int32_t columns);

  void Begin(int32_t slot, const SlotRecord& record);
  // All slots at once, as they are to lie in memory, and their first tokens.
  void Place(std::span<const Slot> slots, uint32_t first_token);
  void Commit(int32_t slot, std::span<const uint32_t> tokens);
  void Rebuild(int32_t slot, std::span<const uint32_t> tokens);
  void Rollback(int32_t slot, int32_t n) { Check(countermark_launch_rollback(table_, slot, n, nullptr), "rollback"); }
  void End(int32_t slot) { Check(countermark_launch_end(table_, slot, nullptr), "end"); }

  const RequestTable& table() const { return table_; }
  const Workspace& space() const { return space_; }
  Slot SlotAt(int32_t slot) const { return slots_.Get()[static_cast<size_t>(slot)]; }
  std::vector<uint8_t> Causes(int32_t slot) const;
  TableMetrics Metrics() const { return metrics_.Get()[0]; }
  // Whether all that the slot holds is zero.
  bool IsZero(int32_t slot) const;

 private:
  int32_t max_length_;
  uint32_t seen_size_;
  DeviceArray<Slot> slots_;
  DeviceArray<uint32_t> tokens_;
  DeviceArray<uint8_t> causes_;
  DeviceArray<uint32_t> seen_;
  DeviceArray<TableMetrics> metrics_;
  DeviceArray<uint32_t> spare_;
  DeviceArray<uint8_t> memory_;
  RequestTable table_;
  Workspace space_;
};

}  // namespace countermark::testing

#endif  // COUNTERMARK_TESTS_KERNELS_DEVICE_TABLE_H_
