// Rows of CSV as RFC 4180 has them, that a spreadsheet does not run.
//
//   CsvRow row;  row.Text("=cmd()");  row.Number(-12.5);  row.End(&out);     // '=cmd(),-12.5 and CR LF
//
// A text that a spreadsheet could take for a formula (it begins with = + - @, a tab or a carriage return, also behind spaces) gets an apostrophe before it; so does one that begins with an
// apostrophe, which makes the change one that can be undone. Numbers stand as they are. Bytes that are no UTF-8 become U+FFFD, NUL too.
#ifndef COUNTERMARK_SRC_EVIDENCE_CSV_H_
#define COUNTERMARK_SRC_EVIDENCE_CSV_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace countermark {

class CsvRow {
 public:
  CsvRow& Text(std::string_view text);
  CsvRow& Number(double value);     // shortest decimal that reads back as the value; nothing where it is not finite
  CsvRow& Number(uint64_t value);
  CsvRow& Number(unsigned __int128 value);
  CsvRow& Empty();
  void End(std::string* out);       // appends the row with CR LF; the row is empty again

 private:
  std::string& Cell();
  std::string row_;
  bool first_ = true;
};

}  // namespace countermark

#endif  // COUNTERMARK_SRC_EVIDENCE_CSV_H_
