#include "tools/verify/print.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "countermark/keys/epoch.h"
#include "src/base/strings.h"
#include "tools/cli/cli.h"

namespace countermark {
namespace {

constexpr int kVerifyJsonSchema = 1;

std::string Safe(std::string_view text) { return cli::Printable(text); }

std::string Fixed(double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.2f", value == 0 ? 0.0 : value);
  return buffer;
}

std::string Brief(double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

// Columns by code points, which is close enough for a table of labels.
size_t Width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string PadRight(std::string_view text, size_t width) { return std::string(text) + std::string(width - std::min(width, Width(text)), ' '); }
std::string PadLeft(std::string_view text, size_t width) { return std::string(width - std::min(width, Width(text)), ' ') + std::string(text); }

// The statistic as the reader of a table wants it; the exact integer is in the report.
std::string StatisticText(const ChannelCount& count, const Report& report) {
  char buffer[96];
  const auto scored = static_cast<double>(count.scored);
  const auto value = static_cast<double>(count.statistic);
  switch (report.mark.scheme) {
    case Scheme::kPartition: std::snprintf(buffer, sizeof buffer, "%.0f green, %.1f expected", value, scored * report.mark.green / 256); break;
    case Scheme::kTournament: std::snprintf(buffer, sizeof buffer, "%.0f bits, %.1f expected", value, scored * report.mark.layers / 2); break;
    case Scheme::kGumbel: std::snprintf(buffer, sizeof buffer, "%.2f, at most %.0f expected", std::ldexp(value, -40), scored); break;
  }
  return buffer;
}

std::string SubjectText(uint64_t record, const std::string& subject) { return record == 0 ? "all records" : Safe(subject.empty() ? Cat("record ", record) : subject); }

// Rows with the values that order them.
struct Row {
  double log10_p_adjusted, log10_p;
  std::vector<std::string> cells;
};

// The smallest corrected values first. `left`: so many columns are of text.
void AppendTable(std::vector<Row> table, std::string_view title, std::vector<std::string> head, size_t left, size_t rows, std::string* out) {
  if (table.empty()) return;
  std::stable_sort(table.begin(), table.end(), [](const Row& a, const Row& b) {
    return a.log10_p_adjusted != b.log10_p_adjusted ? a.log10_p_adjusted < b.log10_p_adjusted : a.log10_p < b.log10_p;
  });
  const size_t all = table.size();
  if (rows != 0 && rows < all) table.resize(rows);
  table.insert(table.begin(), Row{0, 0, std::move(head)});
  std::vector<size_t> widths(table[0].cells.size());
  for (const Row& row : table) {
    for (size_t c = 0; c < widths.size(); ++c) widths[c] = std::max(widths[c], Width(row.cells[c]));
  }
  *out += Cat("\n", title, "\n");
  for (const Row& row : table) {
    *out += " ";
    for (size_t c = 0; c < widths.size(); ++c) *out += " " + (c < left ? PadRight(row.cells[c], widths[c]) : PadLeft(row.cells[c], widths[c])) + " ";
    while (out->back() == ' ') out->pop_back();
    *out += '\n';
  }
  if (table.size() - 1 < all) *out += Cat("  and ", all - (table.size() - 1), " more with larger corrected values (--rows 0 shows all)\n");
}

// A column for the reading where there are several.
std::vector<std::string> Cells(const Report& report, std::vector<std::string> names, uint64_t reading, std::vector<std::string> values) {
  if (report.readings.size() > 1) names.push_back(std::to_string(reading));
  names.insert(names.end(), std::make_move_iterator(values.begin()), std::make_move_iterator(values.end()));
  return names;
}
std::vector<std::string> Head(const Report& report, std::vector<std::string> names, std::vector<std::string> values) {
  if (report.readings.size() > 1) names.emplace_back("reading");
  names.insert(names.end(), values.begin(), values.end());
  return names;
}

void AppendTests(const Report& report, TestKind kind, bool pooled, std::string_view title, size_t rows, std::string* out) {
  std::vector<Row> table;
  for (const ReportTest& test : report.tests) {
    if (test.kind != kind || test.pooled() != pooled) continue;
    table.push_back({test.log10_p_adjusted, test.log10_p,
                     Cells(report, {SubjectText(test.record, test.subject), Safe(test.name)}, test.reading,
                           {std::to_string(test.count.scored), StatisticText(test.count, report), Fixed(test.log10_p), Fixed(test.log10_p_adjusted)})});
  }
  AppendTable(std::move(table), title, Head(report, {"of", "name"}, {"pairs", "statistic", "log10 p", "corrected"}), 2, rows, out);
}

void AppendRegions(const Report& report, size_t rows, std::string* out) {
  if (report.ledger.regions == 0) return;
  if (report.regions.empty()) *out += "\nMarked passages: none was found\n";
  std::vector<Row> table;
  for (const ReportRegion& region : report.regions) {
    table.push_back({region.log10_p_adjusted, region.log10_p,
                     Cells(report, {SubjectText(region.record, region.subject), Cat(region.begin, " to ", region.end), Safe(region.name)}, region.reading,
                           {std::to_string(region.count.scored), StatisticText(region.count, report), Fixed(region.log10_p), Fixed(region.log10_p_adjusted)})});
  }
  const bool ids = report.readings[0].tokenizer_sha256.empty();
  AppendTable(std::move(table), "Marked passages", Head(report, {"of", ids ? "tokens" : "bytes", "name"}, {"pairs", "statistic", "log10 p", "corrected"}), 3, rows, out);
}

void AppendWeighted(const Report& report, size_t rows, std::string* out) {
  std::vector<Row> table;
  for (const ReportWeighted& test : report.weighted) {
    table.push_back({test.log10_p_adjusted, test.log10_p,
                     Cells(report, {SubjectText(test.record, test.subject), Safe(test.name), Safe(test.rule)}, test.reading,
                           {std::to_string(test.scored), Fixed(test.display_log10_p), Fixed(test.log10_p), Fixed(test.log10_p_adjusted)})});
  }
  AppendTable(std::move(table), "With a model's weights", Head(report, {"of", "name", "rule"}, {"pairs", "saddlepoint", "log10 p, bound", "corrected"}), 3, rows, out);
}

void AppendList(const std::vector<std::string>& lines, std::string_view title, std::string* out) {
  if (lines.empty()) return;
  *out += Cat("\n", title, "\n");
  for (const std::string& line : lines) *out += Cat("  - ", Safe(line), "\n");
}

void AppendReport(const Report& report, size_t rows, std::string* out) {
  *out += Cat("\nreport    by ", Safe(report.tool), " ", Safe(report.version), ", ", report.created, "\n");
  if (!report.epoch.empty()) *out += Cat("keys of   ", Safe(report.tenant), ", epoch ", Safe(report.epoch), "\n");
  *out += Cat("mark      format ", report.format, ", ", SchemeName(report.mark.scheme), ", window ", report.mark.window, "\n");
  for (const ReportInput& input : report.inputs) {
    *out += Cat("input     ", Safe(input.name), ", ", input.bytes, " bytes, ", input.records, " records, ", input.unreadable, " unreadable\n");
  }
  for (size_t i = 0; i < report.readings.size(); ++i) {
    const ReportReading& reading = report.readings[i];
    const std::string by = reading.tokenizer_sha256.empty() ? "token ids as given" : Cat(reading.view, " text, tokenizer ", reading.tokenizer_sha256);
    *out += Cat(i == 0 ? "readings  " : "          ", i, ": ", by, "\n");
  }
  *out += Cat("tests     ", report.ledger.Total(), " counted, ", report.tests.size(), " listed\n");
  AppendTests(report, TestKind::kChannel, true, "Whose model: all records together", rows, out);
  AppendTests(report, TestKind::kAccount, true, "Which account's answers: all records together", rows, out);
  AppendTests(report, TestKind::kChannel, false, "Whose model: record by record", rows, out);
  AppendTests(report, TestKind::kAccount, false, "Which account's answers: record by record", rows, out);
  AppendRegions(report, rows, out);
  AppendWeighted(report, rows, out);
}

std::string_view OutcomeName(VerifyOutcome outcome) {
  switch (outcome) {
    case VerifyOutcome::kVerified: return "verified";
    case VerifyOutcome::kInconsistent: return "inconsistent";
    case VerifyOutcome::kRefused: break;
  }
  return "refused";
}

}  // namespace

std::string VerificationText(const Verification& verification, size_t rows, bool color) {
  std::string out;
  switch (verification.outcome) {
    case VerifyOutcome::kVerified:
      out += cli::Paint("VERIFIED", "1;32", color) + ": signed by that key, and every value follows from the counts\n";
      break;
    case VerifyOutcome::kInconsistent:
      out += cli::Paint("INCONSISTENT", "1;31", color) + ": signed by that key, but it does not hold\n";
      break;
    case VerifyOutcome::kRefused: out += cli::Paint("REFUSED", "1;31", color) + ": nothing in this file can be relied on\n"; break;
  }
  AppendList(verification.failed, "Does not hold", &out);
  if (verification.report) {
    const Report& report = *verification.report;
    if (verification.outcome == VerifyOutcome::kVerified) {
      out += Cat("Verdict of the report, at alpha = ", Brief(report.alpha), report.ledger.records == 0 ? " (uncorrected)" : "", ": ", VerdictName(report.verdict), "\n");
      if (report.verdict == Verdict::kEvidence) out += "Weight to a third party: none yet; what is missing is said at the end\n";
    }
    AppendReport(report, rows, &out);
  }
  AppendList(verification.checked, "Checked", &out);
  AppendList(verification.not_checked, "Not checked", &out);
  AppendList(verification.weight, "What it is worth to a third party", &out);
  if (verification.report) AppendList(verification.report->limits, "Limits the report states itself", &out);
  return out;
}

std::string VerificationJson(const Verification& verification) {
  nlohmann::json out = {{"schema_version", kVerifyJsonSchema},
                        {"outcome", std::string(OutcomeName(verification.outcome))},
                        {"failed", verification.failed},
                        {"checked", verification.checked},
                        {"not_checked", verification.not_checked},
                        {"weight", verification.weight},
                        {"report", nullptr},
                        {"log10_p_after_grinding", nullptr}};
  if (verification.log10_p_after_grinding) out["log10_p_after_grinding"] = *verification.log10_p_after_grinding;
  if (verification.report) {
    out["report"] = nlohmann::json::parse(ReportPayload(*verification.report), nullptr, /*allow_exceptions=*/false);
  }
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace countermark
