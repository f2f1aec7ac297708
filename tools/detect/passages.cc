#include "tools/detect/passages.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace countermark::detect_tool {
namespace {

constexpr size_t kExcerptBytes = 240;  // a table cuts it to its own width

// Not in the middle of a UTF-8 character.
std::string ExcerptOf(std::string_view text, uint64_t begin, uint64_t end) {
  std::string_view excerpt = text.substr(begin, end - begin);
  if (excerpt.size() > kExcerptBytes) {
    size_t size = kExcerptBytes;
    while (size > kExcerptBytes - 4 && (static_cast<unsigned char>(excerpt[size]) & 0xC0) == 0x80) --size;
    excerpt = excerpt.substr(0, size);
  }
  return std::string(excerpt);
}

}  // namespace

double PassageLevel(const TestLedger& ledger, double alpha) {
  return std::log10(alpha) - std::log10(static_cast<double>(Detector::Multiplier(ledger, /*of_record=*/true))) -
         std::log10(static_cast<double>(std::max<uint64_t>(ledger.regions, 1)));
}

std::vector<Passage> FindPassages(const Detector& detector, const PairSet& pairs, std::span<const uint32_t> ids, std::span<const ByteSpan> spans,
                                  std::string_view text, double log10_level) {
  std::vector<Passage> passages;
  const PairScores scores = detector.ScoreEachPair(pairs);
  const RegionSearch search = FindRegions(scores.score, detector.record().mark, log10_level);
  if (search.regions.empty()) return passages;
  const bool in_tokens = spans.empty();
  std::vector<ByteSpan> positions;
  if (in_tokens) {
    for (uint64_t i = 0; i < ids.size(); ++i) positions.push_back({i, i + 1});
    spans = positions;
  }
  for (PlacedRegion& placed : PlaceRegions(search.regions, scores.which, FirstPositions(pairs, ids), spans, pairs.window())) {
    if (placed.begin >= placed.end) continue;  // tokens without a byte of their own: nothing that could be shown
    std::string excerpt = in_tokens ? std::string() : ExcerptOf(text, placed.begin, placed.end);
    passages.push_back({std::move(placed), in_tokens, std::move(excerpt)});
  }
  return passages;
}

}  // namespace countermark::detect_tool
