#include "src/audit/model/rows.h"

#include "src/audit/bytes.h"

namespace countermark::audit {
namespace {

uint64_t ZigZag(int64_t value) { return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63); }
int64_t UnZigZag(uint64_t value) { return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1); }

constexpr int64_t kLargestWeight = int64_t{1} << kWeightBits;  // of one context: |q − q0| ≤ 1

}  // namespace

std::string EncodeRows(const std::vector<ProbeRows>& probes, int window, int subjects) {
  std::string out;
  PutVarint(static_cast<uint64_t>(probes.size()), &out);
  for (const ProbeRows& probe : probes) {
    PutBytes(probe.account, &out);
    PutBytes(probe.error, &out);
    const PositionCounts& c = probe.counts;
    for (const uint64_t count : {c.positions, c.in_context, c.earlier, c.unaligned, c.beyond}) PutVarint(count, &out);
    PutVarint(static_cast<uint64_t>(probe.rows.size()), &out);
    for (const PositionRow& row : probe.rows) {
      for (int j = 0; j < window; ++j) PutVarint(row.window[j], &out);
      PutVarint(static_cast<uint32_t>(row.first_in_log), &out);
      for (int s = 0; s < subjects; ++s) {
        PutVarint(ZigZag(row.subject[s].top1), &out);
        PutVarint(static_cast<uint64_t>(row.subject[s].weights.size()), &out);
        uint32_t last = 0;
        for (const TokenWeight& w : row.subject[s].weights) {
          PutVarint(w.token - last, &out);
          last = w.token;
          PutVarint(ZigZag(w.weight), &out);
        }
      }
    }
  }
  return out;
}

absl::StatusOr<std::vector<ProbeRows>> ParseRows(std::string_view payload, int window, int subjects) {
  const auto malformed = [] { return absl::DataLossError("weights that are not well formed; remove this file and start again: what the others hold is kept"); };
  Reader in(payload);
  const uint64_t count = in.Varint();
  if (count > payload.size()) return malformed();
  std::vector<ProbeRows> probes(count);
  for (ProbeRows& probe : probes) {
    probe.account = in.Bytes();
    probe.error = in.Bytes();
    for (uint64_t* to : {&probe.counts.positions, &probe.counts.in_context, &probe.counts.earlier, &probe.counts.unaligned, &probe.counts.beyond}) *to = in.Varint();
    const uint64_t rows = in.Varint();
    if (!in.ok() || rows > payload.size()) return malformed();
    for (uint64_t i = 0; i < rows && in.ok(); ++i) {
      PositionRow& row = probe.rows.emplace_back();
      for (int j = 0; j < window; ++j) {
        if ((row.window[j] = in.Varint<uint32_t>()) >= kTokenLimit) return malformed();
      }
      row.first_in_log = in.Varint() != 0;
      for (int s = 0; s < subjects; ++s) {
        row.subject[s].top1 = UnZigZag(in.Varint());
        if (row.subject[s].top1 < -1 || row.subject[s].top1 >= kTokenLimit) return malformed();
        const uint64_t weights = in.Varint();
        if (!in.ok() || weights > kKeptWeights) return malformed();
        uint64_t token = 0;
        for (uint64_t k = 0; k < weights; ++k) {
          const uint64_t step = in.Varint();
          token += step;
          const int64_t weight = UnZigZag(in.Varint());
          if (!in.ok() || step > kTokenLimit || token >= kTokenLimit || (k > 0 && step == 0) || weight == 0 || weight > kLargestWeight || weight < -kLargestWeight) return malformed();
          row.subject[s].weights.push_back({static_cast<uint32_t>(token), weight});
        }
      }
    }
  }
  if (!in.ok() || !in.empty()) return malformed();
  return probes;
}

}  // namespace countermark::audit
