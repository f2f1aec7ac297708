// A table: the plain form of every figure, and the figure itself where numbers are few.
//
//   page::Table table{.caption = "Tests", .columns = {{"test"}, {"log10 p", true}}};
//   table.rows.push_back({page::Text(name), page::Fixed(p, 2)});
//   std::string html = page::TableHtml(table);
//
// Cells are HTML: what comes from an input has been through page::Text. The first cell of a row is its heading. A wide table scrolls inside its own region, which
// the keyboard reaches.
#ifndef COUNTERMARK_SRC_EVIDENCE_PAGE_TABLE_H_
#define COUNTERMARK_SRC_EVIDENCE_PAGE_TABLE_H_

#include <string>
#include <utility>
#include <vector>

namespace countermark::page {

struct Column {
  std::string heading;
  bool number = false;  // set to the right, figures of one width
};

struct Table {
  std::string caption;  // HTML
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
  std::string more;     // HTML below the table: what it leaves out. Empty: nothing
};

std::string TableHtml(const Table& table);

// Names and values, one pair a line: <dl>. Both HTML.
std::string FactsHtml(const std::vector<std::pair<std::string, std::string>>& facts);
// A list of sentences. HTML.
std::string ListHtml(const std::vector<std::string>& lines);
// What is folded away until it is asked for; printed all the same.
std::string DetailsHtml(const std::string& summary, const std::string& body);

}  // namespace countermark::page

#endif  // COUNTERMARK_SRC_EVIDENCE_PAGE_TABLE_H_
