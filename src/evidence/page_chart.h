// A figure of lines and points over two linear axes: evidence against the number of pairs, decoys against what chance would give.
//
//   page::Chart chart{.id = "evidence", .title = "Evidence against pairs scored", .x_label = "distinct pairs", .y_label = "−log10 p"};
//   chart.series.push_back({.name = "base channel", .style = 1, .points = {{10, 0.3}, {200, 45.1}}});
//   chart.levels.push_back({6.3, "needed"});
//   std::string html = page::ChartHtml(chart);
//
// Gives a <figure>: the drawing twice, for a narrow and for a wide page (the style sheet shows one), each with title and description; a legend;
// and a table of some of the points, folded.
#ifndef COUNTERMARK_SRC_EVIDENCE_PAGE_CHART_H_
#define COUNTERMARK_SRC_EVIDENCE_PAGE_CHART_H_

#include <string>
#include <utility>
#include <vector>

namespace countermark::page {

struct Series {
  std::string name;                              // HTML
  int style = 1;                                 // 1 … 4: colour and dash; 0: a grey band, points are its outline
  bool dots = false;                             // points in place of a line
  std::vector<std::pair<double, double>> points; // x ascending but for a band
  bool in_table = true;
};

struct Level {
  double y = 0;
  std::string name;  // short, no markup
};

struct Chart {
  std::string id;           // a word; unique in the page
  std::string title;        // plain words, no markup; no input
  std::string description;  // a sentence for who does not see the figure; no markup
  std::string caption;      // HTML below the figure
  std::string x_label, y_label;
  double y_low = 0, y_high = 0;  // the least range shown; grows to hold the points and levels
  std::vector<Series> series;
  std::vector<Level> levels;     // horizontal lines
  std::string x_name = "x";      // column heading of the table
};

std::string ChartHtml(const Chart& chart);

// About `wanted` round numbers from low to high, ascending.
std::vector<double> Ticks(double low, double high, int wanted);
// A tick as a reader takes it in: "1.5", "20k", "3M".
std::string TickText(double value);

}  // namespace countermark::page

#endif  // COUNTERMARK_SRC_EVIDENCE_PAGE_CHART_H_
