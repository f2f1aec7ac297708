// A text with the score of every token as shading and marked regions outlined, and where in the whole text they stand.
//
//   page::Heat heat{.id = "heat-1", .text = text, .tokens = tokens, .lanes = {{"base channel", …}}, .regions = {{120, 480, "base, p ≤ 1e-9"}}};
//   std::string html = page::HeatHtml(heat, 300000);   // never more bytes than that, and a little
//
// Of a long text the passages around its regions are shown, else its beginning; what is left out is said. The text is data: nothing in it is read as markup,
// nothing turns or hides what stands beside it, bytes that are no UTF-8 stand in boxes.
#ifndef COUNTERMARK_SRC_EVIDENCE_PAGE_HEAT_H_
#define COUNTERMARK_SRC_EVIDENCE_PAGE_HEAT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace countermark::page {

// A token: bytes of the text, and the share of the score that it would reach by chance.
struct HeatToken {
  uint64_t begin = 0, end = 0;
  int lane = -1;    // whose score; −1: not scored (the start, a repeated window, another channel)
  int level = 0;    // 0 … levels of the lane: how many of the lane's levels the score reaches
};

struct HeatLane {
  std::string name;              // HTML
  std::vector<double> chances;   // of each level under chance, descending: 1/2, 1/4, 1/8, 1/16
};

struct HeatRegion {
  uint64_t begin = 0, end = 0;   // bytes, end exclusive
  std::string name;              // HTML: which channel, how strong
};

struct Heat {
  std::string id;
  std::string_view text;
  std::vector<HeatToken> tokens;     // ascending, not overlapping
  std::vector<HeatLane> lanes;       // one or two
  std::vector<HeatRegion> regions;
  bool offsets = true;               // false: the text is a list of token ids that was given, and bytes mean nothing
};

std::string HeatHtml(const Heat& heat, size_t most_bytes);

}  // namespace countermark::page

#endif  // COUNTERMARK_SRC_EVIDENCE_PAGE_HEAT_H_
