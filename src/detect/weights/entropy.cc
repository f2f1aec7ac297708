// From entropies by the model's tokens to weights by pairs.
#include "countermark/detect/entropy.h"

#include "src/base/strings.h"

namespace countermark {

std::vector<double> EntropyOfSpans(std::span<const TokenEntropy> entropies, std::span<const ByteSpan> spans) {
  std::vector<double> nats(spans.size());
  size_t next = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    while (next < entropies.size() && entropies[next].begin < spans[i].begin) ++next;
    for (; next < entropies.size() && entropies[next].begin < spans[i].end; ++next) nats[i] += entropies[next].nats;
  }
  return nats;
}

absl::Status AppendEntropyWeights(const PairSet& pairs, std::span<const uint32_t> ids, std::span<const double> nats, std::vector<PairWeight>* weights) {
  if (ids.size() != nats.size()) return absl::InvalidArgumentError(Cat(ids.size(), " ids and ", nats.size(), " entropies"));
  weights->reserve(pairs.size());
  // Pairs stand in the order of their first places, so the next one's first place is where it is met next.
  const size_t window = static_cast<size_t>(pairs.window());
  for (size_t i = window; i < ids.size() && weights->size() < pairs.size(); ++i) {
    const size_t pair = weights->size();
    bool equal = pairs.token()[pair] == ids[i];
    for (size_t j = 0; j < window && equal; ++j) equal = pairs.window_token(static_cast<int>(j))[pair] == ids[i - window + j];
    if (equal) weights->push_back(EntropyWeight(nats[i]));
  }
  if (weights->size() == pairs.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(Cat("the set holds ", pairs.size(), " pairs, and only the first ", weights->size(), " have a place in these ids, in that order"));
}

}  // namespace countermark
