#include "tools/audit/summary.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/cli.h"

namespace countermark::audit_tool {
namespace {

using nlohmann::json;

std::string Number(double value, const char* format = "%.2f") {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string Count(const json& value) { return std::to_string(value.get<uint64_t>()); }

std::string Percent(const json& share) { return Number(100 * share.get<double>(), "%.4g") + " %"; }

}  // namespace

std::string Summary(const std::string& result_json, const std::string& run, bool color) {
  const json r = json::parse(result_json);
  const json &pooled = r["pooled"], &sparse = r["sparse"], &documents = r["documents"], &much = r["how_much"], &coverage = r["coverage"];
  const std::string verdict = r["verdict"];
  std::string out = "verdict    " + cli::Paint(verdict, verdict == "marked" ? "1;31" : "1", color) + " at alpha " + Number(r["alpha"], "%g") + "\n";
  out += "pooled     log10 p " + Number(pooled["log10_p"]) + ", corrected " + Number(pooled["log10_p_corrected"]) + "; " + Count(pooled["scored"]) + " of " + Count(pooled["pairs"]) +
         " distinct pairs on the base channel\n";
  out += "sparse     log10 E " + Number(sparse["log10_e_highest"]) + ", highest after " + Count(sparse["highest_after_documents"]) + " documents; log10 p " + Number(sparse["log10_p"]) +
         ", corrected " + Number(sparse["log10_p_corrected"]) + "\n";
  out += "documents  " + Count(documents["listed"]) + " listed of " + Count(documents["read"]) + ", of which at most " + Number(100 * documents["fdr"].get<double>(), "%g") +
         " % are expected to be unmarked\n";
  out += "how much   at least " + Count(much["documents_at_least"]) + " documents (" + Percent(much["documents_share_at_least"]) + ") and " + Percent(much["pairs_share_at_least"]) +
         " of the distinct pairs, at confidence " + Number(much["confidence"], "%g") + "\n";
  for (const json& family : r["candidates"]) {
    out += "\n" + cli::Printable(family["family"].get<std::string>()) + ": " + Count(family["count"]) + " candidates, " + Count(family["named"]) + " named; " + Count(family["scored"]) + " distinct pairs on their channel\n";
    for (const json& candidate : family["ranked"]) {
      char line[120];
      std::snprintf(line, sizeof line, "  %12.2f raw %12.2f adjusted %12.2f corrected  ", candidate["log10_p"].get<double>(), candidate["log10_p_adjusted"].get<double>(),
                    candidate["log10_p_corrected"].get<double>());
      const std::string label = cli::Printable(candidate["label"].get<std::string>());
      const bool named = candidate["named"];
      out += line + cli::Paint(label, "1;31", color && named) + (named ? "  named" : "") + "\n";
    }
  }
  out += "\ntests counted " + Count(r["ledger"]["tests_counted"]) + "; alpha in " + Count(r["ledger"]["parts_of_alpha"]) + " parts\n";
  out += "coverage " + Percent(coverage["share"]) + " of " + Count(coverage["records"]) + " records, " + Count(coverage["unreadable"]) + " unreadable, " + Count(coverage["too_short"]) +
         " without a pair" + (coverage["complete"].get<bool>() ? "" : "; " + Count(coverage["broken_files"]) + " files broke off") + "\n";
  out += "in " + cli::Printable(run) + ": result.json, documents.jsonl\n";
  return out;
}

}  // namespace countermark::audit_tool
