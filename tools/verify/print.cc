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
std::string StatisticText(const ReportTest& test, const Report& report) {
  char buffer[96];
  const auto scored = static_cast<double>(test.count.scored);
  const auto value = static_cast<double>(test.count.statistic);
  switch (report.mark.scheme) {
    case Scheme::kPartition: std::snprintf(buffer, sizeof buffer, "%.0f green, %.1f expected", value, scored * report.mark.green / 256); break;
    case Scheme::kTournament: std::snprintf(buffer, sizeof buffer, "%.0f bits, %.1f expected", value, scored * report.mark.layers / 2); break;
    case Scheme::kGumbel: std::snprintf(buffer, sizeof buffer, "%.2f, at most %.0f expected", std::ldexp(value, -40), scored); break;
  }
  return buffer;
}

struct Row {
  std::string subject, name, scored, statistic, p, adjusted;
};

void AppendGroup(const Report& report, std::vector<const ReportTest*> tests, std::string_view title, size_t rows, std::string* out) {
  if (tests.empty()) return;
  std::stable_sort(tests.begin(), tests.end(), [](const ReportTest* a, const ReportTest* b) {
    return a->log10_p_adjusted != b->log10_p_adjusted ? a->log10_p_adjusted < b->log10_p_adjusted : a->log10_p < b->log10_p;
  });
  const size_t shown = rows == 0 ? tests.size() : std::min(rows, tests.size());
  std::vector<Row> table = {{"of", "name", "pairs", "statistic", "log10 p", "corrected"}};
  for (size_t i = 0; i < shown; ++i) {
    const ReportTest& test = *tests[i];
    table.push_back({test.pooled() ? "all records" : Safe(test.subject.empty() ? Cat("record ", test.record) : test.subject), Safe(test.name),
                     std::to_string(test.count.scored), StatisticText(test, report), Fixed(test.log10_p), Fixed(test.log10_p_adjusted)});
  }
  size_t widths[6] = {};
  const auto each = [](const Row& row) { return std::vector<const std::string*>{&row.subject, &row.name, &row.scored, &row.statistic, &row.p, &row.adjusted}; };
  for (const Row& row : table) {
    const auto cells = each(row);
    for (size_t c = 0; c < 6; ++c) widths[c] = std::max(widths[c], Width(*cells[c]));
  }
  *out += Cat("\n", title, "\n");
  for (const Row& row : table) {
    const auto cells = each(row);
    *out += " ";
    for (size_t c = 0; c < 6; ++c) *out += " " + (c < 2 ? PadRight(*cells[c], widths[c]) : PadLeft(*cells[c], widths[c])) + " ";
    while (out->back() == ' ') out->pop_back();
    *out += '\n';
  }
  if (shown < tests.size()) *out += Cat("  and ", tests.size() - shown, " more with larger corrected values (--rows 0 shows all)\n");
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
  *out += Cat("tests     ", report.ledger.Total(), " counted, ", report.tests.size(), " listed\n");
  std::vector<const ReportTest*> groups[4];
  for (const ReportTest& test : report.tests) groups[(test.pooled() ? 0 : 2) + (test.kind == TestKind::kChannel ? 0 : 1)].push_back(&test);
  AppendGroup(report, groups[0], "Whose model: all records together", rows, out);
  AppendGroup(report, groups[1], "Which account's answers: all records together", rows, out);
  AppendGroup(report, groups[2], "Whose model: record by record", rows, out);
  AppendGroup(report, groups[3], "Which account's answers: record by record", rows, out);
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
