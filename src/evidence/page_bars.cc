#include "src/evidence/page_bars.h"

#include <algorithm>

#include "src/base/strings.h"
#include "src/evidence/page_text.h"

namespace countermark::page {
namespace {

std::string BarSvg(double value, double longest, const std::optional<double>& level, bool named) {
  const auto share = [longest](double v) { return Fixed(100 * std::clamp(v / longest, 0.0, 1.0), 2); };
  std::string out = Cat("<svg class=\"bar\" width=\"100%\" height=\"14\" aria-hidden=\"true\"><rect class=\"", named ? "hit" : "miss", "\" x=\"0\" y=\"2\" height=\"10\" width=\"", share(value), "%\"/>");
  if (level) out += Cat("<line class=\"level\" x1=\"", share(*level), "%\" x2=\"", share(*level), "%\" y1=\"0\" y2=\"14\"/>");
  return out + "</svg>";
}

}  // namespace

std::string BarsHtml(const Bars& bars) {
  Table table{.caption = bars.caption, .columns = {{bars.name}, {bars.bar_heading}}, .rows = {}, .more = bars.more};
  table.columns.insert(table.columns.end(), bars.columns.begin(), bars.columns.end());
  double longest = bars.level.value_or(0);
  for (const Bar& bar : bars.rows) longest = std::max(longest, bar.value);
  if (!(longest > 0)) longest = 1;
  for (const Bar& bar : bars.rows) {
    std::vector<std::string> row = {bar.named ? Cat("<strong>", bar.name, "</strong> <span class=\"tag\">", bars.named_text, "</span>") : bar.name};
    row.push_back(BarSvg(bar.value, longest, bars.level, bar.named));
    row.insert(row.end(), bar.cells.begin(), bar.cells.end());
    table.rows.push_back(std::move(row));
  }
  return Cat("<div class=\"bars\">", TableHtml(table), "</div>\n");
}

}  // namespace countermark::page
