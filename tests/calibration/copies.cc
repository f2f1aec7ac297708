// Pools of copies: edited, shifted, spliced.
#include <algorithm>

#include "countermark/detect/pairs.h"
#include "countermark/detect/tails.h"
#include "tests/calibration/blocks.h"
#include "tests/calibration/nulls.h"

namespace countermark::calibration {
namespace {

size_t Below(Source& source, size_t limit) { return static_cast<size_t>(source.Uniform() * static_cast<double>(limit)); }

std::vector<uint32_t> Edited(std::span<const uint32_t> text, std::span<const uint32_t> other, size_t edits, Source& source) {
  std::vector<uint32_t> copy(text.begin() + static_cast<std::ptrdiff_t>(Below(source, 20)), text.end());
  for (size_t e = 0; e < edits; ++e) {
    const size_t where = Below(source, copy.size() - 10);
    const auto at = copy.begin() + static_cast<std::ptrdiff_t>(where);
    switch (Below(source, 4)) {
      case 0:
        *at = other[Below(source, other.size())];
        break;
      case 1:
        copy.erase(at);
        break;
      case 2:
        copy.insert(at, *at);
        break;
      default:
        std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(Below(source, other.size() - 10)), 10, at);
    }
  }
  return copy;
}

}  // namespace

NullTally RunCopies(const std::vector<Kind>& corpus, const CopyOptions& options) {
  constexpr uint64_t kBlock = 64;
  const auto work = [&](uint64_t block, NullTally& tally) {
    Source source(options.seed, block);
    PairSet pairs(options.mark.window);
    const uint64_t end = std::min(options.pools, (block + 1) * kBlock);
    for (uint64_t i = block * kBlock; i < end; ++i) {
      const std::span<const uint32_t> text = source.Passage(corpus[i % corpus.size()]);
      const std::span<const uint32_t> other = source.Passage(corpus[(i / corpus.size()) % corpus.size()]);
      const Secret32 key = source.Key();
      ChannelCount count;
      const auto score = [&] {
        const ChannelCount more = ScoreChannel(pairs, std::vector<uint8_t>(pairs.size()), 0, key, options.mark);
        count.scored += more.scored;
        count.statistic += more.statistic;
        pairs.Clear();
      };
      for (size_t t = 0; t < options.texts; ++t) {
        pairs.Add(t == 0 ? std::vector<uint32_t>(text.begin(), text.end()) : Edited(text, other, options.edits, source));
        if (options.add_counts) score();
      }
      if (!options.add_counts) score();
      tally.Count(count.scored, Log10P(count, options.mark));
    }
  };
  NullTally sum;
  for (const NullTally& tally : InBlocks<NullTally>((options.pools + kBlock - 1) / kBlock, options.threads, work)) sum.Merge(tally);
  return sum;
}

}  // namespace countermark::calibration
