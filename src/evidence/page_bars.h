// Ranked bars: candidates by the strength of their evidence, each beside its numbers. A table, so that it needs no second form.
//
//   page::Bars bars{.caption = "Accounts", .name = "account", .columns = {{"adjusted p"}}, .level = 6};
//   bars.rows.push_back({.name = page::Text(label), .value = 12.3, .cells = {page::Power(-12.3)}, .named = true});
//   std::string html = page::BarsHtml(bars);
#ifndef COUNTERMARK_SRC_EVIDENCE_PAGE_BARS_H_
#define COUNTERMARK_SRC_EVIDENCE_PAGE_BARS_H_

#include <optional>
#include <string>
#include <vector>

#include "src/evidence/page_table.h"

namespace countermark::page {

struct Bar {
  std::string name;                // HTML
  double value = 0;                // the bar's length; below 0 counts as 0
  std::vector<std::string> cells;  // HTML, one a column
  bool named = false;              // drawn strong, and said in words
};

struct Bars {
  std::string caption;              // HTML
  std::string name;                 // heading of the first column
  std::string bar_heading;          // what the length is
  std::vector<Column> columns;
  std::vector<Bar> rows;            // in the order they are shown
  std::optional<double> level;      // a mark on every bar: from here on a row is named
  std::string named_text = "named";
  std::string more;                 // HTML below: what is left out
};

std::string BarsHtml(const Bars& bars);

}  // namespace countermark::page

#endif  // COUNTERMARK_SRC_EVIDENCE_PAGE_BARS_H_
