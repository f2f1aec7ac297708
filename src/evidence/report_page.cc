#include "src/evidence/report_page.h"

#include <algorithm>
#include <cmath>

#include "src/base/strings.h"
#include "src/evidence/csv.h"
#include "src/evidence/page.h"
#include "src/evidence/page_text.h"
#include "src/evidence/report_sections.h"

namespace countermark {
namespace {

using page::Fixed;
using page::OneIn;
using page::Power;
using page::Text;
using page::Thousands;

struct Best {
  double log10_p_adjusted = 0;
  uint64_t accounts_named = 0;
  std::vector<std::string> names;  // of accounts named, at most a few
};

Best BestOf(const Report& report) {
  constexpr size_t kNames = 5;
  Best best;
  const double level = std::log10(report.alpha);
  const bool uncorrected = report.ledger.records == 0;
  const auto take = [&](const auto& test, bool account) {
    if (uncorrected && !test.pooled()) return;
    best.log10_p_adjusted = std::min(best.log10_p_adjusted, test.log10_p_adjusted);
    if (!account || test.log10_p_adjusted > level) return;
    if (std::find(best.names.begin(), best.names.end(), test.name) != best.names.end()) return;
    ++best.accounts_named;
    if (best.names.size() < kNames) best.names.push_back(test.name);
  };
  for (const ReportTest& test : report.tests) take(test, test.kind == TestKind::kAccount);
  for (const ReportWeighted& test : report.weighted) take(test, test.kind == TestKind::kAccount);
  for (const ReportRegion& region : report.regions) {
    if (!uncorrected) best.log10_p_adjusted = std::min(best.log10_p_adjusted, region.log10_p_adjusted);
  }
  return best;
}

std::string KeyName(const Report& report) {
  return report.epoch.empty() ? std::string("the secret watermark key that was given") : Cat("the secret watermark key of ", Text(report.tenant), ", epoch ", Text(report.epoch));
}

std::string NamesText(const Best& best) {
  if (best.names.empty()) return "";
  std::string list;
  for (size_t i = 0; i < best.names.size(); ++i) list += Cat(i == 0 ? "" : ", ", "<strong>", Text(best.names[i]), "</strong>");
  const uint64_t more = best.accounts_named - best.names.size();
  const bool one = best.accounts_named == 1;
  return Cat(" It depends in particular on the ", one ? "key of the account " : "keys of the accounts ", list, more > 0 ? Cat(" and ", Thousands(more), " more") : "", one ? ", which marks the answers served to that account." : ", each of which marks the answers served to that account.");
}

page::VerdictBlock VerdictOfPage(const Report& report, const ReportFigures& figures) {
  page::VerdictBlock block;
  const Verdict verdict = figures.complete ? report.verdict : Verdict::kInconclusive;
  const Best best = BestOf(report);
  switch (verdict) {
    case Verdict::kEvidence:
      block.finding = page::Finding::kEvidence;
      block.word = "Evidence found";
      block.says = Cat("The examined text depends on ", KeyName(report), ": had it been made without any use of that key or of text marked with it, evidence as strong as this would appear with a probability of at most ", Power(best.log10_p_adjusted), ", less than ",
                       OneIn(best.log10_p_adjusted), ", with every test that was run taken into account.", NamesText(best));
      block.says_not = "This does not say who used the text, nor how it came to depend on the key. A mark names the model and the account whose answers were used, not the person who used them, and a copy of served text carries its mark wherever it goes.";
      break;
    case Verdict::kNoEvidence:
      block.finding = page::Finding::kNoEvidence;
      block.word = "No evidence found";
      block.says = Cat("Nothing was found in the examined text that shows a dependence on ", KeyName(report), ": the strongest of all tests, corrected for the others, has a p of ", Power(best.log10_p_adjusted), ", and ", Power(std::log10(report.alpha)), " or less was asked for.");
      block.says_not = "This does not say that no such model wrote it. Short, predictable, edited or paraphrased text carries little of a mark or none, and marks of other keys and epochs were not looked for.";
      break;
    case Verdict::kInconclusive:
      block.word = "Inconclusive";
      block.says = Cat("No verdict can be given: ", !figures.complete                            ? std::string("the input broke off, and a verdict would be one on text that was not seen")
                                                    : Coverage(report) < report.coverage_floor ? Cat("only ", page::Percent(Coverage(report)), " of the records could be read, and ", page::Percent(report.coverage_floor), " were asked for")
                                                                                               : std::string("no token of the text could be tested"),
                       ".");
      block.says_not = "The numbers below are those of what could be read. They accuse nobody and clear nobody.";
      break;
  }
  if (report.ledger.records == 0) block.says_not += " The number of records was not known, so that single records have no verdict; the pool of all of them has.";
  uint64_t records = 0;
  for (const ReportInput& input : report.inputs) records += input.records;
  block.facts = {{"Corrected p", Power(best.log10_p_adjusted)},
                 {"Asked for (alpha)", Power(std::log10(report.alpha))},
                 {"Tests counted", Thousands(report.ledger.Total())},
                 {"Records", Thousands(records)},
                 {"Readable", page::Percent(Coverage(report))}};
  return block;
}

}  // namespace

std::string ReportPage(const Report& report, const ReportFigures& figures) {
  page::Page out;
  const std::string what = report.inputs.size() == 1 ? (report.inputs[0].name == "-" ? std::string("standard input") : Text(report.inputs[0].name)) : Cat(report.inputs.size(), " files");
  out.title = Cat("Watermark report: ", what);
  out.lead = Cat("<p>Made by ", Text(report.tool), " ", Text(report.version), " on ", Text(report.created), " (clock of the machine it ran on).</p>\n");
  out.verdict = VerdictOfPage(report, figures);
  for (page::Section section : {EvidenceSection(report, figures), AccountsSection(report, figures), TextsSection(report, figures), PassagesSection(report), ControlSection(report, figures), RecordsSection(report), WeightedSection(report),
                                LedgerSection(report), ReadingsSection(report), CoverageSection(report, figures), KeysSection(report), LimitsSection(report), VerifySection(report, figures)}) {
    if (!section.html.empty()) out.sections.push_back(std::move(section));
  }
  out.footer = "<p>H0 of every test: the text is statistically independent of the secret key. p: the chance, under H0, of a result at least as extreme. Adjusted: multiplied for every other test. E: an e-value; under H0 it exceeds 1/α with a chance of at most α, whenever one looks. "
               "log10 p = −6 is one in a million.</p>\n";
  return page::PageHtml(out);
}

std::string ReportCsv(const Report& report) {
  std::string out;
  CsvRow row;
  for (const std::string_view heading : {"kind", "record", "subject", "view", "tokenizer_sha256", "name", "scored", "statistic", "begin", "end", "tries", "log10_p", "log10_e", "log10_p_adjusted", "at_alpha"}) row.Text(heading);
  row.End(&out);
  const double level = std::log10(report.alpha);
  // Of a single record among an unknown number nothing is claimed, however small its p.
  const auto at_alpha = [&](uint64_t record, double log10_p_adjusted) -> std::string_view {
    return log10_p_adjusted > level ? "no" : record > 0 && report.ledger.records == 0 ? "uncorrected" : "yes";
  };
  const auto begin = [&](std::string_view kind, uint64_t record, const std::string& subject, uint64_t reading, const std::string& name) {
    row.Text(kind).Number(record).Text(subject);
    if (reading < report.readings.size()) {
      row.Text(report.readings[reading].view).Text(report.readings[reading].tokenizer_sha256);
    } else {
      row.Empty().Empty();
    }
    row.Text(name);
  };
  for (const ReportTest& test : report.tests) {
    begin(test.kind == TestKind::kAccount ? "account" : "channel", test.record, test.subject, test.reading, test.name);
    row.Number(test.count.scored).Number(test.count.statistic).Empty().Empty().Empty().Number(test.log10_p).Number(test.log10_e).Number(test.log10_p_adjusted);
    row.Text(at_alpha(test.record, test.log10_p_adjusted)).End(&out);
  }
  for (const ReportRegion& region : report.regions) {
    begin("region", region.record, region.subject, region.reading, region.name);
    row.Number(region.count.scored).Number(region.count.statistic).Number(region.begin).Number(region.end).Number(region.tries).Number(region.log10_p).Empty().Number(region.log10_p_adjusted);
    row.Text(at_alpha(region.record, region.log10_p_adjusted)).End(&out);
  }
  for (const ReportWeighted& test : report.weighted) {
    begin(test.kind == TestKind::kAccount ? "weighted account" : "weighted channel", test.record, test.subject, test.reading, test.name);
    row.Number(test.scored).Number(test.sum).Empty().Empty().Empty().Number(test.log10_p).Empty().Number(test.log10_p_adjusted);
    row.Text(at_alpha(test.record, test.log10_p_adjusted)).End(&out);
  }
  return out;
}

}  // namespace countermark
