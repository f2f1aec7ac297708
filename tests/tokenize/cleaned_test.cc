// The cleaned view: NFKC as Python's unicodedata has it, honest texts as they were, disguised ones as they were before, and offsets back.
#include "countermark/tokenize/cleaned_text.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace countermark {
namespace {

CleanedText Cleaned(std::string_view text) {
  absl::StatusOr<CleanedText> cleaned = CleanText(text);
  EXPECT_TRUE(cleaned.ok()) << cleaned.status();
  return cleaned.ok() ? *std::move(cleaned) : CleanedText();
}
std::string Clean(std::string_view text) { return Cleaned(text).text(); }

const nlohmann::json& Vectors() {
  static const nlohmann::json vectors = nlohmann::json::parse(std::ifstream(COUNTERMARK_TEST_VECTORS "/cleaned.json"));
  return vectors;
}

std::vector<size_t> Boundaries(const std::string& text) {
  std::vector<size_t> at;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) at.push_back(i);
  }
  return at;
}

// Spans of characters are ascending, apart, inside the text, and a character that stands as it was has its own bytes.
void ExpectGoodOffsets(const std::string& text, const CleanedText& cleaned) {
  const std::vector<size_t> at = Boundaries(cleaned.text());
  uint64_t last = 0;
  for (size_t i = 0; i + 1 < at.size(); ++i) {
    const ByteSpan span = cleaned.Original({at[i], at[i + 1]});
    ASSERT_GE(span.end, span.begin);
    ASSERT_LE(span.end, text.size());
    ASSERT_GE(span.begin, i == 0 ? 0 : cleaned.Original({at[i - 1], at[i]}).begin);
    ASSERT_GE(span.end, last);
    last = span.end;
  }
  const ByteSpan all = cleaned.Original({0, cleaned.text().size()});
  ASSERT_LE(all.end, text.size());
  if (!cleaned.changed()) {
    ASSERT_EQ(cleaned.text(), text);
    ASSERT_EQ(all.end, text.size());
  }
}

TEST(CleanText, IsNfkcAsPythonHasIt) {
  size_t different = 0;
  for (const auto& pair : Vectors()["nfkc"]) {
    const std::string text = pair[0];
    const CleanedText cleaned = Cleaned(text);
    EXPECT_EQ(cleaned.text(), pair[1].get<std::string>());
    different += text != cleaned.text();
    ExpectGoodOffsets(text, cleaned);
  }
  EXPECT_GT(different, 2000u);
}

TEST(CleanText, LeavesHonestTextsToNfkc) {
  for (const auto& entry : Vectors()["honest"]) {
    EXPECT_EQ(Clean(entry[1].get<std::string>()), entry[2].get<std::string>()) << entry[0];
  }
  EXPECT_GE(Vectors()["honest"].size(), 30u);
}

TEST(CleanText, IllFormedBytesAreReplacedAsPythonDoes) {
  for (const auto& pair : Vectors()["ill_formed"]) {
    const std::string hex = pair[0];
    std::string bytes;
    for (size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    // The alphabet of these has nothing else that cleaning changes, but a Cyrillic letter that may stand beside a Latin one.
    std::string expected = Clean(pair[1].get<std::string>());
    const CleanedText cleaned = Cleaned(bytes);
    EXPECT_EQ(cleaned.text(), expected) << hex;
    ExpectGoodOffsets(bytes, cleaned);
  }
  // What removal could put together to a character is none: two ill-formed halves around a zero-width space.
  EXPECT_EQ(Clean("\xE2\xE2\x80\x8B\x80\x8B"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(CleanText, UndoesDisguises) {
  const std::pair<const char*, const char*> cases[] = {
      {"plain ascii stays", "plain ascii stays"},
      {"p\u0430yp\u0430l", "paypal"},                                    // Cyrillic а
      {"\u0420\u0430\u0443\u0440al", "Paypal"},                          // Раур + al: more Cyrillic than Latin, and only Latin has an l
      {"p\u03B1yp\u03B1l", "paypal"},                                    // Greek α
      {"\uFF50\uFF41\uFF59", "pay"},                                     // full-width
      {"\U0001D429\U0001D41A\U0001D432", "pay"},                         // mathematical bold
      {"p\u200Ba\u200Cy\u200D\u2060p\uFEFFa\u00ADl", "paypal"},          // zero-width, word joiner, byte order mark, soft hyphen
      {"pa\uFE00y\uFE0Fp\U000E0101al\U000E0041", "paypal"},              // variation selectors and a tag
      {"\u202Epay\u202Cpal\u200F", "paypal"},                            // bidirectional controls
      {"a\u00A0b\u2009c\u3000d\u202Fe\u2003f", "a b c d e f"},           // spaces
      {"\u043F\u0440\u0438\u0432e\u0442", "\u043F\u0440\u0438\u0432\u0435\u0442"},  // привeт with a Latin e
      {"\u0441\u043Ep \u043F\u0440\u0438\u0432\u0435\u0442", "\u0441\u043E\u0440 \u043F\u0440\u0438\u0432\u0435\u0442"},  // соp (Latin p): could be either; Russian stands around
      {"the \u0441\u043Ep came", "the cop came"},                        // the same in an English text
      {"\u0430\u200B\u0301", "\u0430\u0301"},                            // the accent meets its letter again (Cyrillic а with it is no character of its own)
      {"e\u200B\u0301", "\u00E9"},                                       // and composes
      {"p\u0430\u0301y", "p\u00E1y"},                                    // a look-alike composes with its accent
      {"\uFB01ne\u2026", "fine..."},
      {"\u0585ne \uA4D0ad", "one Bad"},                                  // Armenian օ; Lisu ꓐ
      // What stays.
      {"\u0441\u043E\u0440", "\u0441\u043E\u0440"},                      // сор alone: a word of one script
      {"\u0436at", "\u0436at"},                                          // ж looks like no Latin letter, and t like no small Cyrillic one
      {"\u03C1gh", "\u03C1gh"},                                          // a formula
      {"\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645", "\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645"},  // Persian
      {"\u0645\u200D\u062E", "\u0645\u062E"},                            // a joiner between letters that join anyway
      {"\U0001F469\u200D\U0001F680", "\U0001F469\u200D\U0001F680"},
      {"a\u200D\U0001F680", "a\U0001F680"},
      {"1\uFE0F\u20E3 1\uFE0F2", "1\uFE0F\u20E3 12"},
      {"\U0001F3F4\U000E0067\U000E0062\U000E007F", "\U0001F3F4\U000E0067\U000E0062\U000E007F"},
      {"\U0001F3F4\U000E0067\U000E0062", "\U0001F3F4"},                  // tags without an end
      {"\U0001F3F4\U000E007F", "\U0001F3F4"},                            // an end without tags
      {"", ""},
      {"\u200B", ""},
  };
  for (const auto& [text, expected] : cases) {
    const CleanedText cleaned = Cleaned(text);
    EXPECT_EQ(cleaned.text(), expected) << text;
    ExpectGoodOffsets(text, cleaned);
  }
}

TEST(CleanText, OffsetsPointAtTheOriginal) {
  //                         0123 4-6 7 8-10 11
  const std::string text = "x p\u0430\u200By \uFF21\u2026z";
  const CleanedText cleaned = Cleaned(text);
  ASSERT_EQ(cleaned.text(), "x pay A...z");
  const auto original = [&](uint64_t begin, uint64_t end) {
    const ByteSpan span = cleaned.Original({begin, end});
    return text.substr(span.begin, span.end - span.begin);
  };
  EXPECT_EQ(original(0, 1), "x");
  EXPECT_EQ(original(2, 3), "p");
  EXPECT_EQ(original(3, 4), "\u0430");              // what was removed behind it is not of it
  EXPECT_EQ(original(4, 5), "y");
  EXPECT_EQ(original(3, 5), "\u0430\u200By");       // inside, it is
  EXPECT_EQ(original(2, 5), "p\u0430\u200By");
  EXPECT_EQ(original(6, 7), "\uFF21");
  EXPECT_EQ(original(8, 9), "\u2026");              // one of three dots is the whole character
  EXPECT_EQ(original(10, 11), "z");
  EXPECT_EQ(original(0, 11), text);
  EXPECT_EQ(original(4, 4), "");
}

// Every character disguised in its own way, whose place is known: each span is exactly the disguise.
TEST(CleanText, OffsetsOfALongDisguise) {
  std::mt19937_64 random(7);
  const std::string plain = "the quick brown fox jumps over the lazy dog and many other words that have enough letters of their own ";
  for (int round = 0; round < 200; ++round) {
    std::string text, expected;
    std::vector<std::pair<size_t, size_t>> places;
    for (const char c : plain) {
      const size_t begin = text.size();
      switch (random() % 4) {
        case 0: text += c == ' ' ? "\u3000" : std::string("\xEF\xBD") + static_cast<char>(0x80 + (c - 'a' + 1)); break;
        case 1: text += c == 'o' ? "\u043E" : c == 'e' ? "\u0435" : std::string(1, c); break;
        default: text += c;
      }
      places.emplace_back(begin, text.size());
      if (random() % 3 == 0) text += random() % 2 ? "\u200B" : "\u00AD\uFE0F";
      expected += c;
    }
    const CleanedText cleaned = Cleaned(text);
    ASSERT_EQ(cleaned.text(), expected);
    for (size_t i = 0; i < expected.size(); ++i) {
      const ByteSpan span = cleaned.Original({i, i + 1});
      ASSERT_EQ(span.begin, places[i].first);
      ASSERT_EQ(span.end, places[i].second);
    }
  }
}

// Strings of whatever is hard: applying it twice is applying it once, and offsets stay good.
TEST(CleanText, TwiceIsOnce) {
  const std::vector<std::string> alphabet = {
      "a", "e", "o", "p", "x", "H", "l", "\u0430", "\u0435", "\u043E", "\u0440", "\u0436", "\u03BF", "\u03C1", "\u03B2", "\u0585", "\u13AA", "\uA4D0", "\uFF41", "\u1D43", " ", ".", "1", "#",
      "\u0301", "\u0308", "\u0327", "\u0344", "\u0345", "\u05B4", "\u0652", "\u0654", "\u0316", "\u094D", "\u093C", "\u0915", "\u09CD", "\u09B0", "\u0D4D", "\u0645", "\u0627", "\u0653", "\u0622", "\u0675", "\u06CC", "\uFEFB", "\u0640",
      "\u200B", "\u200C", "\u200D", "\u2060", "\u00AD", "\u034F", "\uFE0E", "\uFE0F", "\uFE00", "\U000E0100", "\u202E", "\uFEFF", "\U000E0067", "\U000E007F", "\U0001F3F4", "\U0001F469", "\U0001F3FD", "\u2764", "\u20E3",
      "\u1100", "\u1161", "\u11A8", "\u1160", "\u115F", "\u3164", "\uFFA0", "\uFFA1", "\uAC00", "\u3131", "\u0E01", "\u0E33", "\u17B6", "\u17D2", "\u1025", "\u102E", "\u1039", "\u182E", "\u180B", "\u180E",
      "\u212B", "\u2126", "\u00B5", "\uFB01", "\u00A8", "\u1FC1", "\u01C6", "\u0149", "\u2168", "\u3300", "\uFDFA", "\xFF", "\xE2\x80", "\x80", "\u0130", "\u0131", "\u04CF", "\u0456", "\u0438\u0306", "\u0439",
  };
  std::mt19937_64 random(11);
  const char* rounds = std::getenv("COUNTERMARK_TEST_ROUNDS");  // more, at length
  for (int round = rounds != nullptr ? std::atoi(rounds) : 40000; round > 0; --round) {
    std::string text;
    const size_t kinds = 2 + random() % 12;
    std::vector<std::string> some(kinds);
    for (std::string& one : some) one = alphabet[random() % alphabet.size()];
    for (size_t n = 1 + random() % 24; n > 0; --n) text += some[random() % kinds];
    const CleanedText once = Cleaned(text);
    const CleanedText twice = Cleaned(once.text());
    ASSERT_EQ(twice.text(), once.text()) << text;
    ASSERT_FALSE(twice.changed());
    ExpectGoodOffsets(text, once);
  }
}

// Texts that quadratic work would never end on: 10 MB of combining marks, 3 MB of whatever else is looked at in context.
TEST(CleanText, LongRunsOfAnything) {
  const std::string units[] = {"\u0301\u0316", "\u0344", "a\u0301\u0316", "\u200B", "\u200D\u200C", "\U000E0067", "\u0430a", "\u1161", "\u1100\u1161\u11A8", "\xE2\x80", "\xFF", "\uFDFA", "\u0915\u094D\u200D", "o\u043E\u03BF "};
  for (const std::string& unit : units) {
    std::string text;
    const size_t size_wanted = &unit == units ? 10'000'000 : 3'000'000;
    while (text.size() < size_wanted) text += unit;
    const CleanedText cleaned = Cleaned(text);
    const CleanedText twice = Cleaned(cleaned.text());
    EXPECT_FALSE(twice.changed()) << unit;
    const uint64_t size = cleaned.text().size();
    EXPECT_LE(cleaned.Original({size / 2, size}).end, text.size());
  }
}

TEST(CleanText, ARunOfMarksIsNormalisedUpToTheLimit) {
  const auto of = [](int pairs) {
    std::string text = "e";
    for (int i = 0; i < pairs; ++i) text += "\u0301\u0316";
    return text;
  };
  // Within it, the lower class comes first and the first acute composes.
  EXPECT_EQ(Clean(of(2)), "\u00E9\u0316\u0316\u0301");
  EXPECT_NE(Clean(of(kMostMarks / 2)), of(kMostMarks / 2));
  EXPECT_EQ(Clean(of(kMostMarks / 2 + 1)), of(kMostMarks / 2 + 1));
  EXPECT_EQ(Clean("\uFF41 " + of(1000) + "\uFF42"), "a " + of(1000) + "b");
}

}  // namespace
}  // namespace countermark
