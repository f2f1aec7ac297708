// What stands between an input and a page: inert text, rounded numbers, bounded size; and CSV that no spreadsheet runs.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>

#include "src/evidence/csv.h"
#include "src/evidence/page.h"
#include "src/evidence/page_chart.h"
#include "src/evidence/page_heat.h"
#include "src/evidence/page_quantile.h"
#include "src/evidence/page_text.h"
#include "src/evidence/report_page.h"
#include "src/evidence/report_sections.h"

namespace countermark::page {
namespace {

// Whether `html` holds no byte that could turn, hide or end anything: no control but line feeds and tabs, no < but of our own tags, only well-formed UTF-8.
void ExpectInert(const std::string& html, std::initializer_list<std::string_view> tags) {
  for (size_t at = 0; at < html.size();) {
    const Character character = FirstCharacter(std::string_view(html).substr(at));
    ASSERT_TRUE(character.well_formed) << at;
    ASSERT_TRUE(character.visible || html[at] == '\n' || html[at] == '\t') << at << " U+" << std::hex << character.code;
    if (html[at] == '<') {
      bool ours = false;
      for (const std::string_view tag : tags) ours = ours || html.compare(at, tag.size(), tag) == 0;
      ASSERT_TRUE(ours) << html.substr(at, 60);
    }
    at += character.bytes;
  }
}

TEST(PageText, NamesWhatWouldTurnHideOrEnd) {
  EXPECT_EQ(Text("<script>&\"'"), "&lt;script&gt;&amp;&quot;&#39;");
  EXPECT_EQ(Text("a\xE2\x80\xAE" "b"), "a⟨U+202E⟩b");
  EXPECT_EQ(Text(std::string_view("a\0b\x1b[2J\n", 8)), "a⟨U+0000⟩b⟨U+001B⟩[2J⟨U+000A⟩");
  EXPECT_EQ(Text("\x80\xC0\xAF\xED\xA0\x80\xF4\x90\x80\x80\xC3"), "⟨80⟩⟨C0⟩⟨AF⟩⟨ED⟩⟨A0⟩⟨80⟩⟨F4⟩⟨90⟩⟨80⟩⟨80⟩⟨C3⟩");
  EXPECT_EQ(Text("\xC2\x85\xE2\x80\x8B\xEF\xBB\xBF\xEF\xB8\x8F\xF3\xA0\x81\x81\xEF\xBF\xBF\xC2\xAD"), "⟨U+0085⟩⟨U+200B⟩⟨U+FEFF⟩⟨U+FE0F⟩⟨U+E0041⟩⟨U+FFFF⟩⟨U+00AD⟩");
  EXPECT_EQ(Text("grüße 你好 مرحبا 😀"), "grüße 你好 مرحبا 😀");
  EXPECT_EQ(Text("abcdef", 3), "abc… (6 bytes)");
  std::string shown;
  AppendShown(std::string_view("a\n\t\0<\x80", 6), &shown);
  EXPECT_EQ(shown, "a\n\t<b class=\"x\">U+0000</b>&lt;<b class=\"x\">80</b>");
}

TEST(PageText, AnyBytesAreInert) {
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(round % 97, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % (round % 2 ? 256 : 64));
    ExpectInert(Text(bytes), {});
    std::string shown;
    AppendShown(bytes, &shown);
    ExpectInert(shown, {"<b class=\"x\">", "</b>"});
  }
}

TEST(PageText, NumbersAreNeverRarerThanTheyAre) {
  EXPECT_EQ(Power(-32.41, true), "3.9e−33");
  EXPECT_EQ(Power(-6), "10<sup>−6</sup>");
  EXPECT_EQ(Power(0), "1");
  EXPECT_EQ(Power(-1.5), "0.032");
  EXPECT_EQ(Power(-25979.3, true), "5.1e−25980");   // 10^-25979.3 = 5.012e-25980, rounded up
  EXPECT_EQ(OneIn(-6), "one in a million");
  EXPECT_EQ(OneIn(-6.99), "one in a million");
  EXPECT_EQ(OneIn(-57.05), "one in 10<sup>57</sup>");
  EXPECT_EQ(Fixed(-0.001, 2), "0.00");
  EXPECT_EQ(Fixed(-12.345, 1), "−12.3");
  EXPECT_EQ(Thousands(1234567), "1,234,567");
  EXPECT_EQ(Percent(0.133333), "13.33 %");
  EXPECT_EQ(Percent(1), "100 %");
  for (double log10_p = -2.6; log10_p > -60; log10_p -= 0.0137) {   // the mantissa that is shown is not below the value
    const std::string shown = Power(log10_p, true);
    const size_t e = shown.find('e');
    const double mantissa = e == 0 ? 1 : std::stod(shown.substr(0, shown[0] == '1' && shown[1] == 'e' ? 1 : e));
    const double exponent = -std::stod(shown.substr(e + 1 + std::string("−").size()));
    EXPECT_GE(std::log10(mantissa) + exponent, log10_p - 1e-9) << shown;
    EXPECT_LE(std::log10(mantissa) + exponent, log10_p + 0.05) << shown;
  }
}

TEST(Quantiles, OrderStatisticsAreBeta) {
  // scipy.stats.beta.ppf(q, i, n + 1 - i)
  EXPECT_NEAR(UniformOrderQuantile(1, 1000, 0.005), 5.01252918e-06, 2e-9);
  EXPECT_NEAR(UniformOrderQuantile(1, 1000, 0.995), 5.28430527e-03, 1e-8);
  EXPECT_NEAR(UniformOrderQuantile(500, 1000, 0.5), 0.499500167, 1e-8);
  EXPECT_NEAR(UniformOrderQuantile(1000, 1000, 0.005), 0.99471569, 1e-7);
  EXPECT_EQ(RankOf(-10, std::vector<double>{-1, -2, -10, -11}), 3u);
  EXPECT_EQ(RankOf(-12, std::vector<double>{-1, -2, -10, -11}), 1u);
}

TEST(Chart, TicksAreRoundAndFew) {
  EXPECT_EQ(Ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(Ticks(0, 0, 5).size(), 1u);
  for (const double high : {1e-9, 0.3, 7.0, 12345.0, 3e15}) {
    EXPECT_GE(Ticks(0, high, 6).size(), 2u);
    EXPECT_LE(Ticks(0, high, 6).size(), 8u);
  }
  EXPECT_EQ(TickText(20000), "20k");
  EXPECT_EQ(TickText(-1.5), "−1.5");
}

Heat SampleHeat(std::string_view text) {
  Heat heat{.id = "h", .text = text, .tokens = {}, .lanes = {{"base", {0.5, 0.25}}}, .regions = {}};
  for (uint64_t at = 0; at < text.size(); at += 3) heat.tokens.push_back({at, std::min<uint64_t>(at + 3, text.size()), static_cast<int>(at % 2) - 1 ? 0 : -1, static_cast<int>(at % 5)});
  return heat;
}

TEST(HeatMap, HostileTextOfTenMegabytesIsBoundedAndInert) {
  std::mt19937_64 random(4);
  std::string text(10'000'000, '\0');
  for (size_t i = 0; i + 8 <= text.size(); i += 8) {
    const uint64_t bits = random();
    std::copy_n(reinterpret_cast<const char*>(&bits), 8, text.begin() + static_cast<std::ptrdiff_t>(i));
  }
  Heat heat = SampleHeat(text);
  for (uint64_t at = 5; at + 900'000 < text.size(); at += 1'000'003) heat.regions.push_back({at, at + 800'001, "r"});
  for (const size_t budget : {50'000u, 400'000u}) {
    const std::string html = HeatHtml(heat, budget);
    EXPECT_LT(html.size(), budget + 200'000);
    EXPECT_NE(html.find("bytes are not shown"), std::string::npos);
    ExpectInert(html, {"<svg", "</svg", "<title", "</title", "<desc", "</desc", "<rect", "<div", "</div", "<i ", "</i>", "<b ", "</b>", "<mark>", "</mark>", "<span", "</span", "<p ", "</p", "<table", "</table", "<caption", "</caption", "<t",
                       "</t"});
  }
}

TEST(HeatMap, ShowsEveryByteOnceAndOutlinesRegions) {
  const std::string text = "grüße, 你好! one two three four five six seven";
  Heat heat = SampleHeat(text);
  heat.regions = {{5, 20, "r"}, {31, 36, "s"}};
  const std::string html = HeatHtml(heat, 1 << 20);
  std::string shown;
  const size_t begin = html.find("<div class=\"heat\""), end = html.find("</div>", begin);
  int marks = 0;
  for (size_t at = html.find('>', begin) + 1; at < end; ++at) {
    if (html[at] != '<') {
      shown += html[at];
      continue;
    }
    marks += html.compare(at, 6, "<mark>") == 0;
    at = html.find('>', at);
  }
  EXPECT_EQ(shown, text);
  EXPECT_EQ(marks, 2);
}

TEST(Csv, NoCellIsAFormulaAndEveryRowIsOne) {
  std::string out;
  CsvRow row;
  row.Text("=1+1").Text("-2").Text("@x").Text("+y").Text("  =z").Text("'q").Text("\tt").Text("a,\"b\"\r\n").Text("plain").Number(-12.5).Number(uint64_t{7}).Empty().Text(std::string_view("n\0\x80", 3)).End(&out);
  EXPECT_EQ(out, "'=1+1,'-2,'@x,'+y,'  =z,''q,'\tt,\"a,\"\"b\"\"\r\n\",plain,-12.5,7,,n\xEF\xBF\xBD\xEF\xBF\xBD\r\n");
  // Read with another separator, or where a line end is taken for a row's whatever the quotes say.
  out.clear();
  row.Text("a;=1+1").Text("b\t@x").Text("c|-2").Text("d\r\n+3").Text("e; ＝4").Text("f;g=h").Text("i,=j").Text("k;").Text("\";=cmd\"").End(&out);
  EXPECT_EQ(out, "a;'=1+1,b\t'@x,c|'-2,\"d\r\n'+3\",e;' ＝4,f;g=h,\"i,=j\",k;,\"\"\";'=cmd\"\"\"\r\n");
  out.clear();
  row.Number(static_cast<unsigned __int128>(1) << 100).Number(NAN).Number(-0.0).End(&out);
  EXPECT_EQ(out, "1267650600228229401496703205376,,0\r\n");
}

Report OneMarkedRecord(uint64_t records) {
  Report report;
  report.mark.scheme = Scheme::kPartition;
  report.readings = {{"raw", ""}};
  report.ledger.records = records;
  report.tests.resize(2);
  for (ReportTest& test : report.tests) {
    test.name = "base";
    test.log10_p = test.log10_p_adjusted = -9;
  }
  report.tests[1].record = 1;
  return report;
}

// However small p, a single record of an unknown number is not said to reach alpha, neither on the page nor in a row.
TEST(ReportCsv, NothingIsClaimedOfASingleRecordOfAnUnknownNumber) {
  for (const uint64_t records : {0, 5}) {
    const Report report = OneMarkedRecord(records);
    const std::string csv = ReportCsv(report), html = RecordsSection(report).html;
    EXPECT_NE(csv.find(",-9,yes\r\n"), std::string::npos) << csv;
    EXPECT_EQ(csv.find(",-9,uncorrected\r\n") != std::string::npos, records == 0) << csv;
    EXPECT_EQ(html.find("uncorrected") != std::string::npos, records == 0) << html;
  }
}

// An account is named where there is a verdict, and nowhere else.
TEST(AccountsSection, AnInconclusiveRunNamesNobody) {
  Report report = OneMarkedRecord(5);
  report.tests[0].kind = TestKind::kAccount;
  report.ledger.candidates = 1;
  report.verdict = Verdict::kEvidence;
  ReportFigures figures;
  EXPECT_NE(AccountsSection(report, figures).html.find("class=\"tag\""), std::string::npos);
  figures.complete = false;
  EXPECT_EQ(AccountsSection(report, figures).html.find("class=\"tag\""), std::string::npos);
  EXPECT_NE(AccountsSection(report, figures).html.find("no account is named"), std::string::npos);
  figures.complete = true;
  report.verdict = Verdict::kInconclusive;
  EXPECT_EQ(AccountsSection(report, figures).html.find("class=\"tag\""), std::string::npos);
}

// What a reader may paste into a shell holds names as names.
TEST(VerifySection, ANameWithAQuoteIsOneWord) {
  Report report = OneMarkedRecord(1);
  report.inputs = {{"a' ; touch b ; '", "", 0, 0, 0}};
  ReportFigures figures;
  figures.signed_report = "r.json";
  const std::string html = VerifySection(report, figures).html;
  EXPECT_NE(html.find("--input 'a&#39;\\&#39;&#39; ; touch b ; &#39;\\&#39;&#39;'"), std::string::npos) << html;
}

TEST(PageHtml, NoStyleAttributeNoScriptNoAddress) {
  Page page{.title = "t", .lead = "", .verdict = {}, .sections = {{"a", "A", "<p>x</p>"}}, .footer = ""};
  const std::string html = PageHtml(page);
  EXPECT_EQ(html.find("style="), std::string::npos);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("://"), std::string::npos);
  EXPECT_EQ(html.find("url("), std::string::npos);
  EXPECT_NE(html.find("default-src 'none'; style-src 'sha256-"), std::string::npos);
}

}  // namespace
}  // namespace countermark::page
