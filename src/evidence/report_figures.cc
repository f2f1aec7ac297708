#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "countermark/detect/detector.h"
#include "countermark/detect/tails.h"
#include "src/base/hex.h"
#include "src/base/strings.h"
#include "src/evidence/page_bars.h"
#include "src/evidence/page_chart.h"
#include "src/evidence/page_heat.h"
#include "src/evidence/page_quantile.h"
#include "src/evidence/page_text.h"
#include "src/evidence/report_sections.h"

namespace countermark {
namespace {

using page::Fixed;
using page::Power;
using page::Text;
using page::Thousands;

constexpr size_t kAccountsShown = 20;
constexpr size_t kNamedShown = 200;
constexpr size_t kTextBytes = 1'200'000;   // of HTML, over all texts
constexpr size_t kTextsShown = 5;

}  // namespace

page::Section EvidenceSection(const Report& report, const ReportFigures& figures) {
  if (figures.curves.empty()) return {};
  page::Chart chart{.id = "growth", .title = "Evidence against the number of pairs scored", .description = "", .caption = "", .x_label = "distinct pairs scored", .y_label = "−log10 p", .series = {}, .levels = {}};
  chart.x_name = "pairs";
  int style = 1;
  for (const ReportCurve& curve : figures.curves) {
    page::Series p{.name = Cat(Text(curve.name), ": −log10 p"), .style = style++, .points = {{0, 0}}};
    page::Series e{.name = Cat(Text(curve.name), ": log10 E"), .style = style++, .points = {{0, 0}}};
    for (const ChannelCount& count : curve.counts) {
      const auto pairs = static_cast<double>(count.scored);
      p.points.emplace_back(pairs, -Log10P(count, report.mark));
      e.points.emplace_back(pairs, Log10E(count, report.mark));
    }
    chart.description += Cat("After ", Thousands(curve.counts.empty() ? 0 : curve.counts.back().scored), " pairs the value is ", Fixed(p.points.back().second, 1), ". ");
    chart.series.push_back(std::move(p));
    chart.series.push_back(std::move(e));
    if (style > 4) break;
  }
  const double tests = std::log10(static_cast<double>(Detector::Multiplier(report.ledger, false)));
  const double needed = tests - std::log10(report.alpha);
  chart.levels.push_back({needed, Cat("needed: ", Fixed(needed, 1))});
  chart.description += Cat("The level that is needed is ", Fixed(needed, 2), ".");
  chart.caption = Cat("Each step up is a factor of ten against chance. The dashed line is what is needed: alpha = ", Power(std::log10(report.alpha)), ", shared among ", Thousands(Detector::Multiplier(report.ledger, false)),
                      " families of tests. Of the curve of p only the last point is a test; the curve of E may be read at any point (p ≤ 1/E).");
  return {"evidence", "How the evidence grows", page::ChartHtml(chart)};
}

page::Section AccountsSection(const Report& report, const ReportFigures& figures) {
  // Of an account that was tested in several readings, the nearest: its adjusted p is corrected for them.
  std::vector<const ReportTest*> tests;
  std::unordered_map<std::string_view, size_t> place;
  for (const ReportTest& test : report.tests) {
    if (!test.pooled() || test.kind != TestKind::kAccount) continue;
    const auto [at, fresh] = place.emplace(test.name, tests.size());
    if (fresh) {
      tests.push_back(&test);
    } else if (const ReportTest*& best = tests[at->second]; test.log10_p < best->log10_p) {
      best = &test;
    }
  }
  if (tests.empty()) return {};
  std::stable_sort(tests.begin(), tests.end(), [](const ReportTest* a, const ReportTest* b) {
    return a->log10_p_adjusted != b->log10_p_adjusted ? a->log10_p_adjusted < b->log10_p_adjusted : a->log10_p < b->log10_p;
  });
  const double level = std::log10(report.alpha);
  page::Bars bars{.caption = "Candidate accounts, all records together", .name = "account", .bar_heading = "−log10 of the adjusted p", .columns = {{"pairs", true}, {"log10 p", true}, {"adjusted p", true}}, .rows = {}, .level = -level, .more = ""};
  // An inconclusive run accuses nobody, whatever its numbers.
  const bool stands = figures.complete && report.verdict != Verdict::kInconclusive;
  size_t named = 0;
  for (size_t i = 0; i < tests.size(); ++i) {
    const ReportTest& test = *tests[i];
    const bool is_named = stands && test.log10_p_adjusted <= level;
    named += is_named;
    if (i >= (is_named ? kNamedShown : kAccountsShown)) continue;
    const std::string reading = ReadingName(report, test.reading);
    bars.rows.push_back({.name = Cat(Text(test.name), reading.empty() ? "" : Cat(" (", reading, ")")), .value = -test.log10_p_adjusted,
                         .cells = {Thousands(test.count.scored), Fixed(test.log10_p, 2), Power(test.log10_p_adjusted)}, .named = is_named});
  }
  bars.more = Cat(Thousands(report.ledger.candidates), report.ledger.candidates == 1 ? " candidate was" : " candidates were", " tested", bars.rows.size() < tests.size() ? Cat("; the nearest ", bars.rows.size(), " are shown") : "",
                  ". The adjusted p is corrected for all of them (Holm) and for the other tests of this run. The line on each bar is alpha. An account that is named is one whose answers were used; it is not said who used them.");
  const std::string html = page::BarsHtml(bars);
  return {"accounts", "Whose answers", Cat("<p>", !stands ? std::string("The run is inconclusive, so that no account is named.") : named == 0 ? std::string("No candidate account reaches alpha.") : Cat(Thousands(named), named == 1 ? " account reaches alpha." : " accounts reach alpha: each is named by its own test."), "</p>\n", html)};
}

page::Section TextsSection(const Report& report, const ReportFigures& figures) {
  std::string html;
  size_t shown = 0;
  for (const ReportText& text : figures.texts) {
    if (shown == kTextsShown || html.size() >= kTextBytes) break;
    ++shown;
    page::Heat heat{.id = Cat("text-", shown), .text = text.text, .tokens = text.tokens, .lanes = text.lanes, .regions = {}, .offsets = !text.ids};
    for (page::HeatLane& lane : heat.lanes) lane.name = Text(lane.name);
    for (const ReportRegion& region : report.regions) {
      if (region.record != text.record || region.reading != text.reading) continue;
      uint64_t begin = region.begin, end = region.end;
      if (text.ids) {  // positions in place of bytes
        if (begin >= text.tokens.size() || end == 0 || end > text.tokens.size()) continue;
        begin = text.tokens[begin].begin;
        end = text.tokens[end - 1].end;
      }
      if (begin >= end || end > text.text.size()) continue;
      heat.regions.push_back({begin, end, Cat(Text(region.name), ", adjusted p ", Power(region.log10_p_adjusted))});
    }
    std::sort(heat.regions.begin(), heat.regions.end(), [](const page::HeatRegion& a, const page::HeatRegion& b) { return a.begin < b.begin; });
    html += Cat("<h3>", SubjectName(text.record, text.subject), "</h3>\n<p class=\"note\">", Thousands(text.ids ? text.tokens.size() : text.text.size()), text.ids ? " tokens, given as ids" : " bytes",
                heat.regions.empty() ? "" : Cat("; ", heat.regions.size(), heat.regions.size() == 1 ? " marked region, outlined" : " marked regions, outlined"), ".</p>\n");
    const size_t left = kTextBytes - std::min(kTextBytes, html.size());
    html += page::HeatHtml(heat, std::max<size_t>(left / (std::min(figures.texts.size(), kTextsShown) - shown + 1), 20'000));
  }
  if (html.empty()) return {};
  return {"text", "Where in the text", html};
}

page::Section ControlSection(const Report&, const ReportFigures& figures) {
  if (!figures.decoys || figures.decoys->log10_p.empty()) return {};
  const DecoyControl& control = *figures.decoys;
  std::string html = page::QuantilesHtml({.id = "decoys", .real_name = "the base key", .real_log10_p = control.real_log10_p, .decoy_log10_p = control.log10_p});
  html += Cat("<p class=\"note\">The statistic of the base channel on ", control.all_pairs ? "all " : "the first ", Thousands(control.pairs),
              " of its pairs. The control is indicative: it shows that this text makes no key look guilty by itself. The exact p above does not rest on it, and it can go no further than 1 in ",
              Thousands(control.log10_p.size() + 1), ". Decoy i is the key HKDF(seed; “decoy”, i) of the public seed <code>", HexEncode(control.seed), "</code>, drawn after the text was read.</p>\n");
  return {"control", "Control: decoy keys", html};
}

}  // namespace countermark
