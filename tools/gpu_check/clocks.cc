#include "tools/gpu_check/clocks.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>

#include "tests/kernels/device_table.h"
#include "tools/gpu_check/limits.h"

namespace countermark::gpu_check {
namespace {

using testing::Check;
using testing::DeviceArray;

// NVML, of which a driver always has the library and a toolkit only the header: what is needed of it, by name.
class Nvml {
 public:
  Nvml() {
#if !defined(COUNTERMARK_SIMT)   // the emulator has no bus
    library_ = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr) return;
    int (*init)() = Find<int()>("nvmlInit_v2");
    int (*by_bus)(const char*, void**) = Find<int(const char*, void**)>("nvmlDeviceGetHandleByPciBusId_v2");
    char bus[32] = "";
    int device = 0;
    if (init == nullptr || by_bus == nullptr || init() != 0 || cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetPCIBusId(bus, sizeof bus, device) != cudaSuccess) return;
    good_ = by_bus(bus, &device_) == 0;
#endif
  }
  ~Nvml() {
    if (library_ != nullptr) dlclose(library_);
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  void Read(ClockReading* out) {
    if (!good_) return;
    enum { kSm = 1, kMemory = 2 };
    const auto number = [&](const char* name, auto... arguments) -> int {
      auto* get = Find<int(void*, decltype(arguments)..., unsigned*)>(name);
      unsigned value = 0;
      return get != nullptr && get(device_, arguments..., &value) == 0 ? static_cast<int>(value) : 0;
    };
    out->sm_mhz = number("nvmlDeviceGetClockInfo", int{kSm});
    out->memory_mhz = number("nvmlDeviceGetClockInfo", int{kMemory});
    out->most_sm_mhz = number("nvmlDeviceGetMaxClockInfo", int{kSm});
    out->watts = number("nvmlDeviceGetPowerUsage") / 1000;
    out->celsius = number("nvmlDeviceGetTemperature", int{0});
    if (auto* reasons = Find<int(void*, unsigned long long*)>("nvmlDeviceGetCurrentClocksThrottleReasons")) (void)reasons(device_, &out->throttling);
    char driver[96] = "";
    if (auto* version = Find<int(char*, unsigned)>("nvmlSystemGetDriverVersion"); version != nullptr && version(driver, sizeof driver) == 0) out->driver = driver;
  }

 private:
  template <typename F>
  F* Find(const char* name) {
    return reinterpret_cast<F*>(dlsym(library_, name));
  }
  void* library_ = nullptr;
  void* device_ = nullptr;
  bool good_ = false;
};

}  // namespace

std::string ThrottlingOf(unsigned long long reasons) {
  static constexpr struct {
    unsigned long long bit;
    const char* name;
  } kReasons[] = {{0x4, "power cap"}, {0x8, "hardware slowdown"}, {0x20, "thermal, by software"}, {0x40, "thermal, by hardware"}, {0x80, "power brake"}};
  std::string names;
  for (const auto& reason : kReasons) {
    if (reasons & reason.bit) names += (names.empty() ? "" : ", ") + std::string(reason.name);
  }
  return names;
}

ClockReading ReadClocks(double seconds) {
  int device = 0, multiprocessors = 0;
  Check(cudaGetDevice(&device), "cudaGetDevice");
  Check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  DeviceArray<unsigned long long> counts(3);
  const int rounds = std::max(1, static_cast<int>(seconds / 0.004));
  for (int i = 0; i < rounds; ++i) Check(LaunchClock(counts.get(), multiprocessors, nullptr), "the clock's kernel");
  ClockReading reading;
  Nvml().Read(&reading);  // while it is at work
  Check(cudaDeviceSynchronize(), "the clock's kernel");
  const std::vector<unsigned long long> got = counts.Get();
  reading.measured_mhz = got[1] > 0 ? 1e3 * static_cast<double>(got[0]) / static_cast<double>(got[1]) : 0;
  return reading;
}

nlohmann::ordered_json ClockReading::Json() const {
  nlohmann::ordered_json json = {{"SM MHz, counted", static_cast<int>(measured_mhz + 0.5)}};
  if (sm_mhz > 0) {
    json["SM MHz"] = sm_mhz;
    json["SM MHz at most"] = most_sm_mhz;
    json["memory MHz"] = memory_mhz;
    json["W"] = watts;
    json["degrees C"] = celsius;
    json["throttled by"] = ThrottlingOf(throttling);
  }
  return json;
}

std::string ClockReading::Text() const {
  char text[256];
  std::snprintf(text, sizeof text, "SM %.0f MHz counted", measured_mhz);
  std::string all = text;
  if (sm_mhz > 0) {
    std::snprintf(text, sizeof text, ", %d of %d MHz by the driver, memory %d MHz, %d W, %d C", sm_mhz, most_sm_mhz, memory_mhz, watts, celsius);
    all += text;
    const std::string why = ThrottlingOf(throttling);
    if (!why.empty()) all += ", THROTTLED: " + why;
  }
  return all;
}

}  // namespace countermark::gpu_check
