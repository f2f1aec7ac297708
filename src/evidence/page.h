// One self-contained page: no script, no network, no font; an inline style sheet that the page's own policy names by its hash, so that nothing else could
// style it either.
//
//   page::Page page{.title = "Report on suspect.jsonl"};
//   page.verdict = {page::Finding::kEvidence, "Evidence", "The text depends on …", "This does not say …", facts};
//   page.sections.push_back({"accounts", "Whose answers", page::BarsHtml(bars)});
//   std::string html = page::PageHtml(page);
//
// Light and dark, narrow and wide, on paper and by keyboard. Blocks (page_table.h, page_chart.h, page_bars.h, page_quantile.h, page_heat.h) give HTML without
// style attributes; all looks are in the one sheet of page_style.cc. Every string here is HTML unless it says otherwise: what comes from an input has been through page::Text.
#ifndef COUNTERMARK_SRC_EVIDENCE_PAGE_H_
#define COUNTERMARK_SRC_EVIDENCE_PAGE_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace countermark::page {

enum class Finding { kEvidence, kNoEvidence, kInconclusive };

// What a reader who reads nothing else reads.
struct VerdictBlock {
  Finding finding = Finding::kInconclusive;
  std::string word;      // "Evidence found", "No evidence", "Inconclusive"
  std::string says;      // one sentence
  std::string says_not;  // one sentence: what it does not mean
  std::vector<std::pair<std::string, std::string>> facts;
};

struct Section {
  std::string id;        // a word; unique in the page
  std::string heading;
  std::string html;
};

struct Page {
  std::string title;
  std::string lead;      // below the title: what was examined, when, by what
  VerdictBlock verdict;
  std::vector<Section> sections;
  std::string footer;
};

std::string PageHtml(const Page& page);

// The one style sheet.
std::string_view StyleSheet();

}  // namespace countermark::page

#endif  // COUNTERMARK_SRC_EVIDENCE_PAGE_H_
