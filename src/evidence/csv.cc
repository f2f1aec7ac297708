#include "src/evidence/csv.h"

#include <charconv>
#include <cmath>

#include "src/evidence/page_text.h"

namespace countermark {
namespace {

// Full-width signs are read as their ASCII forms by some.
bool BeginsFormula(std::string_view text) {
  const size_t at = text.find_first_not_of(" \t\r\n");
  if (at == std::string_view::npos) return false;
  const std::string_view rest = text.substr(at);
  for (const std::string_view sign : {"=", "+", "-", "@", "＝", "＋", "－", "＠"}) {
    if (rest.starts_with(sign)) return true;
  }
  return false;
}

bool LooksLikeFormula(std::string_view text) {
  if (text.empty()) return false;
  return text[0] == '\t' || text[0] == '\r' || text[0] == '\'' || BeginsFormula(text);
}

// Where a spreadsheet set to another separator, as many a European one is, begins a cell.
bool EndsCellElsewhere(char c) { return c == ';' || c == '\t' || c == '|' || c == '\r' || c == '\n'; }

}  // namespace

std::string& CsvRow::Cell() {
  if (!first_) row_ += ',';
  first_ = false;
  return row_;
}

CsvRow& CsvRow::Text(std::string_view text) {
  std::string clean = LooksLikeFormula(text) ? "'" : "";
  while (!text.empty()) {
    const page::Character character = page::FirstCharacter(text);
    if (character.well_formed && character.code != 0) {
      clean += text.substr(0, character.bytes);
    } else {
      clean += "\xEF\xBF\xBD";
    }
    const bool ends = EndsCellElsewhere(text[0]);
    text.remove_prefix(character.bytes);
    if (ends && !text.empty() && !EndsCellElsewhere(text[0]) && BeginsFormula(text)) clean += '\'';
  }
  std::string& row = Cell();
  if (clean.find_first_of(",\"\r\n") == std::string::npos) {
    row += clean;
    return *this;
  }
  row += '"';
  for (const char c : clean) {
    if (c == '"') row += '"';
    row += c;
  }
  row += '"';
  return *this;
}

CsvRow& CsvRow::Number(double value) {
  std::string& row = Cell();
  if (!std::isfinite(value)) return *this;
  char text[40];
  row.append(text, std::to_chars(text, text + sizeof text, value == 0 ? 0.0 : value).ptr);  // no minus zero
  return *this;
}

CsvRow& CsvRow::Number(uint64_t value) { return Number(static_cast<unsigned __int128>(value)); }

CsvRow& CsvRow::Number(unsigned __int128 value) {
  char text[40];
  char* at = text + sizeof text;
  do {
    *--at = static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value != 0);
  Cell().append(at, text + sizeof text);
  return *this;
}

CsvRow& CsvRow::Empty() {
  Cell();
  return *this;
}

void CsvRow::End(std::string* out) {
  *out += row_;
  *out += "\r\n";
  row_.clear();
  first_ = true;
}

}  // namespace countermark
