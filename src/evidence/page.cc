#include "src/evidence/page.h"

#include <openssl/evp.h>

#include <array>

#include "countermark/keys/derive.h"
#include "src/base/strings.h"

namespace countermark::page {
namespace {

std::string StyleHash() {
  const Digest32 digest = Sha256(StyleSheet());
  std::array<unsigned char, 48> text{};
  const int size = EVP_EncodeBlock(text.data(), digest.data(), static_cast<int>(digest.size()));
  return std::string(reinterpret_cast<const char*>(text.data()), static_cast<size_t>(size));
}

std::string_view ClassOf(Finding finding) {
  switch (finding) {
    case Finding::kEvidence: return "evidence";
    case Finding::kNoEvidence: return "none";
    case Finding::kInconclusive: break;
  }
  return "open";
}

std::string VerdictHtml(const VerdictBlock& verdict) {
  std::string out = Cat("<section id=\"verdict\" class=\"verdict ", ClassOf(verdict.finding), "\" aria-labelledby=\"verdict-h\">\n<h2 id=\"verdict-h\">", verdict.word, "</h2>\n<p class=\"says\">", verdict.says,
                        "</p>\n<p class=\"not\">", verdict.says_not, "</p>\n");
  if (!verdict.facts.empty()) {
    out += "<dl class=\"facts\">\n";
    for (const auto& [name, value] : verdict.facts) out += Cat("<div><dt>", name, "</dt><dd>", value, "</dd></div>\n");
    out += "</dl>\n";
  }
  return out + "</section>\n";
}

}  // namespace

std::string PageHtml(const Page& page) {
  std::string out = Cat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-",
      StyleHash(),
      "'; base-uri 'none'; form-action 'none'\">\n"
      "<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"robots\" content=\"noindex\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
      page.title, "</title>\n<style>", StyleSheet(), "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the verdict</a>\n");
  out += Cat("<header>\n<h1>", page.title, "</h1>\n", page.lead, "</header>\n");
  out += "<nav aria-label=\"Contents\"><ul>";
  for (const Section& section : page.sections) out += Cat("<li><a href=\"#", section.id, "\">", section.heading, "</a></li>");
  out += "</ul></nav>\n<main id=\"main\" tabindex=\"-1\">\n";
  out += VerdictHtml(page.verdict);
  for (const Section& section : page.sections) {
    out += Cat("<section id=\"", section.id, "\" aria-labelledby=\"", section.id, "-h\">\n<h2 id=\"", section.id, "-h\">", section.heading, "</h2>\n", section.html, "</section>\n");
  }
  out += Cat("</main>\n<footer>", page.footer, "</footer>\n</body>\n</html>\n");
  return out;
}

}  // namespace countermark::page
