// Text and numbers for a page: whatever comes from an input is made inert here, and nowhere else.
//
//   page::Text("<b>")              // "&lt;b&gt;"
//   page::Text("a\xE2\x80\xAE" "b")     // "a⟨U+202E⟩b": what would turn, hide or move text is named instead
//   page::Power(-32.41)            // "3.9 × 10<sup>−33</sup>", rounded up
//
// Ill-formed UTF-8, C0, C1, DEL, bidirectional controls, zero-width and invisible characters, variation selectors, tags and noncharacters never
// reach the page as themselves. Line feeds and tabs do in AppendShown, and are named in Text.
#ifndef COUNTERMARK_SRC_EVIDENCE_PAGE_TEXT_H_
#define COUNTERMARK_SRC_EVIDENCE_PAGE_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace countermark::page {

// One character of UTF-8 at the front of `text`, or one byte that begins none.
struct Character {
  uint32_t code = 0;
  size_t bytes = 1;
  bool well_formed = true;  // else `code` is the byte
  bool visible = true;      // may stand on a page as it is
};
Character FirstCharacter(std::string_view text);

// For element content and for attributes in double quotes. Longer than `most` characters: the front, then an ellipsis and how many bytes there are.
std::string Text(std::string_view text, size_t most = 200);

// A passage of a text, to be read: what is not visible stands in a box, <b class="x">U+202E</b>; an ill-formed byte as <b class="x">80</b>.
void AppendShown(std::string_view text, std::string* out);

std::string Thousands(uint64_t value);          // "12,345"
std::string Fixed(double value, int digits);    // with a true minus sign: "−12.34"; no minus zero
std::string Percent(double share);              // 0.13333: "13.33 %"; four digits
// 10^log10_p as a person writes it, rounded up to two digits: "0.031", "4.2 × 10<sup>−33</sup>". `plain`: without markup, "4.2e−33".
std::string Power(double log10_p, bool plain = false);
// 10^log10_p as odds, in words where there are words: "one in a million million", else "one in 10<sup>32</sup>", never rarer than it is.
std::string OneIn(double log10_p);

}  // namespace countermark::page

#endif  // COUNTERMARK_SRC_EVIDENCE_PAGE_TEXT_H_
