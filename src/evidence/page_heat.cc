#include "src/evidence/page_heat.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "src/base/strings.h"
#include "src/evidence/page_table.h"
#include "src/evidence/page_text.h"

namespace countermark::page {
namespace {

constexpr int kLevels = 4;
constexpr uint64_t kWholeText = 60'000;   // bytes that are shown whole
constexpr uint64_t kAround = 600;         // bytes before and behind a region
constexpr size_t kRegionsShown = 40;
constexpr size_t kRegionsListed = 500;
constexpr size_t kCells = 120;            // of the strip, at most
constexpr size_t kTokensACell = 12;       // or fewer cells
constexpr uint64_t kPiece = 2000;         // bytes that are written before the budget is looked at again

struct Passage {
  uint64_t begin, end;
};

// Ascending, apart from each other: the whole, or what stands around the regions, or the beginning.
std::vector<Passage> PassagesOf(const Heat& heat) {
  const uint64_t size = heat.text.size();
  if (size <= kWholeText) return {{0, size}};
  if (heat.regions.empty()) return {{0, kWholeText}};
  std::vector<Passage> passages;
  for (const HeatRegion& region : heat.regions) {
    if (passages.size() == kRegionsShown) break;
    passages.push_back({region.begin - std::min(region.begin, kAround), std::min(size, region.end + kAround)});
  }
  std::sort(passages.begin(), passages.end(), [](const Passage& a, const Passage& b) { return a.begin < b.begin; });
  std::vector<Passage> joined;
  for (const Passage& passage : passages) {
    if (!joined.empty() && passage.begin <= joined.back().end) {
      joined.back().end = std::max(joined.back().end, passage.end);
    } else {
      joined.push_back(passage);
    }
  }
  return joined;
}

// Back to where a character begins.
uint64_t CharacterStart(std::string_view text, uint64_t at) {
  for (int i = 0; i < 3 && at > 0 && at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80; ++i) --at;
  return at;
}

// Writes passages of the text, opening and closing regions at their bytes.
class Writer {
 public:
  Writer(const Heat& heat, size_t most_bytes) : heat_(heat), most_(most_bytes) {
    for (const HeatRegion& region : heat.regions) {
      if (regions_.size() == kRegionsListed) break;
      regions_.push_back({CharacterStart(heat.text, region.begin), CharacterStart(heat.text, region.end)});
      edges_.push_back(regions_.back().begin);
      edges_.push_back(regions_.back().end);
    }
    std::sort(edges_.begin(), edges_.end());
  }

  // False: the budget is spent. `*shown_to`: how far it went.
  bool Write(const Passage& passage, std::string* out, uint64_t* shown_to) {
    uint64_t at = CharacterStart(heat_.text, passage.begin);
    auto token = std::lower_bound(heat_.tokens.begin(), heat_.tokens.end(), at, [](const HeatToken& t, uint64_t byte) { return t.end <= byte; });
    while (at < passage.end) {
      *shown_to = at;
      if (out->size() >= most_) {
        CloseRegion(out);
        return false;
      }
      while (token != heat_.tokens.end() && token->end <= at) ++token;  // tokens that stand for no byte
      // A piece: tokens until one ends where a character does, and no region begins or ends inside.
      uint64_t end = at + 1;
      int lane = -1, level = 0;
      if (token != heat_.tokens.end() && token->begin <= at) {
        do {
          if (token->lane >= 0 && (lane < 0 || token->level > level)) {
            lane = token->lane;
            level = token->level;
          }
          end = std::max(end, token->end);
          ++token;
        } while (end < heat_.text.size() && CharacterStart(heat_.text, end) != end && token != heat_.tokens.end());
      } else {
        end = token == heat_.tokens.end() ? passage.end : token->begin;
      }
      WritePieces(at, std::min<uint64_t>(end, heat_.text.size()), lane, level, out);
      at = end;
    }
    CloseRegion(out);
    *shown_to = std::min<uint64_t>(at, heat_.text.size());
    return true;
  }

 private:
  void WritePieces(uint64_t begin, uint64_t end, int lane, int level, std::string* out) {
    while (begin < end) {
      SetRegion(begin, out);
      const auto edge = std::upper_bound(edges_.begin(), edges_.end(), begin);
      uint64_t stop = edge == edges_.end() ? end : std::min<uint64_t>(end, *edge);
      if (stop > begin + kPiece) stop = CharacterStart(heat_.text, begin + kPiece);
      if (out->size() >= most_) return;
      const bool shaded = lane >= 0 && level > 0;
      if (shaded) *out += Cat("<i class=\"", lane == 0 ? "p" : "q", std::min(level, kLevels), "\">");
      AppendShown(heat_.text.substr(begin, stop - begin), out);
      if (shaded) *out += "</i>";
      begin = stop;
    }
  }

  void SetRegion(uint64_t at, std::string* out) {
    const bool inside = std::any_of(regions_.begin(), regions_.end(), [at](const Passage& r) { return r.begin <= at && at < r.end; });
    if (inside == open_) return;
    *out += inside ? "<mark>" : "</mark>";
    open_ = inside;
  }

  void CloseRegion(std::string* out) {
    if (open_) *out += "</mark>";
    open_ = false;
  }

  const Heat& heat_;
  const size_t most_;
  std::vector<Passage> regions_;
  std::vector<uint64_t> edges_;
  bool open_ = false;
};

// The whole text in a row of cells, darker where more scores are high than chance gives; regions as bars below.
std::string Strip(const Heat& heat) {
  const uint64_t size = std::max<uint64_t>(heat.text.size(), 1);
  const size_t count = std::clamp<size_t>(heat.tokens.size() / kTokensACell, 8, kCells);
  const double width_of_cell = 720.0 / static_cast<double>(count);
  std::array<double, kCells> found{}, expected{}, variance{};
  for (const HeatToken& token : heat.tokens) {
    if (token.lane < 0) continue;
    const std::vector<double>& chances = heat.lanes[static_cast<size_t>(token.lane)].chances;
    if (chances.empty()) continue;
    const auto cell = static_cast<size_t>(std::min<uint64_t>(token.begin, size - 1) * static_cast<unsigned __int128>(count) / size);
    found[cell] += token.level > 0;
    expected[cell] += chances[0];
    variance[cell] += chances[0] * (1 - chances[0]);
  }
  std::string cells;
  for (size_t c = 0; c < count; ++c) {
    const double z = variance[c] > 0 ? (found[c] - expected[c]) / std::sqrt(variance[c]) : 0;
    const int shade = variance[c] > 0 ? std::clamp(static_cast<int>(z), 0, kLevels) : -1;
    cells += Cat("<rect class=\"c", shade < 0 ? std::string("n") : std::to_string(shade), "\" x=\"", Fixed(static_cast<double>(c) * width_of_cell, 2), "\" y=\"0\" width=\"", Fixed(width_of_cell, 2), "\" height=\"22\"/>");
  }
  size_t drawn = 0;
  for (const HeatRegion& region : heat.regions) {
    if (++drawn > kRegionsListed) break;
    const double scale = 720.0 / static_cast<double>(size);
    const double x = static_cast<double>(region.begin) * scale, width = std::max(2.0, static_cast<double>(region.end - region.begin) * scale);
    cells += Cat("<rect class=\"r\" x=\"", Fixed(x, 1), "\" y=\"25\" width=\"", Fixed(width, 1), "\" height=\"5\"/>");
  }
  return Cat("<svg class=\"strip\" viewBox=\"0 0 720 32\" preserveAspectRatio=\"none\" width=\"100%\" height=\"32\" role=\"img\" aria-labelledby=\"", heat.id, "-t ", heat.id, "-d\"><title id=\"", heat.id,
             "-t\">The whole text from its beginning to its end</title><desc id=\"", heat.id, "-d\">", count,
             " cells; darker where more scores are high than chance gives. Bars below are marked regions; the table of regions has their bytes.</desc>", cells, "</svg>\n");
}

// Levels against chance: the plain form of the shading.
std::string LevelsTable(const Heat& heat) {
  Table table{.caption = "Scores of this text against chance", .columns = {{"scores"}, {"chance", true}, {"expected", true}, {"found", true}}, .rows = {}, .more = ""};
  for (size_t lane = 0; lane < heat.lanes.size(); ++lane) {
    const std::vector<double>& chances = heat.lanes[lane].chances;
    std::vector<uint64_t> found(chances.size() + 1);
    uint64_t scored = 0;
    for (const HeatToken& token : heat.tokens) {
      if (token.lane != static_cast<int>(lane)) continue;
      ++scored;
      ++found[std::min<size_t>(static_cast<size_t>(std::max(token.level, 0)), chances.size())];
    }
    uint64_t at_least = 0;
    std::vector<std::vector<std::string>> rows;
    for (size_t j = chances.size(); j > 0; --j) {
      at_least += found[j];
      rows.push_back({Cat("<i class=\"", lane == 0 ? "p" : "q", j, "\">", heat.lanes[lane].name, "</i>: level ", j, " and above"), Percent(chances[j - 1]),
                      Fixed(chances[j - 1] * static_cast<double>(scored), 1), Thousands(at_least)});
    }
    table.rows.insert(table.rows.end(), rows.rbegin(), rows.rend());
  }
  table.more = "A token is shaded by how high its score is. Chance shades half of all scored tokens at least at level 1; a mark shades more, and darker. Tokens that are not scored (the first ones, repeated windows, other channels) stay plain.";
  return TableHtml(table);
}

}  // namespace

std::string HeatHtml(const Heat& heat, size_t most_bytes) {
  std::string out = Strip(heat);
  std::string shown;
  const std::vector<Passage> passages = PassagesOf(heat);
  Writer writer(heat, most_bytes);
  uint64_t behind = 0;
  bool whole = true;
  for (const Passage& passage : passages) {
    if (passage.begin > behind) shown += Cat("<span class=\"gap\">", Thousands(passage.begin - behind), " bytes are not shown</span>");
    whole = writer.Write(passage, &shown, &behind);
    if (!whole) break;
  }
  if (behind < heat.text.size()) shown += Cat("<span class=\"gap\">", Thousands(heat.text.size() - behind), " bytes are not shown</span>");
  out += Cat("<div class=\"heat\" dir=\"auto\" tabindex=\"0\" role=\"group\" aria-label=\"The text, shaded by score\">", shown, "</div>\n");
  if (!heat.regions.empty() && heat.offsets) {
    Table table{.caption = "Marked regions", .columns = {{"region"}, {"first byte", true}, {"end", true}, {"bytes", true}}, .rows = {}, .more = ""};
    for (const HeatRegion& region : heat.regions) {
      if (table.rows.size() == kRegionsListed) {
        table.more = Cat(Thousands(heat.regions.size() - kRegionsListed), " more are in the record of the run");
        break;
      }
      table.rows.push_back({region.name, Thousands(region.begin), Thousands(region.end), Thousands(region.end - region.begin)});
    }
    out += TableHtml(table);
  }
  return out + LevelsTable(heat);
}

}  // namespace countermark::page
