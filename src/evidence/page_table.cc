#include "src/evidence/page_table.h"

#include "src/base/strings.h"

namespace countermark::page {

std::string TableHtml(const Table& table) {
  std::string out = Cat("<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Table, scrolls sideways\"><table><caption>", table.caption, "</caption><thead><tr>");
  for (const Column& column : table.columns) out += Cat("<th scope=\"col\"", column.number ? " class=\"n\"" : "", ">", column.heading, "</th>");
  out += "</tr></thead><tbody>\n";
  for (const std::vector<std::string>& row : table.rows) {
    out += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) {
      const bool number = i < table.columns.size() && table.columns[i].number;
      out += i == 0 ? "<th scope=\"row\"" : "<td";
      out += Cat(number ? " class=\"n\">" : ">", row[i], i == 0 ? "</th>" : "</td>");
    }
    out += "</tr>\n";
  }
  out += "</tbody></table></div>\n";
  if (!table.more.empty()) out += Cat("<p class=\"note\">", table.more, "</p>\n");
  return out;
}

std::string FactsHtml(const std::vector<std::pair<std::string, std::string>>& facts) {
  std::string out = "<dl>\n";
  for (const auto& [name, value] : facts) out += Cat("<dt>", name, "</dt><dd>", value, "</dd>\n");
  return out + "</dl>\n";
}

std::string ListHtml(const std::vector<std::string>& lines) {
  std::string out = "<ul>\n";
  for (const std::string& line : lines) out += Cat("<li>", line, "</li>\n");
  return out + "</ul>\n";
}

std::string DetailsHtml(const std::string& summary, const std::string& body) {
  return Cat("<details><summary>", summary, "</summary>\n", body, "</details>\n");
}

}  // namespace countermark::page
