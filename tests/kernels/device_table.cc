#include "tests/kernels/device_table.h"

#include <algorithm>
#include <cstring>

#include "countermark/mark/chacha.h"
#include "countermark/mark/select.h"
#include "countermark/mark/weight.h"
#include "src/sampling/request_access.h"

namespace countermark::testing {
namespace {

uint32_t PowerOfTwoFrom(uint32_t n) {
  uint32_t size = 1;
  while (size < n) size *= 2;
  return size;
}

}  // namespace

SlotState StateOf(const Hook& hook, const Request& request) {
  const SamplingParameters& p = request.parameters();
  if (p.temperature < kMinTemperature || p.top_k == 1) return kSlotGreedy;
  return RequestAccess::Options(hook).marking ? kSlotMarked : kSlotOff;
}

SlotRecord RecordOf(const Hook& hook, const Request& request, SlotState state) {
  SlotRecord r = {};
  int c = 0;
  for (const Secret32& key : RequestAccess::ChannelKeys(request)) LoadKeyWords(key.Reveal(SecretAccess()), r.channel_keys[c++]);
  LoadKeyWords(RequestAccess::RouteKey(hook).Reveal(SecretAccess()), r.route_key);
  LoadKeyWords(RequestAccess::SamplingKey(request).Reveal(SecretAccess()), r.sampling_key);
  std::ranges::copy(RequestAccess::ChannelWeights(hook), r.channel_weights);
  const MarkParameters& mark = hook.record().mark;
  const SamplingParameters& p = request.parameters();
  r.window_salt = 0x9E3779B97F4A7C15ull;
  r.top_p = Threshold(p.top_p);
  r.least = std::max<uint64_t>(1, Threshold(p.min_p) << (kWeightBits - 32));
  r.scale = state == kSlotGreedy ? 1.0f : InverseTemperature(p.temperature);
  r.temperature = p.temperature;
  r.delta = static_cast<float>(mark.delta);
  r.red_factor = static_cast<uint32_t>(RequestAccess::RedFactorOf(hook));
  r.top_k = p.top_k;
  r.candidates = RequestAccess::Options(hook).tournament_candidates;
  r.state = state;
  r.scheme = static_cast<uint8_t>(mark.scheme);
  r.window = static_cast<uint8_t>(mark.window);
  r.channels = static_cast<uint8_t>(c);
  r.plain_channels = static_cast<uint8_t>(RequestAccess::PlainChannels(request));
  r.green = static_cast<uint8_t>(mark.green);
  r.layers = static_cast<uint8_t>(mark.layers);
  return r;
}

DeviceTable::DeviceTable(int32_t slots, int32_t max_length, int32_t rows, int32_t columns)
    : max_length_(max_length),
      seen_size_(PowerOfTwoFrom(2 * static_cast<uint32_t>(max_length))),
      slots_(static_cast<size_t>(slots)),
      tokens_(static_cast<size_t>(slots) * static_cast<size_t>(max_length)),
      causes_(static_cast<size_t>(slots) * static_cast<size_t>(max_length)),
      seen_(static_cast<size_t>(slots) * seen_size_),
      metrics_(1),
      spare_(8),
      memory_(countermark_workspace_bytes(rows, columns)) {
  table_ = {slots_.get(), tokens_.get(), causes_.get(), seen_.get(), metrics_.get(), spare_.get(), slots, max_length, seen_size_};
  int device = 0;
  cudaDeviceProp properties;
  Check(cudaGetDevice(&device), "cudaGetDevice");
  Check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  space_ = {memory_.get(), rows, columns, properties.multiProcessorCount};
}

void DeviceTable::Begin(int32_t slot, const SlotRecord& record) {
  DeviceArray<SlotRecord> copy(std::span<const SlotRecord>(&record, 1));
  Check(countermark_launch_begin(table_, slot, copy.get(), nullptr), "begin");
  Check(cudaDeviceSynchronize(), "begin");
}

void DeviceTable::Place(std::span<const Slot> slots, uint32_t first_token) {
  slots_.Set(slots);
  std::vector<uint32_t> tokens(slots.size() * static_cast<size_t>(max_length_));
  for (size_t s = 0; s < slots.size(); ++s) tokens[s * static_cast<size_t>(max_length_)] = first_token;
  tokens_.Set(tokens);
}

void DeviceTable::Commit(int32_t slot, std::span<const uint32_t> tokens) {
  DeviceArray<uint32_t> copy(tokens);
  Check(countermark_launch_commit(table_, slot, reinterpret_cast<const int32_t*>(copy.get()), static_cast<int32_t>(tokens.size()), nullptr), "commit");
  Check(cudaDeviceSynchronize(), "commit");
}

void DeviceTable::Rebuild(int32_t slot, std::span<const uint32_t> tokens) {
  DeviceArray<uint32_t> copy(tokens);
  Check(countermark_launch_rebuild(table_, slot, reinterpret_cast<const int32_t*>(copy.get()), static_cast<int32_t>(tokens.size()), nullptr), "rebuild");
  Check(cudaDeviceSynchronize(), "rebuild");
}

std::vector<uint8_t> DeviceTable::Causes(int32_t slot) const {
  const std::vector<uint8_t> all = causes_.Get();
  const auto begin = all.begin() + static_cast<int64_t>(slot) * max_length_;
  const uint64_t length = SlotAt(slot).length;
  return {begin, begin + static_cast<int64_t>(std::min(length, static_cast<uint64_t>(max_length_)))};
}

bool DeviceTable::IsZero(int32_t slot) const {
  const auto zero = [](const auto& all, size_t begin, size_t n) {
    return std::all_of(all.begin() + static_cast<int64_t>(begin), all.begin() + static_cast<int64_t>(begin + n), [](auto x) { return x == 0; });
  };
  const Slot s = SlotAt(slot);
  std::vector<uint8_t> bytes(sizeof s);
  std::memcpy(bytes.data(), &s, sizeof s);
  const size_t at = static_cast<size_t>(slot), length = static_cast<size_t>(max_length_);
  return zero(bytes, 0, bytes.size()) && zero(tokens_.Get(), at * length, length) && zero(causes_.Get(), at * length, length) &&
         zero(seen_.Get(), at * seen_size_, seen_size_);
}

}  // namespace countermark::testing
