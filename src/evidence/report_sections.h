// The sections of a report's page, one function each. An empty section has no HTML and is left out.
#ifndef COUNTERMARK_SRC_EVIDENCE_REPORT_SECTIONS_H_
#define COUNTERMARK_SRC_EVIDENCE_REPORT_SECTIONS_H_

#include <string>

#include "src/evidence/page.h"
#include "src/evidence/report_page.h"

namespace countermark {

// Figures (report_figures.cc).
page::Section EvidenceSection(const Report& report, const ReportFigures& figures);
page::Section AccountsSection(const Report& report, const ReportFigures& figures);
page::Section TextsSection(const Report& report, const ReportFigures& figures);
page::Section ControlSection(const Report& report, const ReportFigures& figures);

// Tables (report_sections.cc).
page::Section RecordsSection(const Report& report);
page::Section PassagesSection(const Report& report);
page::Section WeightedSection(const Report& report);
page::Section LedgerSection(const Report& report);
page::Section ReadingsSection(const Report& report);
page::Section CoverageSection(const Report& report, const ReportFigures& figures);
page::Section KeysSection(const Report& report);
page::Section LimitsSection(const Report& report);
page::Section VerifySection(const Report& report, const ReportFigures& figures);

// "cleaned", with the tokenizer where there are several; nothing where there is one reading. HTML.
std::string ReadingName(const Report& report, uint64_t reading);
// "record 3, essay.txt" or "all records together". HTML.
std::string SubjectName(uint64_t record, const std::string& subject);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_EVIDENCE_REPORT_SECTIONS_H_
