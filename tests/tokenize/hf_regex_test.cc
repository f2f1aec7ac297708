// The small matcher against ICU's regular expressions, on the expressions of known tokenizers and on others; Oniguruma's meanings.
#include <gmock/gmock.h>

#include "src/tokenize/hf/regex.h"
#include "tests/tokenize/tokenize_testing.h"

namespace countermark::hf {
namespace {

using ::testing::HasSubstr;

constexpr const char* kOfTokenizers[] = {
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",                                                                // GPT-2
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",                       // Llama 3
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",                            // Qwen 2
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",                // Qwen 3.5
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",  // o200k
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",      // DeepSeek V3
    R"(\p{N}{1,3})", R"([一-龥぀-ゟ゠-ヿ]+)", R"([0-9][0-9][0-9])", R"(\s?\p{L}+)", R"( {2,})"};

// Alternatives that overlap, lazy and possessive repeats, groups, empty matches.
constexpr const char* kOthers[] = {R"(a*?b|a+)", R"([ab]{2,3}?|\s)", R"((?:ab|a)(?:bc|c)?)", R"((?:a|b)+?c|.)", R"(a?+a|\w{1,2}+)", R"(x*)", R"((?:\d{1,3})+(?=[a-z])|\d)", R"([^a-m]+|[a-m]{1,4}(?!\d))",
                                   R"((?:(?:a|bc)*d|\s+?)n)", R"(\p{Lu}\p{Ll}+|\p{^L}+?)", R"((?i)k|[s-t]+)", R"((?:a{2}){2}|a)"};

std::vector<std::string> Texts() {
  std::vector<std::string> texts = RandomTexts(31, 1200, 50);
  std::mt19937 random(32);
  for (int i = 0; i < 1500; ++i) {
    std::string text;
    for (uint32_t k = random() % 40; k > 0; --k) text += "aabbccdx  \n\r0159.'sTK"[random() % 21];
    texts.push_back(std::move(text));
  }
  texts.insert(texts.end(), {"", "it's we'LL I'ſ I\u2019m", "\u0085x\u00a0\u3000y", "²³½ x", "\xF0\x9E\xBA\xB0\xF0\x90\xB5\x8A"});
  return texts;
}

void ExpectSame(const char* pattern, const std::vector<std::string>& texts) {
  const auto fast = Regex::Compile(pattern);
  const auto icu = Regex::Compile(pattern, Regex::kIcu);
  ASSERT_TRUE(fast.ok()) << fast.status();
  ASSERT_TRUE(icu.ok()) << icu.status();
  EXPECT_EQ((*fast)->engine(), Regex::kFastest) << pattern;
  std::vector<Match> found, wanted;
  for (const std::string& text : texts) {
    ASSERT_TRUE((*fast)->FindAll(text, &found).ok());
    ASSERT_TRUE((*icu)->FindAll(text, &wanted).ok());
    ASSERT_EQ(found, wanted) << pattern << " in " << Shown(text);
  }
}

TEST(HfRegex, MatcherFindsWhatIcuFinds) {
  const std::vector<std::string> texts = Texts();
  for (const char* pattern : kOfTokenizers) ExpectSame(pattern, texts);
  for (const char* pattern : kOthers) ExpectSame(pattern, texts);
}

std::vector<std::string> Found(const char* pattern, const std::string& text, Regex::Engine engine = Regex::kFastest) {
  const auto regex = Regex::Compile(pattern, engine);
  EXPECT_TRUE(regex.ok()) << regex.status();
  std::vector<Match> matches;
  std::vector<std::string> found;
  if (!regex.ok() || !(*regex)->FindAll(text, &matches).ok()) return found;
  for (const Match& match : matches) found.push_back(text.substr(match.begin, match.end - match.begin));
  return found;
}

using Strings = std::vector<std::string>;

TEST(HfRegex, OnigurumasMeanings) {
  for (const Regex::Engine engine : {Regex::kFastest, Regex::kIcu}) {
    EXPECT_EQ(Found(R"(\w)", "²", engine), Strings({"²"})) << "a bare \\w takes it by a table of Latin-1";
    EXPECT_EQ(Found(R"([\w])", "²", engine), Strings({})) << "in brackets it goes by the property";
    EXPECT_EQ(Found(R"(a{2,3}+)", "aaaaa", engine), Strings({"aaaaa"})) << "a plus after braces repeats";
    EXPECT_EQ(Found(R"(a{,2})", "aaa", engine), Strings({"aa", "a"}));
    EXPECT_EQ(Found(R"(a{2}?)", "aaa", engine), Strings({"aa", ""})) << "a question mark after {n} makes it optional";
    EXPECT_EQ(Found(R"([[:punct:]]+)", "a+=.b", engine), Strings({"+=."}));
    EXPECT_EQ(Found(R"(\p{Punct}+)", "a+=.b", engine), Strings({"."}));
    EXPECT_EQ(Found(R"([a-z&&[^aeiou]]+)", "hello", engine), Strings({"h", "ll"}));
    EXPECT_EQ(Found(R"((?i:'s))", "'ſ", engine), Strings({"'ſ"})) << "long s folds to s";
    EXPECT_EQ(Found("a(?i)b|c", "aC AB ac", engine), Strings({"aC", "ac"})) << "an option takes the rest of the group, its alternatives too";
    EXPECT_EQ(Found(R"(\h+)", "xfF9g", engine), Strings({"fF9"}));
    EXPECT_EQ(Found(".", "\n\r", engine), Strings({"\r"}));
    EXPECT_EQ(Found("{,}", "{,}", engine), Strings({"{,}"}));
  }
  EXPECT_EQ(Found("^.", "a\nb\n", Regex::kIcu), Strings({"a", "b"})) << "^ and $ are of lines";
  EXPECT_EQ(Found(".$", "a\nb\n", Regex::kIcu), Strings({"a", "b"}));
  EXPECT_EQ(Found(R"(.\Z)", "a\nb\n", Regex::kIcu), Strings({"b"}));
  EXPECT_EQ(Found(R"(\bx)", "x xx", Regex::kIcu), Strings({"x", "x"}));
}

TEST(HfRegex, WhatIsNotSupportedIsNamed) {
  const auto message = [](const char* pattern) { return std::string(Regex::Compile(pattern).status().message()); };
  EXPECT_THAT(message(R"((a)\1)"), HasSubstr("byte 5: \\1 is not supported"));
  EXPECT_THAT(message(R"(\X)"), HasSubstr("\\X is not supported"));
  EXPECT_THAT(message(R"(a(?~b))"), HasSubstr("the group (?~ is not supported"));
  EXPECT_THAT(message(R"(\p{Blank_Verse})"), HasSubstr("\\p{Blank_Verse}"));
  EXPECT_THAT(message(R"((?i:straße))"), HasSubstr("without regard to case"));
  EXPECT_THAT(message(R"((?i:off))"), HasSubstr("without regard to case"));
  EXPECT_THAT(message("[a"), HasSubstr("a '[' without its ']'"));
  EXPECT_THAT(message("(a"), HasSubstr("a group without its ')'"));
  EXPECT_THAT(message("a)"), HasSubstr("an unmatched ')'"));
  EXPECT_THAT(message("*a"), HasSubstr("a repeat of nothing"));
  EXPECT_FALSE(Regex::Compile("(?<=a+)b").ok()) << "ICU looks behind over a bounded length alone";
}

// Expressions whose backtracking has no end are an error, not a hang.
TEST(HfRegex, GivesUp) {
  for (const Regex::Engine engine : {Regex::kFastest, Regex::kIcu}) {
    const auto regex = Regex::Compile("(?:a|aa)+b", engine);
    ASSERT_TRUE(regex.ok());
    std::vector<Match> matches;
    EXPECT_EQ((*regex)->FindAll(std::string(100, 'a'), &matches).code(), absl::StatusCode::kResourceExhausted);
  }
}

TEST(HfRegex, LongTextsAndDeepNesting) {
  EXPECT_EQ(Found(R"(\s+(?!\S)|\s+)", std::string(300000, ' ') + "a").size(), 2u);
  EXPECT_EQ(Found(R"((?:a|b)+)", std::string(100000, 'a')).size(), 1u);
  EXPECT_FALSE(Regex::Compile(std::string(3000, '(') + std::string(3000, ')')).ok());
}

}  // namespace
}  // namespace countermark::hf
