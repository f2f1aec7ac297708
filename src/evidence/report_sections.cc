#include "src/evidence/report_sections.h"

#include <algorithm>
#include <cmath>

#include "countermark/detect/detector.h"
#include "src/base/strings.h"
#include "src/evidence/page_table.h"
#include "src/evidence/page_text.h"

namespace countermark {
namespace {

using page::Fixed;
using page::Power;
using page::Table;
using page::Text;
using page::Thousands;

constexpr size_t kRows = 100;
constexpr size_t kTestRows = 25;   // pooled, and as many of single records

std::string Mono(std::string_view text) { return Cat("<code>", Text(text), "</code>"); }

// The statistic as a reader wants it; the exact integer is in the report and the CSV.
std::string StatisticText(const ChannelCount& count, const MarkParameters& mark) {
  const auto scored = static_cast<double>(count.scored), value = static_cast<double>(count.statistic);
  switch (mark.scheme) {
    case Scheme::kPartition: return Cat(Fixed(value, 0), " green, ", Fixed(scored * mark.green / 256, 1), " by chance");
    case Scheme::kTournament: return Cat(Fixed(value, 0), " bits, ", Fixed(scored * mark.layers / 2, 1), " by chance");
    case Scheme::kGumbel: break;
  }
  return Cat(Fixed(std::ldexp(value, -40), 1), ", ", Fixed(scored, 0), " by chance");
}

std::string Behind(const Report& report, uint64_t reading) {
  const std::string name = ReadingName(report, reading);
  return name.empty() ? name : Cat("; ", name);
}

// Of a single record among an unknown number nothing is claimed.
std::string Reaches(uint64_t record, double log10_p_adjusted, const Report& report) {
  if (log10_p_adjusted > std::log10(report.alpha)) return "no";
  return record > 0 && report.ledger.records == 0 ? "uncorrected" : "<strong>yes</strong>";
}

}  // namespace

std::string ReadingName(const Report& report, uint64_t reading) {
  if (report.readings.size() < 2 || reading >= report.readings.size()) return "";
  const ReportReading& r = report.readings[reading];
  bool same = true;
  for (const ReportReading& other : report.readings) same = same && other.tokenizer_sha256 == r.tokenizer_sha256;
  return Cat(Text(r.view), same ? "" : Cat(", tokenizer ", Text(r.tokenizer_sha256.substr(0, 8)), "…"));
}

std::string SubjectName(uint64_t record, const std::string& subject) {
  if (record == 0) return "all records together";
  return Cat("record ", Thousands(record), subject.empty() ? "" : Cat(", ", Text(subject, 120)));
}

page::Section RecordsSection(const Report& report) {
  const std::vector<page::Column> columns = {{"of"}, {"test"}, {"pairs", true}, {"statistic"}, {"log10 p", true}, {"log10 E", true}, {"adjusted p", true}, {"at alpha"}};
  Table pooled{.caption = "All records together", .columns = columns, .rows = {}, .more = ""}, single{.caption = "Record by record", .columns = columns, .rows = {}, .more = ""};
  std::vector<const ReportTest*> tests;
  for (const ReportTest& test : report.tests) tests.push_back(&test);
  std::stable_sort(tests.begin(), tests.end(), [](const ReportTest* a, const ReportTest* b) {
    return a->log10_p_adjusted != b->log10_p_adjusted ? a->log10_p_adjusted < b->log10_p_adjusted : a->log10_p < b->log10_p;
  });
  size_t left_out[2] = {};
  for (const ReportTest* test : tests) {
    Table& table = test->pooled() ? pooled : single;
    if (table.rows.size() == kTestRows) {
      ++left_out[test->pooled() ? 0 : 1];
      continue;
    }
    table.rows.push_back({Cat(test->pooled() ? std::string("pool") : SubjectName(test->record, test->subject), Behind(report, test->reading)), Cat(test->kind == TestKind::kAccount ? "account " : "channel ", Text(test->name)),
                          Thousands(test->count.scored), StatisticText(test->count, report.mark), Fixed(test->log10_p, 2), Fixed(test->log10_e, 2), Power(test->log10_p_adjusted), Reaches(test->record, test->log10_p_adjusted, report)});
  }
  const auto more = [](size_t count) { return Cat(Thousands(count), " more tests, each with a larger adjusted p, stand in the report and the CSV."); };
  if (left_out[0] > 0) pooled.more = more(left_out[0]);
  if (left_out[1] > 0) single.more = more(left_out[1]);
  std::string html = "<p>By their adjusted p, the smallest first.</p>\n";
  if (!pooled.rows.empty()) html += page::TableHtml(pooled);
  if (!single.rows.empty() && report.ledger.records != 1) html += page::TableHtml(single);
  return {"tests", "Every test", html};
}

page::Section PassagesSection(const Report& report) {
  if (report.ledger.regions == 0) return {};
  Table table{.caption = "Marked passages", .columns = {{"of"}, {"channel"}, {"first byte", true}, {"end", true}, {"pairs", true}, {"intervals", true}, {"log10 p", true}, {"adjusted p", true}}, .rows = {}, .more = ""};
  std::vector<const ReportRegion*> regions;
  for (const ReportRegion& region : report.regions) regions.push_back(&region);
  std::stable_sort(regions.begin(), regions.end(), [](const ReportRegion* a, const ReportRegion* b) { return a->log10_p_adjusted < b->log10_p_adjusted; });
  for (size_t i = 0; i < std::min(kRows, regions.size()); ++i) {
    const ReportRegion& region = *regions[i];
    table.rows.push_back({Cat(SubjectName(region.record, region.subject), Behind(report, region.reading)), Text(region.name), Thousands(region.begin), Thousands(region.end), Thousands(region.count.scored),
                          Thousands(static_cast<uint64_t>(std::min<Statistic>(region.tries, UINT64_MAX))),
                          Fixed(region.log10_p, 2), Power(region.log10_p_adjusted)});
  }
  if (regions.size() > kRows) table.more = Cat(Thousands(regions.size() - kRows), " more stand in the report.");
  const std::string text = regions.empty() ? "<p>Marked passages were looked for, and none was found that chance would not give.</p>\n"
                                           : "<p>Each passage is corrected for every interval that could have been reported in its place. It is not said that every word inside is marked, nor that the ends are exact. Bytes are counted in the original text, from 0, the end not "
                                             "included (token positions where ids were given).</p>\n";
  return {"passages", "Marked passages", regions.empty() ? text : text + page::TableHtml(table)};
}

page::Section WeightedSection(const Report& report) {
  if (report.weighted.empty()) return {};
  Table table{.caption = "Weighted tests", .columns = {{"of"}, {"test"}, {"pairs", true}, {"log10 p, bound", true}, {"log10 p, near", true}, {"adjusted p", true}, {"weights by"}}, .rows = {}, .more = ""};
  std::vector<const ReportWeighted*> tests;
  for (const ReportWeighted& test : report.weighted) tests.push_back(&test);
  std::stable_sort(tests.begin(), tests.end(), [](const ReportWeighted* a, const ReportWeighted* b) {
    if (a->pooled() != b->pooled()) return a->pooled();
    return a->log10_p_adjusted < b->log10_p_adjusted;
  });
  for (size_t i = 0; i < std::min(kRows, tests.size()); ++i) {
    const ReportWeighted& test = *tests[i];
    table.rows.push_back({Cat(SubjectName(test.record, test.subject), Behind(report, test.reading)), Cat(test.kind == TestKind::kAccount ? "account " : "channel ", Text(test.name)), Thousands(test.scored),
                          Fixed(test.log10_p, 2), Fixed(test.display_log10_p, 2), Power(test.log10_p_adjusted), Cat(Text(test.rule), ", model ", Mono(test.model_sha256.substr(0, 16)), "…")});
  }
  if (tests.size() > kRows) table.more = Cat(Thousands(tests.size() - kRows), " more stand in the report.");
  return {"weighted", "Weighted tests",
          "<p>Tokens that a model never shown marked text found uncertain count more. The verdict takes Chernoff's bound, which errs on the side of caution; the value beside it is near the exact one, and nothing hangs on it. Checking the sums needs the model and the text.</p>\n" +
              page::TableHtml(table)};
}

page::Section LedgerSection(const Report& report) {
  const TestLedger& l = report.ledger;
  Table table{.caption = "What was tried", .columns = {{"factor"}, {"number", true}, {"meaning"}}, .rows = {}, .more = ""};
  const auto row = [&table](std::string_view name, uint64_t value, std::string_view meaning) { table.rows.push_back({std::string(name), Thousands(value), std::string(meaning)}); };
  if (l.records == 0) {
    table.rows.push_back({"records", "not known", "single records have no corrected value"});
  } else {
    row("records", l.records, "texts that are judged one by one");
  }
  row("questions", l.questions, "asked of the same input, each with an equal part of alpha");
  row("keys", std::max<uint64_t>(l.keys, 1), "epochs");
  row("channels", std::max<uint64_t>(l.channels, 1), "tested in each text");
  row("candidates", l.candidates, "accounts tested in each text, Holm's correction over all of them");
  row("schemes", std::max<uint64_t>(l.schemes, 1), "of marks");
  row("views", std::max<uint64_t>(l.views, 1), "of the text: as it stands, cleaned");
  row("tokenizers", std::max<uint64_t>(l.tokenizers, 1), "tried");
  row("regions", l.regions, "searches for marked passages in each text");
  row("tests counted", l.Total(), "in all");
  const std::string html = Cat("<p>Every test that was run is counted here, whether or not it found anything. A raw p of the pool is multiplied by ", Thousands(Detector::Multiplier(l, false)), ", one of a single record by ",
                               l.records == 0 ? std::string("a number that is not known") : Thousands(Detector::Multiplier(l, true)), ", before it is held against alpha = ", Power(std::log10(report.alpha)),
                               ". So the chance of one or more false claims anywhere in this report is at most alpha.</p>\n");
  return {"ledger", "Ledger of tests", html + page::TableHtml(table)};
}

page::Section ReadingsSection(const Report& report) {
  if (report.readings.empty()) return {};
  Table table{.caption = "Ways in which the text became tokens", .columns = {{"reading"}, {"view"}, {"tokenizer (SHA-256)"}, {"best adjusted p", true}}, .rows = {}, .more = ""};
  for (size_t i = 0; i < report.readings.size(); ++i) {
    double best = 0;
    for (const ReportTest& test : report.tests) {
      if (test.reading == i) best = std::min(best, test.log10_p_adjusted);
    }
    const ReportReading& reading = report.readings[i];
    table.rows.push_back({std::to_string(i), reading.view == "raw" ? "the text as it stood" : reading.view == "cleaned" ? "cleaned: look-alikes and invisible characters resolved" : Text(reading.view),
                          reading.tokenizer_sha256.empty() ? "token ids were given" : Mono(reading.tokenizer_sha256), Power(best)});
  }
  return {"readings", "Readings", page::TableHtml(table)};
}

page::Section CoverageSection(const Report& report, const ReportFigures& figures) {
  Table inputs{.caption = "Files read", .columns = {{"file"}, {"bytes", true}, {"records", true}, {"unreadable", true}, {"SHA-256"}}, .rows = {}, .more = ""};
  for (size_t i = 0; i < std::min(kRows, report.inputs.size()); ++i) {
    const ReportInput& input = report.inputs[i];
    inputs.rows.push_back({Text(input.name), Thousands(input.bytes), Thousands(input.records), Thousands(input.unreadable), Mono(input.sha256)});
  }
  if (report.inputs.size() > kRows) inputs.more = Cat(Thousands(report.inputs.size() - kRows), " more files stand in the report.");
  std::string html = Cat("<p>", page::Percent(Coverage(report)), " of the records could be read (the floor for a verdict is ", page::Percent(report.coverage_floor), "). ", Thousands(figures.too_short),
                         figures.too_short == 1 ? " record was" : " records were", " too short to hold a scored pair.", figures.complete ? "" : " <strong>The input broke off; what follows in it was not seen.</strong>", "</p>\n", page::TableHtml(inputs));
  if (!figures.errors.empty()) {
    Table errors{.caption = "What could not be read", .columns = {{"file"}, {"line", true}, {"byte", true}, {"error"}}, .rows = {}, .more = ""};
    for (size_t i = 0; i < std::min(kRows, figures.errors.size()); ++i) {
      const ReportError& error = figures.errors[i];
      errors.rows.push_back({Text(error.file), Thousands(error.line), Thousands(error.byte), Text(error.message)});
    }
    if (figures.error_count > errors.rows.size()) errors.more = Cat(Thousands(figures.error_count - errors.rows.size()), " further errors are counted.");
    html += page::TableHtml(errors);
  }
  return {"coverage", "What was read", html};
}

page::Section KeysSection(const Report& report) {
  std::vector<std::pair<std::string, std::string>> facts;
  if (report.epoch.empty()) {
    facts.emplace_back("Key", "a bare key, without an epoch record: it was committed to nowhere");
  } else {
    facts.emplace_back("Tenant and epoch", Cat(Text(report.tenant), ", ", Text(report.epoch)));
  }
  facts.emplace_back("Mark", Cat("format ", report.format, ", ", SchemeName(report.mark.scheme), ", window of ", report.mark.window, report.mark.window == 1 ? " token" : " tokens"));
  std::string weights;
  for (const uint32_t weight : report.weights) weights += Cat(weights.empty() ? "" : ", ", Fixed(weight / 65536.0, 3));
  facts.emplace_back("Shares of the channels", weights);
  std::string html = page::FactsHtml(facts);
  if (!report.commitments.empty()) {
    Table table{.caption = "Published commitments of the keys that were used", .columns = {{"key"}, {"commitment"}, {"salt"}}, .rows = {}, .more = ""};
    for (size_t i = 0; i < std::min(kRows, report.commitments.size()); ++i) {
      const ReportCommitment& c = report.commitments[i];
      table.rows.push_back({Text(c.name), Mono(c.commitment), c.salt.empty() ? "not known" : Mono(c.salt)});
    }
    if (report.commitments.size() > kRows) table.more = Cat(Thousands(report.commitments.size() - kRows), " more stand in the report.");
    html += page::TableHtml(table);
  }
  if (report.commitments_published > 0) html += Cat("<p>This provider has published ", Thousands(report.commitments_published), " commitments in all; a third party multiplies p by that number.</p>\n");
  if (!report.epoch_record.empty()) html += page::DetailsHtml("The epoch record", Cat("<pre>", Text(report.epoch_record, 20000), "</pre>\n"));
  return {"keys", "Key and commitments", html};
}

page::Section LimitsSection(const Report& report) {
  std::vector<std::string> lines;
  for (const std::string& limit : report.limits) lines.push_back(Text(limit, 2000));
  lines.push_back("The chance that is stated is over the draw of the secret key. It holds for text of any kind and language, as long as whoever wrote the text had neither the key, nor anything made with it, nor a detector’s answers.");
  lines.push_back("Whoever holds a detection key can also forge its mark. That the key’s holder did not leak it or write this text cannot be shown by statistics.");
  lines.push_back("To a third party this carries weight only if the key was committed to before use and the text was time-stamped by someone else before the key was revealed.");
  return {"limits", "Limits", page::ListHtml(lines)};
}

page::Section VerifySection(const Report& report, const ReportFigures& figures) {
  // Names of files in a folder may be a stranger's: quoted for a shell, so that a name with a quote in it is a name still.
  const auto shown = [](std::string_view name) {
    std::string quoted;
    for (const char c : name) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return Cat("'", Text(quoted, SIZE_MAX), "'");
  };
  std::string html;
  if (!figures.signed_report.empty()) {
    html += Cat("<p>The signed report is the record; this page only shows it. Check signature and arithmetic, and the files’ hashes, without the provider:</p>\n<pre>watermark-verify ", shown(figures.signed_report), " --public-key signer.pem");
    for (size_t i = 0; i < std::min<size_t>(report.inputs.size(), 8); ++i) html += Cat(" \\\n    --input ", shown(report.inputs[i].name));
    html += "</pre>\n<p>Whoever is given the base, route and account keys can open their commitments and count again (<code>watermark-verify --help</code>).</p>\n";
  } else {
    html += "<p>No signed report was made with this page, so that it proves nothing to a third party by itself. Run <code>watermark-detect</code> again with <code>--report</code>; then <code>watermark-verify</code> checks signature, arithmetic and hashes without the provider.</p>\n";
  }
  if (figures.decoys) html += "<p>The control can be run again with the same decoys: <code>--decoy-seed</code> with the seed stated there.</p>\n";
  return {"verify", "How to verify", html};
}

}  // namespace countermark
