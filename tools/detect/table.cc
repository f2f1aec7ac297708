// The table a person reads.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "src/base/strings.h"
#include "tools/detect/run.h"

namespace countermark::detect_tool {
namespace {

constexpr size_t kIdWidth = 32;
constexpr size_t kAccountWidth = 24;
constexpr size_t kAccountsShown = 10;
constexpr size_t kExcerptWidth = 40;

// Number of columns of UTF-8 text, near enough for a table: code points.
size_t Columns(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// Padded or cut to a width, and fit for a terminal.
std::string Fit(std::string_view text, size_t width) {
  std::string clean = cli::Printable(text);
  if (Columns(clean) > width) {  // the end of a path says more than its beginning
    while (Columns(clean) > width - 1) {
      clean.erase(0, 1);
      while (!clean.empty() && (static_cast<unsigned char>(clean[0]) & 0xC0) == 0x80) clean.erase(0, 1);
    }
    clean = "…" + clean;
  }
  return clean + std::string(width - Columns(clean), ' ');
}

std::string Right(std::string_view text, size_t width) {
  const size_t columns = Columns(text);
  return columns < width ? std::string(width - columns, ' ') + std::string(text) : std::string(text);
}

std::string Thousands(uint64_t value) {
  std::string digits = std::to_string(value);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string Log(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.2f", value == 0 ? 0.0 : value);
  return text;
}

std::string PaintVerdict(std::string_view verdict, bool color) {
  const std::string_view style = verdict == "marked" ? "1;31" : verdict == "no evidence" ? "32" : "33";
  return cli::Paint(verdict, style, color);
}

// The beginning of a text, in one line and fit for a terminal.
std::string Head(std::string text, size_t width) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  size_t columns = 0, at = 0;
  for (; at < text.size(); ++at) {
    columns += (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
    if (columns > width) break;
  }
  const bool whole = at == text.size();
  return cli::Printable(text.substr(0, at)) + (whole ? "" : "…");
}

// How a reading is called in a row, where there are several.
std::string ReadingMark(const Setup& setup, size_t reading) { return setup.readings.size() > 1 ? Cat("  ", setup.readings[reading].name) : ""; }

std::string PassageRow(const Passage& passage, const std::string& mark, bool color) {
  const Region& region = passage.placed.region;
  std::string row = "  " + Fit(Cat(passage.in_tokens ? "tokens " : "bytes ", Thousands(passage.placed.begin), "–", Thousands(passage.placed.end)), kIdWidth - 2);
  row += Right(Thousands(region.count.scored), 10) + Right(Log(region.log10_p), 14) + "  adjusted " + Right(Log(region.log10_p_adjusted), 9) + mark;
  return row + (passage.excerpt.empty() ? "" : "  " + cli::Paint(Head(passage.excerpt, kExcerptWidth), "2", color)) + "\n";
}

double Log10P(const AccountTest& test) { return test.log10_p; }
double Log10P(const WeightedAccountTest& test) { return test.test.log10_p; }

// Candidates by their p, smallest first; equal ones in the order given.
template <typename T>
std::vector<size_t> Ranked(const std::vector<T>& accounts, size_t how_many) {
  std::vector<size_t> order(accounts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  how_many = std::min(how_many, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(how_many), order.end(), [&](size_t a, size_t b) {
    return Log10P(accounts[a]) != Log10P(accounts[b]) ? Log10P(accounts[a]) < Log10P(accounts[b]) : a < b;
  });
  order.resize(how_many);
  return order;
}

// Below a record's row: the same tests with weights.
std::string WeightedRow(const WeightedResult& result, const Detector& detector, const std::string& mark) {
  const WeightedChannelTest& base = result.channels[0];
  std::string row = Fit("  weighted", kIdWidth) + Right(Thousands(base.scored), 10) + Right(Log(base.test.log10_p), 14);
  if (!result.accounts.empty()) {
    const size_t best = Ranked(result.accounts, 1)[0];
    const WeightedAccountTest& test = result.accounts[best];
    row += "  " + Fit(detector.accounts()[best], kAccountWidth) + Right(Log(test.test.log10_p), 11) + Right(Log(test.log10_p_adjusted), 11);
  }
  return row + mark + "\n";
}

// By the questions of the run.
std::string AlphaIsShared(const TestLedger& ledger) {
  const bool pool = ledger.records != 1;
  if (ledger.weighted > 0) {
    return Cat(", equal parts of it for ", pool ? "the pool and the records" : "the record", ", each without weights and with", ledger.regions > 0 ? ", and for passages" : "");
  }
  if (ledger.regions > 0) return pool ? ", a third of it each for the pool, the records and their passages" : ", half of it for the record and half for its passages";
  return pool ? ", half of it for the pool and half for the records" : "";
}

}  // namespace

std::string TableHead(const Detector& detector, bool color) {
  std::string head = Fit("record", kIdWidth) + Right("pairs", 10) + Right("base log10 p", 14);
  if (!detector.accounts().empty()) head += "  " + Fit("nearest account", kAccountWidth) + Right("log10 p", 11) + Right("adjusted", 11);
  return cli::Paint(head + "  verdict", "1", color) + "\n";
}

std::string TableRow(const Item& item, const Setup& setup, RecordVerdict verdict, bool color) {
  const Detector& detector = setup.detector;
  std::string row = Fit(item.record.id, kIdWidth);
  if (!item.status.ok()) return row + "  " + cli::Paint("unreadable", "33", color) + "\n";
  const size_t foremost = Foremost(item.readings);
  const DetectionResult& result = item.readings[foremost].result;
  row += Right(Thousands(result.scored), 10) + Right(Log(result.channels[0].log10_p), 14);
  if (!result.accounts.empty()) {
    const size_t best = Ranked(result.accounts, 1)[0];
    const AccountTest& test = result.accounts[best];
    row += "  " + Fit(detector.accounts()[best], kAccountWidth) + Right(Log(test.log10_p), 11) + Right(Log(test.log10_p_adjusted), 11);
  }
  row += "  " + PaintVerdict(RecordVerdictName(verdict), color) + ReadingMark(setup, foremost) + "\n";
  for (size_t i = 0; i < item.readings.size(); ++i) {
    if (item.readings[i].weighted) row += WeightedRow(*item.readings[i].weighted, detector, ReadingMark(setup, i));
  }
  for (size_t i = 0; i < item.readings.size(); ++i) {
    if (!item.readings[i].passages) continue;
    for (const Passage& passage : *item.readings[i].passages) row += PassageRow(passage, ReadingMark(setup, i), color);
  }
  return row;
}

namespace {

std::string PooledWeighted(const WeightedResult& pooled, const Run& run, const Options& options, const Setup& setup, uint64_t tests) {
  tests *= std::max<uint64_t>(run.ledger.weighted, 1);
  std::string text;
  const auto row = [&](const std::string& name, uint64_t scored, double log10_p, double before) {
    const double corrected = BonferroniAdjust(before, tests);
    text += "  " + Fit(name, kAccountWidth) + Right(Thousands(scored), 12) + " pairs  log10 p " + Right(Log(log10_p), 11) + "  corrected " + Right(Log(corrected), 11) + "  weighted" +
            (corrected <= std::log10(options.alpha) ? ", marked" : "") + "\n";
  };
  for (const WeightedChannelTest& test : pooled.channels) row(test.name, test.scored, test.test.log10_p, test.test.log10_p);
  for (const size_t i : Ranked(pooled.accounts, kAccountsShown)) {
    const WeightedAccountTest& test = pooled.accounts[i];
    row(setup.detector.accounts()[i], test.scored, test.test.log10_p, test.log10_p_adjusted);
  }
  return text;
}

std::string PooledTests(const DetectionResult& pooled, const Run& run, const Options& options, const Setup& setup, size_t reading, bool color) {
  const Detector& detector = setup.detector;
  const uint64_t tests = Detector::Multiplier(run.ledger, false);
  const std::string mark = setup.readings.size() > 1 ? Cat(", ", setup.readings[reading].name) : "";
  std::string text = cli::Paint(Cat("pooled", mark, ": ", Thousands(pooled.scored), " distinct pairs of ", Thousands(run.records - run.unreadable), " records"), "1", color) + "\n";
  for (const ChannelTest& test : pooled.channels) {
    text += "  " + Fit(test.name, kAccountWidth) + Right(Thousands(test.count.scored), 12) + " pairs  log10 p " + Right(Log(test.log10_p), 11) +
            "  corrected " + Right(Log(BonferroniAdjust(test.log10_p, tests)), 11) + "  log10 e " + Log(test.log10_e) + "\n";
  }
  if (!run.pooled_weighted.empty()) text += PooledWeighted(run.pooled_weighted[reading], run, options, setup, tests);
  if (pooled.accounts.empty()) return text;
  const std::vector<size_t> ranked = Ranked(pooled.accounts, kAccountsShown);
  text += Cat("  accounts, Holm over ", Thousands(pooled.accounts.size()), pooled.accounts.size() == 1 ? " candidate" : " candidates",
              ranked.size() < pooled.accounts.size() ? Cat("; the nearest ", ranked.size()) : "", ":\n");
  for (const size_t i : ranked) {
    const AccountTest& test = pooled.accounts[i];
    const double corrected = BonferroniAdjust(test.log10_p_adjusted, tests);
    const bool named = corrected <= std::log10(options.alpha);
    text += "  " + cli::Paint(Fit(detector.accounts()[i], kAccountWidth), named ? "1;31" : "0", color && named) + Right(Thousands(test.count.scored), 12) +
            " pairs  log10 p " + Right(Log(test.log10_p), 11) + "  corrected " + Right(Log(corrected), 11) + (named ? "  named" : "") + "\n";
  }
  return text;
}

}  // namespace

std::string Summary(const Run& run, const Options& options, const Setup& setup, bool color) {
  std::string text;
  for (size_t i = 0; i < run.pooled.size(); ++i) text += PooledTests(run.pooled[i], run, options, setup, i, color);
  if (options.regions) {
    text += Cat("passages: ", Thousands(run.passages), ", each with log10 p adjusted ", Log(PassageLevel(run.ledger, options.alpha)), " or below", run.ledger.records == 0 ? "; uncorrected for the number of records, which is not known\n" : "\n");
  }
  char alpha[32];
  std::snprintf(alpha, sizeof alpha, "%g", options.alpha);
  text += Cat("tests counted: ", Thousands(run.ledger.Total()), run.ledger.records == 0 ? " for the pool and as many a record, and the number of records is not known" : "",
              "; alpha ", alpha, AlphaIsShared(run.ledger), setup.readings.size() > 1 ? Cat("; in ", setup.readings.size(), " readings, equal parts") : "", "\n");
  text += Cat("coverage: ", Thousands(run.records - run.unreadable), " of ", Thousands(run.records), " records read, ", Thousands(run.too_short), " of them too short to score",
              run.incomplete ? "; the input is incomplete" : "", "\n");
  text += "verdict: " + PaintVerdict(OverallVerdict(run, options.min_coverage), color);
  if (run.ledger.records != 0) text += Cat("; records marked on their own: ", Thousands(run.marked));
  return text + "\n";
}

}  // namespace countermark::detect_tool
