// The epoch record: its one canonical form against bytes written by hand, and what its reader refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "countermark/keys/epoch.h"
#include "keys/canonical_json.h"
#include "tests/keys/test_files.h"

namespace countermark {
namespace {

using ::testing::HasSubstr;

constexpr char kCanonical[] =
    "{\"channels\":[{\"name\":\"base\",\"weight\":32768},{\"name\":\"account\",\"weight\":32768}],\"delta\":2,\"epoch\":\"2026-11\","
    "\"first_use\":\"2026-11-01T00:00:00Z\",\"format\":1,\"green\":64,\"last_use\":\"2026-11-30T23:59:59Z\",\"layers\":30,"
    "\"low_entropy\":\"floor\",\"scheme\":\"gumbel\",\"tenant\":\"acme\","
    "\"tokenizer_sha256\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"vocabulary\":49152,\"window\":2}";

TEST(EpochRecord, CanonicalBytes) { EXPECT_EQ(TestRecord().CanonicalJson(), kCanonical); }

TEST(EpochRecord, EscapesAsRfc8785Says) {
  EpochRecord record = TestRecord("a\"b\\c/\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_THAT(record.CanonicalJson(), HasSubstr("\"epoch\":\"a\\\"b\\\\c/\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""));
  std::string out;
  keys_internal::AppendJsonString(&out, std::string_view("\x01\x1F\b\t\n\f\r\x7F\0", 9));
  EXPECT_EQ(out, "\"\\u0001\\u001f\\b\\t\\n\\f\\r\x7F\\u0000\"");
}

TEST(EpochRecord, ThousandthsAreWrittenAsEcmaScriptDoes) {
  const std::vector<std::pair<int64_t, std::string>> cases = {{2000, "2"}, {1500, "1.5"}, {1, "0.001"}, {50, "0.05"}, {16000, "16"}, {1234, "1.234"}, {10100, "10.1"}};
  for (const auto& [value, text] : cases) EXPECT_EQ(keys_internal::ThousandthsToJson(value), text);
  // The whole allowed range against an independent shortest-form writer (nlohmann's Grisu2; it writes 2.0 where ECMAScript writes 2).
  for (int64_t t = 1; t <= 16000; ++t) {
    std::string expected = nlohmann::json(static_cast<double>(t) / 1000).dump();
    if (expected.ends_with(".0")) expected.resize(expected.size() - 2);
    ASSERT_EQ(keys_internal::ThousandthsToJson(t), expected);
  }
}

TEST(EpochRecord, ParsesBackWhatItWrites) {
  EpochRecord record = TestRecord("Übermonat 2026-11");
  record.mark = {Scheme::kPartition, 4, 255, 0.125, 32};
  record.channels = {{"base", 26214}, {"account", 26214}, {"request", 13108}};
  record.low_entropy = LowEntropyPolicy::kDeny;
  const std::string json = record.CanonicalJson();
  const absl::StatusOr<EpochRecord> parsed = EpochRecord::Parse(json);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->CanonicalJson(), json);
  EXPECT_EQ(parsed->ChannelIndex("request"), 2);
  EXPECT_EQ(parsed->ChannelIndex("nobody"), -1);
}

TEST(EpochRecord, ParsesOtherSpellingsOfTheSameRecord) {
  const nlohmann::json json = nlohmann::json::parse(kCanonical);
  const absl::StatusOr<EpochRecord> parsed = EpochRecord::Parse(json.dump(4));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->CanonicalJson(), kCanonical);
}

// Each case: a change to the good record, and the member its error must name.
TEST(EpochRecord, RefusesAndNamesTheMember) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"format": 2})", "format"}, {R"({"format": "1"})", "format"}, {R"({"format": 1.0})", "format"}, {R"({"format": null})", "format"},
      {R"({"tenant": ""})", "tenant"}, {R"({"tenant": 7})", "tenant"}, {R"({"epoch": "a\u0007"})", "epoch"}, {R"({"epoch": ["x"]})", "epoch"},
      {R"({"scheme": "Gumbel"})", "scheme"}, {R"({"scheme": 3})", "scheme"}, {R"({"window": 0})", "window"}, {R"({"window": 5})", "window"},
      {R"({"window": -1})", "window"}, {R"({"window": 2.5})", "window"}, {R"({"window": 4294967298})", "window"}, {R"({"green": 0})", "green"},
      {R"({"green": 256})", "green"}, {R"({"layers": 0})", "layers"}, {R"({"layers": 33})", "layers"}, {R"({"delta": 0})", "delta"},
      {R"({"delta": -1})", "delta"}, {R"({"delta": 16.001})", "delta"}, {R"({"delta": 1.0001})", "delta"}, {R"({"delta": "2"})", "delta"},
      {R"({"delta": 1e300})", "delta"}, {R"({"vocabulary": 0})", "vocabulary"}, {R"({"vocabulary": 16777216})", "vocabulary"},
      {R"({"tokenizer_sha256": ""})", "tokenizer_sha256"}, {R"({"tokenizer_sha256": "AA"})", "tokenizer_sha256"},
      {R"({"low_entropy": "none"})", "low_entropy"}, {R"({"low_entropy": true})", "low_entropy"}, {R"({"first_use": "2026-11-01"})", "first_use"},
      {R"({"first_use": "2026-02-29T00:00:00Z"})", "first_use"}, {R"({"first_use": "2026-13-01T00:00:00Z"})", "first_use"},
      {R"({"last_use": "2026-11-01T24:00:00Z"})", "last_use"}, {R"({"last_use": "2026-10-01T00:00:00Z"})", "last_use"},
      {R"({"channels": []})", "channels"}, {R"({"channels": {}})", "channels"}, {R"({"channels": [1]})", "channels"},
      {R"({"channels": [{"name":"base","weight":65535}]})", "channels"}, {R"({"channels": [{"name":"base","weight":65536,"x":1}]})", "channels"},
      {R"({"channels": [{"name":"account","weight":65536}]})", "channels"},
      {R"({"channels": [{"name":"base","weight":32768},{"name":"base","weight":32768}]})", "channels"},
      {R"({"channels": [{"name":"base","weight":65536},{"name":"account","weight":0}]})", "channels"},
      {R"({"channels": [{"name":"base","weight":32768},{"name":"other","weight":32768}]})", "channels"}, {R"({"extra": 1})", "extra"}};
  for (const auto& [change, member] : cases) {
    nlohmann::json json = nlohmann::json::parse(kCanonical);
    json.update(nlohmann::json::parse(change));
    const absl::StatusOr<EpochRecord> parsed = EpochRecord::Parse(json.dump());
    ASSERT_FALSE(parsed.ok()) << change;
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << change;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("\"" + member + "\"")) << change;
  }
}

TEST(EpochRecord, RefusesEachMissingMember) {
  const nlohmann::json good = nlohmann::json::parse(kCanonical);
  ASSERT_EQ(good.size(), 14u);
  for (const auto& item : good.items()) {
    nlohmann::json json = good;
    json.erase(item.key());
    const absl::StatusOr<EpochRecord> parsed = EpochRecord::Parse(json.dump());
    ASSERT_FALSE(parsed.ok()) << item.key();
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("\"" + item.key() + "\" is missing"));
  }
}

TEST(EpochRecord, RefusesWhatTwoReadersWouldReadDifferently) {
  std::string twice = kCanonical;
  twice.insert(1, "\"window\":3,");
  EXPECT_THAT(std::string(EpochRecord::Parse(twice).status().message()), HasSubstr("\"window\" stands twice"));
  const std::string good = kCanonical;
  for (const std::string& text : {std::string(), std::string("null"), std::string("[]"), good + "x", good.substr(0, good.size() - 1),
                                  std::string("\xFF"), std::string(100000, '['), "{\"epoch\":\"\xC0\x80\"}" + good}) {
    EXPECT_FALSE(EpochRecord::Parse(text).ok());
  }
}

TEST(Utf8, AcceptsAndRefusesAtTheEdges) {
  for (const std::string_view good : {"", "a", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(keys_internal::IsUtf8(good));
  }
  for (const std::string_view bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC2", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE2\x82", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "a\xFF"}) {
    EXPECT_FALSE(keys_internal::IsUtf8(bad));
  }
}

TEST(Labels, NoControlCharacterAndNoOddBytes) {
  for (const std::string& good : {std::string("a"), std::string("org-7f3a/user-α"), std::string("a b"), std::string("组织-1"), std::string("\xF0\x9F\x8F\xA2"), std::string(1024, 'x')}) {
    EXPECT_TRUE(ValidateLabel("label", good).ok()) << good;
  }
  for (const std::string& bad : {std::string(), std::string("a\nb"), std::string("\x7F"), std::string("\xC2\x9B"), std::string("\xC2"), std::string(1, '\0'),
                                 std::string(1025, 'x'), std::string("\xFF"),
                                 // What shows as another label: blanks at the ends, a no-break space, zero width, a byte-order mark, text turned around, a tag.
                                 std::string("org-1 "), std::string(" org-1"), std::string("org-1\xC2\xA0"), std::string("or\u200Bg"), std::string("\uFEFForg-1"),
                                 std::string("\u202Eorg"), std::string("org\u00AD-1"), std::string("org\U000E0041")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ValidateLabel("label", bad))) << bad;
  }
}

TEST(ParseChannels, DecimalsBecomeSixteenBitShares) {
  const auto weights = [](std::string_view text, std::string_view names = "") {
    std::vector<uint32_t> out;
    const absl::StatusOr<std::vector<ChannelSpec>> channels = ParseChannels(text, names);
    if (channels.ok()) {
      for (const ChannelSpec& channel : *channels) out.push_back(channel.weight);
    }
    return out;
  };
  EXPECT_THAT(weights("1"), ::testing::ElementsAre(65536));
  EXPECT_THAT(weights("0.5,0.5"), ::testing::ElementsAre(32768, 32768));
  EXPECT_THAT(weights("0.4,0.4,0.2"), ::testing::ElementsAre(26214, 26214, 13108));
  EXPECT_THAT(weights("0.333,0.333,0.333"), ::testing::ElementsAre(21823, 21823, 21890));
  const absl::StatusOr<std::vector<ChannelSpec>> named = ParseChannels("0.7,0.3", "base,request");
  ASSERT_TRUE(named.ok());
  EXPECT_EQ((*named)[1].name, "request");
  for (const char* bad : {"", "0.5", "0.5,", "0.5,0.6", "1,0", "-0.5,1.5", "nan", "inf", "0x1", "1e0", "0.5;0.5", "0.25,0.25,0.25,0.25", "1.0.0", "0.99999999,0.00000001"}) {
    EXPECT_THAT(weights(bad), ::testing::IsEmpty()) << bad;
  }
  EXPECT_THAT(weights("0.5,0.5", "base"), ::testing::IsEmpty());
}

}  // namespace
}  // namespace countermark
