// Any token ids through pairs and tests. The first bytes choose scheme, window, layers, channels and a prompt. The pairs must be those that a plain set
// finds, every pair must stand on one channel, counts must be possible, and log10 p must be a number ≤ 0.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <vector>

#include "countermark/detect/detector.h"
#include "countermark/detect/tails.h"

namespace {

using countermark::PairSet;

void Check(bool holds) {
  if (!holds) std::abort();
}

size_t PlainCount(const std::vector<uint32_t>& ids, const std::vector<uint32_t>& prompt, size_t h) {
  std::set<std::vector<uint32_t>> known, pairs;
  for (size_t i = 0; i + h <= prompt.size(); ++i) known.insert({prompt.begin() + i, prompt.begin() + i + h});
  for (size_t i = h; i < ids.size(); ++i) {
    const std::vector<uint32_t> pair(ids.begin() + (i - h), ids.begin() + i + 1);
    bool inside = true;
    for (const uint32_t id : pair) inside = inside && id < countermark::kTokenLimit;
    if (inside && known.count({pair.begin(), pair.end() - 1}) == 0) pairs.insert(pair);
  }
  return pairs.size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  countermark::EpochRecord record;
  record.mark.scheme = static_cast<countermark::Scheme>(1 + data[0] % 3);
  record.mark.window = 1 + (data[0] >> 4) % 4;
  record.mark.layers = 1 + data[1] % 32;
  record.mark.green = 1 + data[2] % 255;
  if (data[3] & 1) record.channels = {{"base", 26214}, {"account", 26214}, {"request", 13108}};
  if (data[3] & 2) record.channels = {{"base", 65536}};
  const bool accounts = record.channels.size() > 1;
  // Two bytes an id, or four where large ids are wanted.
  std::vector<uint32_t> ids;
  const size_t width = data[3] & 4 ? 4 : 2;
  for (size_t i = 4; i + width <= size; i += width) {
    uint32_t id = 0;
    for (size_t j = 0; j < width; ++j) id |= static_cast<uint32_t>(data[i + j]) << (8 * j);
    ids.push_back(width == 2 ? id & 0x3ff : id & 0x1ffffff);
  }
  std::vector<uint32_t> prompt;
  if (data[3] & 8) prompt.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(ids.size() / 3));

  static const countermark::Secret32 key = countermark::Secret32::Random();
  const auto detector = countermark::Detector::Create({record, key, {}}, accounts ? std::vector<std::string>{"a", "b"} : std::vector<std::string>{});
  Check(detector.ok());
  PairSet pairs(record.mark.window);
  if (!prompt.empty()) pairs.ExcludeWindowsOf(prompt);
  const size_t added = pairs.Add(ids);
  Check(added == pairs.size() && pairs.Add(ids) == 0);
  Check(pairs.size() == PlainCount(ids, prompt, static_cast<size_t>(record.mark.window)));

  const countermark::DetectionResult result = detector->Score(pairs);
  Check(result.scored == pairs.size() && result.channels.size() == 1);
  uint64_t on_channels = result.channels[0].count.scored;
  Check(countermark::PossibleCount(result.channels[0].count, record.mark));
  Check(result.channels[0].log10_p <= 0 && std::isfinite(result.channels[0].log10_p) && std::isfinite(result.channels[0].log10_e));
  for (const countermark::AccountTest& test : result.accounts) {
    Check(countermark::PossibleCount(test.count, record.mark) && test.count.scored == result.accounts[0].count.scored);
    Check(std::isfinite(test.log10_p) && test.log10_p <= test.log10_p_adjusted && test.log10_p_adjusted <= 0);
  }
  if (accounts) on_channels += result.accounts[0].count.scored;
  Check(record.channels.size() == 3 ? on_channels <= pairs.size() : on_channels == pairs.size());
  (void)detector->CheckIds(ids);
  return 0;
}
