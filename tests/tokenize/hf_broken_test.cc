// Files that the reader of tokenizer.json must refuse, naming what and where; and files damaged at random.
#include <gmock/gmock.h>

#include "tests/tokenize/hf_testing.h"

namespace countermark {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

absl::Status Refused(const Json& file) { return hf::HfTokenizer::Parse(file.dump(), "").status(); }

struct Case {
  const char* place;   // where the change is made
  Json value;
  const char* says;    // what the error must say
  absl::StatusCode code = absl::StatusCode::kUnimplemented;
};

TEST(HfBroken, SaysWhatAndWhere) {
  constexpr auto kBroken = absl::StatusCode::kDataLoss;
  const std::vector<Case> cases = {
      {"/version", "2.0", "/version: '2.0' is not known"},
      {"/extra", 1, "unknown member 'extra'"},
      {"/model/dropout", 0.1, "/model/dropout: with dropout"},
      {"/model/beam", true, "/model: unknown member 'beam'"},
      {"/model/type", "Byte2Byte", "/model/type: the model 'Byte2Byte' is not known"},
      {"/model/vocab", Json::array(), "/model/vocab: must be an object", kBroken},
      {"/model/vocab/a", 98, "have the same number 98", kBroken},
      {"/model/vocab/a", -1, "the number of token 'a'", kBroken},
      {"/model/vocab/a", 1e9, "the number of token 'a'", kBroken},
      {"/model/merges", {"a b c"}, "/model/merges/0: must be two texts with one space between", kBroken},
      {"/model/merges", {"a b"}, "/model/merges/0: 'ab' is not in the vocabulary", kBroken},
      {"/model/merges", {{"a"}}, "/model/merges/0: must be two strings", kBroken},
      {"/model/fuse_unk", 1, "/model/fuse_unk: must be true or false", kBroken},
      {"/normalizer", {{"type", "Uppercase"}}, "/normalizer/type: the normalizer 'Uppercase' is not known"},
      {"/normalizer", {{"type", "NFC"}, {"version", 16}}, "/normalizer: unknown member 'version'"},
      {"/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Strip"}, {"strip_left", true}}}}}, "/normalizer/normalizers/1: 'strip_right' is missing", kBroken},
      {"/normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", "a(?"}}}, {"content", ""}}, "/normalizer/pattern: regular expression 'a(?', byte 3", kBroken},
      {"/normalizer", {{"type", "Replace"}, {"pattern", {{"Glob", "a*"}}}, {"content", ""}}, "/normalizer/pattern: 'Regex' is missing", kBroken},
      {"/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA!"}}, "/normalizer/precompiled_charsmap: is no base64", kBroken},
      {"/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "CAAAAAAA"}}, "/normalizer/precompiled_charsmap: the trie", kBroken},
      {"/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "(a)\\1"}}}, {"behavior", "Isolated"}, {"invert", false}}, "\\1 is not supported"},
      {"/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "\\p{Nonsense}"}}}, {"behavior", "Isolated"}, {"invert", false}}, "the property \\p{Nonsense} is not supported"},
      {"/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Torn"}, {"invert", false}}, "/pre_tokenizer/behavior: 'Torn' is not known"},
      {"/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "ab"}}, "/pre_tokenizer/replacement: must be one character", kBroken},
      {"/pre_tokenizer", {{"type", "FixedLength"}, {"length", 0}}, "/pre_tokenizer/length: must be 1 or more", kBroken},
      {"/pre_tokenizer/use_regexp", true, "/pre_tokenizer: unknown member 'use_regexp'"},
      {"/decoder", {{"type", "Fuse"}, {"with", 1}}, "/decoder: unknown member 'with'"},
      {"/post_processor", {{"type", "Magic"}}, "/post_processor/type: the post-processor 'Magic' is not known"},
      {"/post_processor", {{"type", "TemplateProcessing"}, {"single", {{{"Segment", 1}}}}, {"pair", Json::array()}, {"special_tokens", Json::object()}}, "/post_processor/single/0"},
      {"/truncation", {{"max_length", 5}, {"strategy", "Never"}, {"stride", 0}}, "/truncation/strategy: 'Never' is not known"},
      {"/padding", {{"strategy", "Wide"}}, "/padding/strategy"},
      {"/added_tokens", {{{"id", 1}, {"content", "x"}}}, "/added_tokens/0: 'single_word' is missing", kBroken},
  };
  for (const Case& broken : cases) {
    Json file = ByteLevelFile({});
    file[Json::json_pointer(broken.place)] = broken.value;
    const absl::Status status = Refused(file);
    EXPECT_EQ(status.code(), broken.code) << broken.place << " " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(broken.says)) << broken.place;
  }
}

TEST(HfBroken, NotJson) {
  const auto refused = [](std::string_view text) { return hf::HfTokenizer::Parse(text, "").status(); };
  EXPECT_THAT(std::string(refused("{\"a\": 1, \"a\": 2}").message()), HasSubstr("'a' stands twice"));
  EXPECT_THAT(std::string(refused(std::string(100, '[')).message()), HasSubstr("deeper than 64"));
  EXPECT_EQ(refused("{\"a\": \"\xFF\"}").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(refused("[1]").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(refused("").code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(refused("{}").message()), HasSubstr("'model' is missing"));
}

TEST(HfBroken, DamagedFileIsAnErrorOrWorks) {
  Json file = ByteLevelFile({{"t", "h"}, {"th", "e"}});
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFKC"}}, {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+|(?<=a)b"}}}, {"content", " "}}}}};
  file["added_tokens"] = {Added(258, "<s>", true)};
  const std::string whole = file.dump();
  std::mt19937 random(21);
  int refused = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string damaged = whole;
    for (int k = 0; k < 1 + i % 3; ++k) damaged[random() % damaged.size()] = static_cast<char>(i % 2 == 0 ? random() : "{}[]\",:0a"[random() % 9]);
    auto tokenizer = hf::HfTokenizer::Parse(damaged, "");
    if (!tokenizer.ok()) {
      ++refused;
      continue;
    }
    TokenizedText out;
    for (const std::string text : {"the \uFB01ne ab\xFF.", "  <s> \u2581 e\u0301"}) {
      if ((*tokenizer)->Encode(text, &out).ok()) {
        EXPECT_TRUE(SpansTile(text, out));
      }
    }
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace countermark
