#include "countermark/evidence/dsse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "tests/evidence/sample.h"

namespace countermark {
namespace {

using evidence_test::Seed;
using ::testing::HasSubstr;

constexpr char kType[] = "application/example";

// protocol.md of DSSE, "Test Vectors".
TEST(Dsse, PaeOfTheSpecification) {
  EXPECT_EQ(DssePae("http://example.com/HelloWorld", "hello world"), "DSSEv1 29 http://example.com/HelloWorld 11 hello world");
  EXPECT_EQ(DssePae("", ""), "DSSEv1 0  0 ");
  EXPECT_EQ(DssePae("\xc3\xa9", std::string_view("\0 ", 2)), "DSSEv1 2 \xc3\xa9 2 " + std::string("\0 ", 2));
}

TEST(Dsse, SealsAndOpens) {
  const Ed25519PublicKey key = Ed25519PublicKeyOf(Seed());
  for (const std::string& payload : {std::string(), std::string("x"), std::string(100'000, '\0'), std::string("{\"a\":1}")}) {
    const std::string envelope = SealEnvelope(kType, payload, Seed());
    EXPECT_EQ(envelope.find('\n'), std::string::npos);
    const auto opened = OpenEnvelope(envelope, kType, key);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(*opened, payload);
  }
}

// The whole envelope, each byte in turn set to other values: refused, or (where '+' and '-', '/' and '_' say the same bits) the very payload.
TEST(Dsse, EveryAlteredByteIsRefused) {
  const std::string payload = "{\"verdict\":\"no evidence\",\"\xff\xfe\xfb\":1}";  // with + and / in its Base64
  const Ed25519PublicKey key = Ed25519PublicKeyOf(Seed());
  const std::string envelope = SealEnvelope(kType, payload, Seed());
  int same = 0;
  for (size_t i = 0; i < envelope.size(); ++i) {
    for (const int delta : {1, 2, 4, 6, 8, 16, 32, 64, 112, 128}) {  // 6 and 112 turn + and / into - and _
      std::string altered = envelope;
      altered[i] = static_cast<char>(altered[i] ^ delta);
      const auto opened = OpenEnvelope(altered, kType, key);
      if (!opened.ok()) continue;
      ++same;
      EXPECT_EQ(*opened, payload);
      EXPECT_TRUE((envelope[i] == '+' && altered[i] == '-') || (envelope[i] == '/' && altered[i] == '_')) << i << " " << altered[i];
    }
  }
  EXPECT_LE(same, 8);
}

TEST(Dsse, EveryTruncationAndAdditionIsRefused) {
  const Ed25519PublicKey key = Ed25519PublicKeyOf(Seed());
  const std::string envelope = SealEnvelope(kType, "payload", Seed());
  for (size_t size = 0; size < envelope.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(OpenEnvelope(envelope.substr(0, size), kType, key).status())) << size;
  }
  EXPECT_FALSE(OpenEnvelope(envelope + "x", kType, key).ok());
  EXPECT_FALSE(OpenEnvelope(envelope + envelope, kType, key).ok());
  EXPECT_TRUE(OpenEnvelope(envelope + "\n", kType, key).ok());
}

TEST(Dsse, OtherKeysAndTypes) {
  const std::string envelope = SealEnvelope(kType, "payload", Seed());
  const auto other_key = OpenEnvelope(envelope, kType, Ed25519PublicKeyOf(Seed(1)));
  EXPECT_TRUE(absl::IsPermissionDenied(other_key.status()));
  EXPECT_THAT(std::string(other_key.status().message()), HasSubstr("no signature by the given key"));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenEnvelope(envelope, "application/other", Ed25519PublicKeyOf(Seed())).status()));
  // A signature by another key under this key's name.
  nlohmann::json forged = nlohmann::json::parse(SealEnvelope(kType, "payload", Seed(1)));
  forged["signatures"][0]["keyid"] = Ed25519KeyId(Ed25519PublicKeyOf(Seed()));
  EXPECT_TRUE(absl::IsPermissionDenied(OpenEnvelope(forged.dump(), kType, Ed25519PublicKeyOf(Seed())).status()));
}

TEST(Dsse, SeveralSignersUrlSafeBase64AndUnknownMembers) {
  nlohmann::json envelope = nlohmann::json::parse(SealEnvelope(kType, "\xff\xfe\xfb", Seed()));
  const nlohmann::json second = nlohmann::json::parse(SealEnvelope(kType, "\xff\xfe\xfb", Seed(1)))["signatures"][0];
  envelope["signatures"].insert(envelope["signatures"].begin(), second);
  envelope["signatures"].insert(envelope["signatures"].begin(), 7);
  envelope["extra"] = {{"a", 1}};
  for (nlohmann::json* text : {&envelope["payload"], &envelope["signatures"][2]["sig"]}) {
    std::string safe = text->get<std::string>();
    std::replace(safe.begin(), safe.end(), '+', '-');
    std::replace(safe.begin(), safe.end(), '/', '_');
    *text = safe;
  }
  for (const uint8_t first : {0, 1}) {
    const auto opened = OpenEnvelope(envelope.dump(2), kType, Ed25519PublicKeyOf(Seed(first)));
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(*opened, "\xff\xfe\xfb");
  }
  EXPECT_TRUE(absl::IsPermissionDenied(OpenEnvelope(envelope.dump(), kType, Ed25519PublicKeyOf(Seed(2))).status()));
}

TEST(Dsse, Base64HasOneSpelling) {
  const Ed25519PublicKey key = Ed25519PublicKeyOf(Seed());
  const nlohmann::json good = nlohmann::json::parse(SealEnvelope(kType, "abcd", Seed()));  // YWJjZA==
  ASSERT_EQ(good["payload"], "YWJjZA==");
  for (const char* spelling : {"YWJjZA", "YWJjZB==", "YWJj ZA==", "YWJjZA==\n", "YWJjZA===", "YWJjZA=="}) {
    nlohmann::json altered = good;
    altered["payload"] = spelling;
    EXPECT_EQ(OpenEnvelope(altered.dump(), kType, key).ok(), std::string(spelling) == "YWJjZA==") << spelling;
  }
}

// One reader would take the first, another the last.
TEST(Dsse, AMemberThatStandsTwiceIsRefused) {
  const Ed25519PublicKey key = Ed25519PublicKeyOf(Seed());
  const std::string good = SealEnvelope(kType, "abcd", Seed());
  const std::string last = good.substr(0, good.size() - 1);
  std::string signature = good;
  signature.insert(signature.find("\"sig\""), "\"sig\":\"\",");
  for (const std::string& text : {"{\"payload\":\"\"," + good.substr(1), last + ",\"payloadType\":\"" + kType + "\"}", last + ",\"signatures\":[]}",
                                  last + ",\"\\u0070ayload\":\"YWJjZA==\"}", last + ",\"x\":[{\"a\":1,\"a\":1}]}", signature}) {
    const absl::Status status = OpenEnvelope(text, kType, key).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("stands twice")) << text;
  }
  // The same name in different objects is no repetition.
  EXPECT_TRUE(OpenEnvelope(last + ",\"x\":{\"payload\":1,\"x\":[{\"a\":1},{\"a\":1}]}}", kType, key).ok());
}

TEST(Dsse, HostileEnvelopes) {
  const Ed25519PublicKey key = Ed25519PublicKeyOf(Seed());
  for (const std::string& text :
       {std::string(), std::string("null"), std::string("[]"), std::string("{}"), std::string(3'000'000, '['), std::string(3'000'000, '{'),
        std::string(R"({"payload":1,"payloadType":"a","signatures":[]})"), std::string(R"({"payload":"","payloadType":"a","signatures":{}})"),
        std::string(R"({"payload":"","payloadType":"a","signatures":[null,[],"x",{"keyid":1,"sig":2}]})"),
        "{\"payload\":\"\",\"payloadType\":\"a\",\"signatures\":[" + std::string(10'000, ',') + "]}", std::string(100, '\0')}) {
    EXPECT_FALSE(OpenEnvelope(text, kType, key).ok());
  }
}

}  // namespace
}  // namespace countermark
