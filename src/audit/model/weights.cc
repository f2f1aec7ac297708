#include <algorithm>
#include <cmath>

#include "countermark/audit/model_weights.h"

namespace countermark {
namespace {

constexpr float kScale = 1 << kWeightBits;

unsigned __int128 PackWindow(const uint32_t* window, int h) {
  unsigned __int128 packed = 0;
  for (int j = 0; j < h; ++j) packed = packed << 32 | window[j];
  return packed;
}

}  // namespace

std::vector<TokenWeight> LargestWeights(std::span<const float> q, std::span<const float> q0, size_t keep) {
  // Candidates beat the least of the best so far, which rises quickly: nearly all tokens cost one subtraction and one comparison.
  std::vector<TokenWeight> kept;
  kept.reserve(2 * keep + 1);
  float least = 0.5f / kScale;
  const auto larger = [](const TokenWeight& a, const TokenWeight& b) {
    const int64_t x = std::abs(a.weight), y = std::abs(b.weight);
    return x != y ? x > y : a.token < b.token;
  };
  const auto shrink = [&] {
    std::nth_element(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(keep) - 1, kept.end(), larger);
    kept.resize(keep);
    // Half a unit below, so that what rounds to the same weight is still looked at, and the lower token wins.
    least = std::max(0.5f, static_cast<float>(std::abs(kept[keep - 1].weight)) - 0.5f) / kScale;
  };
  for (size_t v = 0; v < q.size(); ++v) {
    const float difference = q[v] - q0[v];
    if (!(std::fabs(difference) >= least)) continue;
    const int64_t weight = std::llround(std::clamp(difference, -1.0f, 1.0f) * kScale);  // a probability may come out a little above 1
    if (weight == 0) continue;
    kept.push_back({static_cast<uint32_t>(v), weight});
    if (kept.size() == 2 * keep) shrink();
  }
  if (kept.size() > keep) shrink();
  std::sort(kept.begin(), kept.end(), [](const TokenWeight& a, const TokenWeight& b) { return a.token < b.token; });
  return kept;
}

void WeightTable::Add(const uint32_t* window, std::span<const TokenWeight> weights) {
  windows_.insert(windows_.end(), window, window + window_);
  weights_.insert(weights_.end(), weights.begin(), weights.end());
  begin_.push_back(weights_.size());
  for (const TokenWeight& w : weights) {
    largest_ = std::max(largest_, w.weight);
    largest_size_ = std::max(largest_size_, std::abs(w.weight));
    const double real = std::ldexp(static_cast<double>(w.weight), -kWeightBits);
    squares_ += real * real;
  }
}

void WeightTable::Clear() {
  windows_.clear();
  begin_.assign(1, 0);
  weights_.clear();
  largest_ = largest_size_ = 0;
  squares_ = 0;
}

WeightTable WeightTable::OnChannel(const Secret32& route_key, Scheme scheme, std::span<const uint32_t> channel_weights, int which) const {
  WeightTable out(window_);
  constexpr size_t kBatch = 4096;
  std::vector<uint32_t> columns[kMaxWindow], token(kBatch);
  std::vector<uint8_t> channel(kBatch);
  for (int j = 0; j < window_; ++j) columns[j].resize(kBatch);
  for (size_t first = 0; first < rows(); first += kBatch) {
    PairSpan pairs;
    pairs.size = std::min(kBatch, rows() - first);
    for (int j = 0; j < window_; ++j) {
      for (size_t i = 0; i < pairs.size; ++i) columns[j][i] = Window(first + i)[j];
      pairs.window[j] = columns[j].data();
    }
    pairs.token = token.data();
    PairChannels(pairs, route_key, scheme, window_, channel_weights, channel);
    for (size_t i = 0; i < pairs.size; ++i) {
      if (channel[i] == which) out.Add(Window(first + i), Weights(first + i));
    }
  }
  return out;
}

void WindowSums::Add(const uint32_t* window, std::span<const TokenWeight> weights) {
  std::vector<TokenWeight>& sum = sums_[PackWindow(window, window_)];
  terms_ -= sum.size();
  if (sum.empty()) {
    sum.assign(weights.begin(), weights.end());
  } else {
    std::vector<TokenWeight> merged;
    merged.reserve(sum.size() + weights.size());
    size_t a = 0, b = 0;
    while (a < sum.size() || b < weights.size()) {
      if (b == weights.size() || (a < sum.size() && sum[a].token < weights[b].token)) {
        merged.push_back(sum[a++]);
      } else if (a == sum.size() || weights[b].token < sum[a].token) {
        merged.push_back(weights[b++]);
      } else {
        merged.push_back({sum[a].token, sum[a].weight + weights[b].weight});
        ++a, ++b;
      }
    }
    sum = std::move(merged);
  }
  terms_ += sum.size();
}

WeightTable WindowSums::Table() const {
  std::vector<unsigned __int128> order;
  order.reserve(sums_.size());
  for (const auto& [window, sum] : sums_) order.push_back(window);
  std::sort(order.begin(), order.end());
  WeightTable table(window_);
  std::vector<TokenWeight> row;
  for (const unsigned __int128 packed : order) {
    uint32_t window[kMaxWindow];
    for (int j = 0; j < window_; ++j) window[j] = static_cast<uint32_t>(packed >> 32 * (window_ - 1 - j));
    row.clear();
    for (const TokenWeight& w : sums_.at(packed)) {
      if (w.weight != 0) row.push_back(w);
    }
    table.Add(window, row);
  }
  return table;
}

}  // namespace countermark
