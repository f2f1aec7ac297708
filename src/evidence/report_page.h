// The page and the CSV of a detection. Takes the report, as it is or would be signed, and what no report holds: the shaded texts, the growth of the
// evidence, the decoys, the errors. Gives one self-contained page of at most about 2 MB (page.h), and a row a test.
//
//   ReportFigures figures;  figures.curves.push_back(…);  figures.decoys = control;  figures.texts.push_back(…);
//   std::string html = ReportPage(report, figures);
//   std::string csv = ReportCsv(report);
//
// Every number of a test stands in the report, so that the page can be checked against it; the figures are for the eye, and no verdict hangs on them.
#ifndef COUNTERMARK_SRC_EVIDENCE_REPORT_PAGE_H_
#define COUNTERMARK_SRC_EVIDENCE_REPORT_PAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "countermark/detect/decoys.h"
#include "countermark/evidence/report.h"
#include "src/evidence/page_heat.h"

namespace countermark {

// How a channel's count grew over the pairs of all records, in their order: counts of the first so many pairs, ascending; the last is the whole.
struct ReportCurve {
  std::string name;                  // "base channel"
  std::vector<ChannelCount> counts;
};

// One record's text, token by token.
struct ReportText {
  uint64_t record = 0;               // from 1, as in the report
  std::string subject;
  uint64_t reading = 0;
  std::string text;                  // of ids that were given: the ids, in decimal, between blanks
  bool ids = false;
  std::vector<page::HeatToken> tokens;   // one a token, also where it is not scored
  std::vector<page::HeatLane> lanes;     // names are plain text
};

struct ReportError {
  std::string file;
  uint64_t line = 0, byte = 0;
  std::string message;
};

struct ReportFigures {
  bool complete = true;              // else the input broke off, and the verdict is "inconclusive" whatever the report says
  uint64_t too_short = 0;            // records without a pair
  uint64_t error_count = 0;
  std::vector<ReportError> errors;   // the first ones
  std::vector<ReportCurve> curves;
  std::optional<DecoyControl> decoys;
  std::vector<ReportText> texts;
  std::string signed_report;         // name of the file; empty: none was signed
};

std::string ReportPage(const Report& report, const ReportFigures& figures);

// kind, record, subject, view, tokenizer_sha256, name, scored, statistic, begin, end, tries, log10_p, log10_e, log10_p_adjusted, at_alpha
std::string ReportCsv(const Report& report);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_EVIDENCE_REPORT_PAGE_H_
