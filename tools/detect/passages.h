// Marked passages of a record (--regions), found while its text is at hand.
#ifndef COUNTERMARK_TOOLS_DETECT_PASSAGES_H_
#define COUNTERMARK_TOOLS_DETECT_PASSAGES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "countermark/detect/detector.h"
#include "countermark/detect/regions.h"
#include "countermark/tokenize/tokenizer.h"

namespace countermark::detect_tool {

struct Passage {
  PlacedRegion placed;      // bytes of the record's original text, or token positions where ids were given
  bool in_tokens = false;
  std::string excerpt;      // how it begins, in whole characters; empty where ids were given
};

// log10 of a search's part of alpha, alpha/(m·regions), m as of a record's channel (evidence/report.h).
double PassageLevel(const TestLedger& ledger, double alpha);

// Those of the base channel, in order. pairs: of these ids alone. spans: of each id in `text`; empty where ids were given.
std::vector<Passage> FindPassages(const Detector& detector, const PairSet& pairs, std::span<const uint32_t> ids, std::span<const ByteSpan> spans,
                                  std::string_view text, double log10_level);

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_PASSAGES_H_
