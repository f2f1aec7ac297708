#include "src/evidence/page_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "src/base/strings.h"
#include "src/evidence/page_table.h"
#include "src/evidence/page_text.h"

namespace countermark::page {
namespace {

constexpr size_t kTableRows = 12;

struct Frame {
  double width, height;              // of the drawing, in its own units, about one CSS pixel each
  double left, right, top, bottom;   // the plot's edges
  double x_low, x_high, y_low, y_high;
  double X(double x) const { return left + (x - x_low) / (x_high - x_low) * (right - left); }
  double Y(double y) const { return bottom - (y - y_low) / (y_high - y_low) * (bottom - top); }
};

std::string Coordinate(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

// Where the data lie; never empty in either direction.
Frame FrameOf(const Chart& chart, double width, double height) {
  Frame frame{width, height, 52, width - 12, 26, height - 44, 0, 0, chart.y_low, chart.y_high};
  for (const Series& series : chart.series) {
    for (const auto& [x, y] : series.points) {
      frame.x_high = std::max(frame.x_high, x);
      frame.y_low = std::min(frame.y_low, y);
      frame.y_high = std::max(frame.y_high, y);
    }
  }
  for (const Level& level : chart.levels) frame.y_high = std::max(frame.y_high, level.y);
  if (!(frame.x_high > frame.x_low)) frame.x_high = frame.x_low + 1;
  if (!(frame.y_high > frame.y_low)) frame.y_high = frame.y_low + 1;
  frame.y_high += 0.06 * (frame.y_high - frame.y_low);
  return frame;
}

std::string Line(double x1, double y1, double x2, double y2, std::string_view style) {
  return Cat("<line class=\"", style, "\" x1=\"", Coordinate(x1), "\" y1=\"", Coordinate(y1), "\" x2=\"", Coordinate(x2), "\" y2=\"", Coordinate(y2), "\"/>");
}

std::string Label(double x, double y, std::string_view anchor, std::string_view text) {
  return Cat("<text x=\"", Coordinate(x), "\" y=\"", Coordinate(y), "\" text-anchor=\"", anchor, "\">", text, "</text>");
}

std::string AxesSvg(const Chart& chart, const Frame& f) {
  std::string out;
  const bool narrow = f.width < 500;
  for (const double x : Ticks(f.x_low, f.x_high, narrow ? 4 : 8)) {
    out += Line(f.X(x), f.bottom, f.X(x), f.bottom + 4, "axis");
    out += Label(f.X(x), f.bottom + 18, "middle", TickText(x));
  }
  for (const double y : Ticks(f.y_low, f.y_high, narrow ? 5 : 7)) {
    out += Line(f.left, f.Y(y), f.right, f.Y(y), "grid");
    out += Label(f.left - 6, f.Y(y) + 4, "end", TickText(y));
  }
  out += Line(f.left, f.bottom, f.right, f.bottom, "axis");
  out += Label((f.left + f.right) / 2, f.height - 6, "middle", chart.x_label);
  out += Label(4, 14, "start", chart.y_label);
  return out;
}

std::string SeriesSvg(const Series& series, const Frame& f) {
  std::string points;
  if (series.dots) {
    for (const auto& [x, y] : series.points) points += Cat("<circle cx=\"", Coordinate(f.X(x)), "\" cy=\"", Coordinate(f.Y(y)), "\" r=\"2.4\"/>");
    return Cat("<g class=\"d", series.style, "\">", points, "</g>");
  }
  for (const auto& [x, y] : series.points) points += Cat(points.empty() ? "" : " ", Coordinate(f.X(x)), ",", Coordinate(f.Y(y)));
  if (series.style == 0) return Cat("<polygon class=\"s0\" points=\"", points, "\"/>");
  return Cat("<polyline class=\"s", series.style, "\" points=\"", points, "\"/>");
}

std::string Drawing(const Chart& chart, std::string_view which, double width, double height) {
  const Frame f = FrameOf(chart, width, height);
  const std::string id = Cat(chart.id, "-", which);
  std::string out = Cat("<svg class=\"", which, "\" viewBox=\"0 0 ", width, " ", height, "\" role=\"img\" aria-labelledby=\"", id, "-t ", id, "-d\"><title id=\"", id, "-t\">", chart.title,
                        "</title><desc id=\"", id, "-d\">", chart.description, "</desc>");
  out += AxesSvg(chart, f);
  for (const Series& series : chart.series) out += SeriesSvg(series, f);
  for (const Level& level : chart.levels) {
    out += Line(f.left, f.Y(level.y), f.right, f.Y(level.y), "level");
    out += Label(f.right, f.Y(level.y) - 5, "end", level.name);
  }
  return out + "</svg>\n";
}

std::string Legend(const Chart& chart) {
  std::string out = "<ul class=\"legend\">";
  for (const Series& series : chart.series) {
    const std::string mark = series.dots         ? Cat("<circle class=\"d", series.style, "\" cx=\"14\" cy=\"6\" r=\"3\"/>")
                             : series.style == 0 ? std::string("<rect class=\"s0\" x=\"0\" y=\"1\" width=\"28\" height=\"10\"/>")
                                                 : Cat("<polyline class=\"s", series.style, "\" points=\"0,6 28,6\"/>");
    out += Cat("<li><svg class=\"key\" viewBox=\"0 0 28 12\" width=\"28\" height=\"12\" aria-hidden=\"true\">", mark, "</svg> ", series.name, "</li>");
  }
  return out + "</ul>\n";
}

std::string PointsTable(const Chart& chart) {
  std::string out;
  for (const Series& series : chart.series) {
    if (!series.in_table || series.points.empty()) continue;
    Table table{.caption = series.name, .columns = {{chart.x_name, true}, {chart.y_label, true}}, .rows = {}, .more = ""};
    const size_t rows = std::min(kTableRows, series.points.size());
    for (size_t r = 0; r < rows; ++r) {
      const size_t i = rows == 1 ? 0 : r * (series.points.size() - 1) / (rows - 1);
      const auto& [x, y] = series.points[i];
      table.rows.push_back({x == std::floor(x) ? Thousands(static_cast<uint64_t>(x)) : Fixed(x, 2), Fixed(y, 2)});
    }
    out += TableHtml(table);
  }
  return out.empty() ? out : DetailsHtml("The figure as a table", out);
}

}  // namespace

std::vector<double> Ticks(double low, double high, int wanted) {
  if (!(high > low) || wanted < 1) return {low};
  const double raw = (high - low) / wanted;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  const double step = power * (raw / power <= 1 ? 1 : raw / power <= 2 ? 2 : raw / power <= 5 ? 5 : 10);
  std::vector<double> ticks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) ticks.push_back(i * step);
  return ticks;
}

std::string TickText(double value) {
  const double size = std::fabs(value);
  const double unit = size >= 1e9 ? 1e9 : size >= 1e6 ? 1e6 : size >= 1e4 ? 1e3 : 1;
  char text[64];
  std::snprintf(text, sizeof text, "%.6g", size / unit);
  return Cat(value < 0 ? "−" : "", static_cast<const char*>(text), unit == 1e9 ? "G" : unit == 1e6 ? "M" : unit == 1e3 ? "k" : "");
}

std::string ChartHtml(const Chart& chart) {
  std::string out = Cat("<figure id=\"", chart.id, "\">\n", Drawing(chart, "narrow", 340, 280), Drawing(chart, "broad", 760, 340), Legend(chart));
  out += Cat("<figcaption>", chart.caption, "</figcaption>\n", PointsTable(chart), "</figure>\n");
  return out;
}

}  // namespace countermark::page
