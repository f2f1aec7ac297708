#include "src/evidence/dataset_page.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "src/base/hex.h"
#include "src/base/strings.h"
#include "src/evidence/csv.h"
#include "src/evidence/page.h"
#include "src/evidence/page_bars.h"
#include "src/evidence/page_chart.h"
#include "src/evidence/page_quantile.h"
#include "src/evidence/page_table.h"
#include "src/evidence/page_text.h"

namespace countermark {
namespace {

using nlohmann::json;
using page::Fixed;
using page::OneIn;
using page::Power;
using page::Table;
using page::Text;
using page::Thousands;

constexpr size_t kRows = 100;
constexpr size_t kCandidatesShown = 20;
constexpr size_t kNamedShown = 200;

std::string Count(const json& value) { return Thousands(value.get<uint64_t>()); }
std::string Percent(const json& share) { return page::Percent(share.get<double>()); }
std::string String(const json& value) { return Text(value.get<std::string>()); }
double Value(const json& value) { return value.get<double>(); }

// The strongest of what the verdict is taken from, and the candidates that are named.
struct Best {
  double corrected = 0;
  std::string named;
};

Best BestOf(const json& r) {
  Best best;
  best.corrected = std::min(Value(r["pooled"]["log10_p_corrected"]), Value(r["sparse"]["log10_p_corrected"]));
  for (const json& family : r["candidates"]) {
    std::string names;
    uint64_t shown = 0;
    for (const json& candidate : family["ranked"]) {
      best.corrected = std::min(best.corrected, Value(candidate["log10_p_corrected"]));
      if (candidate["named"].get<bool>() && shown < 5) names += Cat(shown++ == 0 ? "" : ", ", "<strong>", String(candidate["label"]), "</strong>");
    }
    const uint64_t named = family["named"].get<uint64_t>();
    if (named > shown && shown > 0) names += Cat(" and ", Thousands(named - shown), " more");
    if (named > 0) best.named += Cat(" It depends in particular on the keys of these ", String(family["family"]), ": ", names, "; each marks the answers served under it.");
  }
  return best;
}

page::VerdictBlock VerdictOf(const json& r) {
  page::VerdictBlock block;
  const std::string verdict = r["verdict"];
  const Best best = BestOf(r);
  const json& coverage = r["coverage"];
  if (verdict == "marked") {
    block.finding = page::Finding::kEvidence;
    block.word = "Evidence found";
    block.says = Cat("The data set depends on the secret watermark key: had it been made without any use of that key or of text marked with it, evidence as strong as this would appear with a probability of at most ", Power(best.corrected), ", less than ",
                     OneIn(best.corrected), ", with every test the verdict is taken from accounted for.", best.named);
    block.says_not = "This does not say who gathered the text, nor that its gatherers knew where it came from: whatever was collected from public places may hold served text. A mark names the model and the account whose answers were used, not who used them.";
  } else if (verdict == "no evidence") {
    block.finding = page::Finding::kNoEvidence;
    block.word = "No evidence found";
    block.says = Cat("Nothing was found in the data set that shows a dependence on the secret watermark key: the strongest of all tests, corrected for the others, has a p of ", Power(best.corrected), ", and ", Power(std::log10(Value(r["alpha"]))), " or less was asked for.");
    block.says_not = "This does not say that no marked text is in it. A few short, edited or predictable passages among very many may go unseen, and marks of other keys and epochs were not looked for.";
  } else {
    block.word = "Inconclusive";
    block.says = Cat("No verdict can be given: ", !coverage["complete"].get<bool>()                             ? Cat(Count(coverage["broken_files"]), " files broke off, and a verdict would be one on text that was not seen")
                                                  : Value(coverage["share"]) < Value(coverage["floor"]) ? Cat("only ", Percent(coverage["share"]), " of the documents could be read, and ", Percent(coverage["floor"]), " were asked for")
                                                                                                        : std::string("no token of the text could be tested"),
                     ".");
    block.says_not = "The numbers below are those of what could be read. They accuse nobody and clear nobody.";
  }
  block.facts = {{"Corrected p", Power(best.corrected)},
                 {"Asked for (alpha)", Power(std::log10(Value(r["alpha"])))},
                 {"Documents read", Count(r["documents"]["read"])},
                 {"Marked, at least", Cat(Count(r["how_much"]["documents_at_least"]), " documents")},
                 {"Tests counted", Count(r["ledger"]["tests_counted"])}};
  return block;
}

page::Section GrowthSection(const json& r, const DatasetFigures& figures) {
  page::Chart chart{.id = "growth", .title = "Evidence against the number of documents", .description = "", .caption = "", .x_label = "documents, in the order of the input", .y_label = "−log10 p, log10 E", .series = {}, .levels = {}};
  chart.x_name = "documents";
  page::Series pooled{.name = "pooled: −log10 p", .style = 1, .points = {{0, 0}}}, sparse{.name = "sparse: log10 E", .style = 2, .points = {{0, 0}}};
  for (const DatasetPoint& point : figures.curve) {
    pooled.points.emplace_back(static_cast<double>(point.documents), -point.log10_p);
    sparse.points.emplace_back(static_cast<double>(point.documents), point.log10_e);
  }
  const double parts = Value(r["ledger"]["parts_of_alpha"]);
  const double needed = std::log10(parts) - std::log10(Value(r["alpha"]));
  chart.levels.push_back({needed, Cat("needed: ", Fixed(needed, 1))});
  chart.description = Cat("At the end the pooled value is ", Fixed(pooled.points.back().second, 2), " and the sparse one ", Fixed(sparse.points.back().second, 2), "; ", Fixed(needed, 2), " is needed.");
  chart.series = {std::move(pooled), std::move(sparse)};
  chart.caption = Cat("Pooled: pairs distinct in the whole data set, once each. Sparse: an e-value that bets on a few marked documents among many. The dashed line is what is needed: alpha = ", Power(std::log10(Value(r["alpha"]))), " in ", Fixed(parts, 0),
                      " equal parts. Of the pooled curve only the last point is a test; the sparse one may be read at any point (p ≤ 1/E).");
  Table table{.caption = "Is the mark in it", .columns = {{"test"}, {"pairs", true}, {"log10 p", true}, {"log10 E", true}, {"corrected p", true}}, .rows = {}, .more = ""};
  table.rows.push_back({"pooled", Count(r["pooled"]["scored"]), Fixed(Value(r["pooled"]["log10_p"]), 2), Fixed(Value(r["pooled"]["log10_e"]), 2), Power(Value(r["pooled"]["log10_p_corrected"]))});
  table.rows.push_back({Cat("sparse (highest after ", Count(r["sparse"]["highest_after_documents"]), " documents)"), Count(r["pooled"]["scored"]), Fixed(Value(r["sparse"]["log10_p"]), 2), Fixed(Value(r["sparse"]["log10_e_highest"]), 2),
                        Power(Value(r["sparse"]["log10_p_corrected"]))});
  return {"evidence", "How the evidence grows", figures.curve.empty() ? page::TableHtml(table) : page::ChartHtml(chart) + page::TableHtml(table)};
}

page::Section CandidatesSection(const json& r) {
  std::string html;
  for (const json& family : r["candidates"]) {
    page::Bars bars{.caption = Cat("Candidates: ", String(family["family"]), family.contains("of") ? Cat(" of ", String(family["of"])) : ""), .name = "candidate", .bar_heading = "−log10 of the corrected p", .columns = {{"log10 p", true}, {"Holm", true}, {"corrected p", true}}, .rows = {},
                    .level = -std::log10(Value(r["alpha"])), .more = ""};
    size_t at = 0;
    for (const json& candidate : family["ranked"]) {
      const bool named = candidate["named"];
      if (at++ >= (named ? kNamedShown : kCandidatesShown)) continue;
      const double corrected = Value(candidate["log10_p_corrected"]);
      bars.rows.push_back({.name = String(candidate["label"]), .value = -corrected, .cells = {Fixed(Value(candidate["log10_p"]), 2), Fixed(Value(candidate["log10_p_adjusted"]), 2), Power(corrected)}, .named = named});
    }
    bars.more = Cat(Count(family["count"]), " candidates were tested on ", Count(family["scored"]), " distinct pairs of their channel; named: ", Count(family["named"]), "; the nearest ", bars.rows.size(),
                    " are shown. The corrected p counts all of them (Holm) and the other tests of the verdict. The line on each bar is alpha.");
    html += page::BarsHtml(bars);
  }
  return {"accounts", "Whose answers", html};
}

// Documents from the first to the last, darker where more of them are listed.
std::string DocumentsStrip(const std::vector<DatasetStretch>& stretches) {
  std::string cells;
  const double width = 720.0 / static_cast<double>(stretches.size());
  for (size_t i = 0; i < stretches.size(); ++i) {
    const DatasetStretch& s = stretches[i];
    const double share = s.read == 0 ? 0 : static_cast<double>(s.listed) / static_cast<double>(s.read);
    const int shade = s.listed == 0 ? 0 : 1 + std::min(3, static_cast<int>(share * 4));
    cells += Cat("<rect class=\"c", s.read == 0 ? std::string("n") : std::to_string(shade), "\" x=\"", Fixed(static_cast<double>(i) * width, 2), "\" y=\"0\" width=\"", Fixed(width, 2), "\" height=\"32\"/>");
  }
  return Cat("<svg class=\"strip\" viewBox=\"0 0 720 32\" preserveAspectRatio=\"none\" width=\"100%\" height=\"32\" role=\"img\" aria-labelledby=\"strip-t strip-d\"><title id=\"strip-t\">Listed documents along the data set</title><desc id=\"strip-d\">",
             stretches.size(), " stretches of the input in order; darker where a larger share of the documents is listed. The table below has the documents.</desc>", cells, "</svg>\n");
}

page::Section DocumentsSection(const json& r, const DatasetFigures& figures) {
  const json &documents = r["documents"], &much = r["how_much"];
  std::string html = Cat("<p>", Count(documents["listed"]), " of ", Count(documents["read"]), " documents are listed: of those, the share that is independent of the key is expected to be at most ", Percent(documents["fdr"]),
                         ". At least ", Count(much["documents_at_least"]), " documents (", Percent(much["documents_share_at_least"]), ") and ", Percent(much["pairs_share_at_least"]), " of the distinct pairs stand in documents that depend on the key, at a confidence of ",
                         Percent(much["confidence"]), ". These are lower bounds, not estimates, and the verdict does not hang on them.</p>\n");
  if (!figures.stretches.empty()) html += DocumentsStrip(figures.stretches);
  if (!figures.listed.empty()) {
    Table table{.caption = "The listed documents, the most extreme first", .columns = {{"document"}, {"file"}, {"line", true}, {"pairs", true}, {"log10 p", true}, {"log10 E", true}}, .rows = {}, .more = ""};
    for (size_t i = 0; i < std::min(kRows, figures.listed.size()); ++i) {
      const ListedDocument& d = figures.listed[i];
      table.rows.push_back({Text(d.id, 120), Text(d.file, 120), Thousands(d.line), Thousands(d.scored), Fixed(d.log10_p, 2), Fixed(d.log10_e, 2)});
    }
    const uint64_t listed = documents["listed"];
    if (listed > table.rows.size()) table.more = Cat(Thousands(listed - table.rows.size()), " more stand in documents.jsonl and the CSV.");
    html += page::TableHtml(table);
  }
  return {"documents", "Which documents, and how many", html};
}

page::Section ControlSection(const DatasetFigures& figures) {
  if (!figures.decoys || figures.decoys->log10_p.empty()) return {};
  const DecoyControl& control = *figures.decoys;
  std::string html = page::QuantilesHtml({.id = "decoys", .real_name = "the base key", .real_log10_p = control.real_log10_p, .decoy_log10_p = control.log10_p});
  html += Cat("<p class=\"note\">The pooled statistic on ", control.all_pairs ? "all " : "the first ", Thousands(control.pairs), " of the distinct pairs of the base channel, under the real key and the decoys alike. The control is indicative: the exact p does not rest on it, and it can go no further than 1 in ",
              Thousands(control.log10_p.size() + 1), ". Decoy i is the key HKDF(seed; “decoy”, i) of the public seed <code>", HexEncode(control.seed), "</code>, drawn after the text was read.</p>\n");
  return {"control", "Control: decoy keys", html};
}

page::Section LedgerSection(const json& r) {
  const json& l = r["ledger"];
  Table table{.caption = "What was tried", .columns = {{"tests"}, {"number", true}, {"level"}}, .rows = {}, .more = ""};
  table.rows = {{"pooled", Count(l["pooled"]), "one part of alpha"},
                {"sparse, over any stopping point", Count(l["sparse"]), "one part of alpha"},
                {"families of candidates", Count(l["families"]), "one part of alpha each, Holm over the candidates within"},
                {"candidates", Count(l["candidates"]), "in all families"},
                {"documents, one by one", Count(l["documents"]), "listed under a false discovery rate of their own; no verdict hangs on them"},
                {"lower bounds", Count(l["bounds"]), "at a confidence of their own"},
                {"tests counted", Count(l["tests_counted"]), "in all"}};
  return {"ledger", "Ledger of tests", Cat("<p>Alpha = ", Power(std::log10(Value(r["alpha"]))), " is shared in ", Count(l["parts_of_alpha"]), " equal parts among the tests that the verdict is taken from, so that the chance of one or more false claims in it is at most alpha.</p>\n", page::TableHtml(table))};
}

page::Section CoverageSection(const json& r) {
  const json& c = r["coverage"];
  std::string html = Cat("<p>", Percent(c["share"]), " of ", Count(c["records"]), " documents could be read (the floor for a verdict is ", Percent(c["floor"]), "); ", Count(c["unreadable"]), " could not, and ", Count(c["too_short"]),
                         " were too short to hold a pair.", c["complete"].get<bool>() ? "" : Cat(" <strong>", Count(c["broken_files"]), " files broke off; what follows in them was not seen.</strong>"), "</p>\n");
  if (!r["errors"].empty()) {
    Table table{.caption = "What could not be read", .columns = {{"file"}, {"line", true}, {"byte", true}, {"error"}}, .rows = {}, .more = ""};
    for (const json& error : r["errors"]) {
      if (table.rows.size() == kRows) break;
      table.rows.push_back({String(error["file"]), Count(error["line"]), Count(error["byte"]), String(error["message"])});
    }
    const uint64_t errors = r["error_count"];
    if (errors > table.rows.size()) table.more = Cat(Thousands(errors - table.rows.size()), " further errors are counted.");
    html += page::TableHtml(table);
  }
  return {"coverage", "What was read", html};
}

page::Section KeysSection(const json& r) {
  const json &mark = r["mark"], &run = r["run"];
  std::string channels;
  for (const json& channel : mark["channels"]) channels += Cat(channels.empty() ? "" : ", ", String(channel["name"]), " ", Fixed(Value(channel["weight"]) / 65536, 3));
  std::vector<std::pair<std::string, std::string>> facts = {{"Mark", Cat("format ", Count(r["mark_format"]), ", ", String(mark["scheme"]), ", window of ", Count(mark["window"]))},
                                                            {"Channels and their shares", channels},
                                                            {"Tokenizer (SHA-256)", r["tokenizer_sha256"].is_null() ? std::string("token ids were given") : Cat("<code>", String(r["tokenizer_sha256"]), "</code>")},
                                                            {"Key fingerprint (equal for equal keys, and says nothing else)", Cat("<code>", String(run["key_fingerprint"]), "</code>")},
                                                            {"Options of the run (SHA-256)", Cat("<code>", String(run["options_sha256"]), "</code>")}};
  return {"keys", "Key, mark and run", page::FactsHtml(facts)};
}

page::Section LimitsSection() {
  return {"limits", "Limits",
          page::ListHtml({"The tests show that the data set depends on the key; they do not show how the dependence came about. A public crawl also carries served text.",
                          "A mark names the account whose answers were used, not who used them.",
                          "The order of the documents must not have been chosen with knowledge of the key.",
                          "The chance that is stated is over the draw of the secret key, for text of any kind, as long as whoever wrote it had neither the key, nor anything made with it, nor a detector’s answers.",
                          "Whoever holds a detection key can also forge its mark. To a third party this carries weight only if the key was committed to before use and the data set was time-stamped by someone else before the key was revealed."})};
}

page::Section VerifySection(const DatasetFigures& figures) {
  const std::string run = Text(figures.run);
  return {"verify", "How to verify",
          Cat("<p>The run directory is the record: <code>result.json</code> has every number of this page, <code>documents.jsonl</code> a line a document, and <code>run.json</code> what all of it hangs on. The same command over the same input gives the same bytes, whatever the machine, threads and interruptions:</p>\n<pre>watermark-audit dataset … --run '",
              run, "-again'\ncmp '", run, "/result.json' '", run, "-again/result.json'</pre>\n", figures.decoys ? "<p>The control can be run again with the same decoys: <code>--decoy-seed</code> with the seed stated there.</p>\n" : "")};
}

std::string Assemble(const json& r, const DatasetFigures& figures) {
  page::Page out;
  out.title = Cat("Watermark audit of a data set: ", Text(figures.run, 120));
  out.lead = Cat("<p>Made by ", String(r["tool"]), " ", Text(figures.version), " on ", Text(figures.created), " (clock of the machine it ran on).</p>\n");
  out.verdict = VerdictOf(r);
  for (page::Section section : {GrowthSection(r, figures), CandidatesSection(r), DocumentsSection(r, figures), ControlSection(figures), LedgerSection(r), CoverageSection(r), KeysSection(r), LimitsSection(), VerifySection(figures)}) {
    if (!section.html.empty()) out.sections.push_back(std::move(section));
  }
  out.footer = "<p>H0 of every test: the texts are statistically independent of the secret key. p: the chance, under H0, of a result at least as extreme. Corrected: multiplied for the other tests of the verdict. E: an e-value; under H0 it exceeds 1/α with a chance of at most α, whenever one looks. "
               "log10 p = −6 is one in a million.</p>\n";
  return page::PageHtml(out);
}

absl::Status NotAResult(const json::exception& error) { return absl::DataLossError(Cat("not a result of this version: ", error.what())); }

}  // namespace

absl::StatusOr<std::string> DatasetPage(std::string_view result_json, const DatasetFigures& figures) {
  try {
    return Assemble(json::parse(result_json), figures);
  } catch (const json::exception& error) {
    return NotAResult(error);
  }
}

absl::StatusOr<std::string> DatasetCsvHead(std::string_view result_json) {
  std::string out;
  CsvRow row;
  for (const std::string_view heading : {"kind", "name", "file", "line", "scored", "statistic", "log10_p", "log10_e", "log10_p_adjusted", "log10_p_corrected", "named"}) row.Text(heading);
  row.End(&out);
  try {
    const json r = json::parse(result_json);
    const double level = std::log10(Value(r["alpha"]));
    const json &pooled = r["pooled"], &sparse = r["sparse"];
    row.Text("pooled").Empty().Empty().Empty().Number(pooled["scored"].get<uint64_t>()).Text(pooled["statistic"].get<std::string>()).Number(Value(pooled["log10_p"])).Number(Value(pooled["log10_e"])).Empty().Number(Value(pooled["log10_p_corrected"]));
    row.Text(Value(pooled["log10_p_corrected"]) <= level ? "yes" : "no").End(&out);
    row.Text("sparse").Empty().Empty().Empty().Number(pooled["scored"].get<uint64_t>()).Empty().Number(Value(sparse["log10_p"])).Number(Value(sparse["log10_e_highest"])).Empty().Number(Value(sparse["log10_p_corrected"]));
    row.Text(Value(sparse["log10_p_corrected"]) <= level ? "yes" : "no").End(&out);
    for (const json& family : r["candidates"]) {
      const std::string kind = family["family"].get<std::string>() == "accounts" ? "account" : "request";
      for (const json& c : family["ranked"]) {
        row.Text(kind).Text(c["label"].get<std::string>()).Empty().Empty().Number(family["scored"].get<uint64_t>()).Text(c["statistic"].get<std::string>()).Number(Value(c["log10_p"])).Empty();
        row.Number(Value(c["log10_p_adjusted"])).Number(Value(c["log10_p_corrected"])).Text(c["named"].get<bool>() ? "yes" : "no").End(&out);
      }
    }
  } catch (const json::exception& error) {
    return NotAResult(error);
  }
  return out;
}

absl::StatusOr<std::string> DatasetCsvDocument(std::string_view line) {
  std::string out;
  CsvRow row;
  try {
    const json d = json::parse(line);
    const bool read = !d.contains("error");
    row.Text(read ? "document" : "unreadable document").Text(d["id"].get<std::string>()).Text(d["file"].get<std::string>()).Number(d["line"].get<uint64_t>());
    if (read) {
      row.Number(d["scored"].get<uint64_t>()).Text(d["statistic"].get<std::string>()).Number(Value(d["log10_p"])).Number(Value(d["log10_e"])).Empty().Empty().Text(d["listed"].get<bool>() ? "yes" : "no");
    } else {
      row.Empty().Empty().Empty().Empty().Empty().Empty().Text("no");
    }
    row.End(&out);
  } catch (const json::exception& error) {
    return NotAResult(error);
  }
  return out;
}

}  // namespace countermark
