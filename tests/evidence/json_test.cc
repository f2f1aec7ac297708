#include "src/evidence/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>

namespace countermark {
namespace {

using ::testing::HasSubstr;

// RFC 8785, appendix B: the bits of a double, and how it is written.
TEST(CanonicalNumber, SamplesOfRfc8785) {
  const std::pair<uint64_t, const char*> samples[] = {
      {0x0000000000000000, "0"},                       {0x8000000000000000, "0"},
      {0x0000000000000001, "5e-324"},                  {0x8000000000000001, "-5e-324"},
      {0x7fefffffffffffff, "1.7976931348623157e+308"}, {0xffefffffffffffff, "-1.7976931348623157e+308"},
      {0x4340000000000000, "9007199254740992"},        {0xc340000000000000, "-9007199254740992"},
      {0x4430000000000000, "295147905179352830000"},   {0x44b52d02c7e14af5, "9.999999999999997e+22"},
      {0x44b52d02c7e14af6, "1e+23"},                   {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
      {0x444b1ae4d6e2ef4e, "999999999999999700000"},   {0x444b1ae4d6e2ef4f, "999999999999999900000"},
      {0x444b1ae4d6e2ef50, "1e+21"},                   {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
      {0x3eb0c6f7a0b5ed8d, "0.000001"},                {0x41b3de4355555553, "333333333.3333332"},
      {0x41b3de4355555554, "333333333.33333325"},      {0x41b3de4355555555, "333333333.3333333"},
      {0x41b3de4355555556, "333333333.3333334"},       {0x41b3de4355555557, "333333333.33333343"},
      {0xbecbf647612f3696, "-0.0000033333333333333333"}, {0x43143ff3c1cb0959, "1424953923781206.2"}};
  for (const auto& [bits, text] : samples) EXPECT_EQ(CanonicalNumber(std::bit_cast<double>(bits)), text);
}

TEST(CanonicalJson, SortsEscapesAndRepairs) {
  const nlohmann::json value = {{"b", {1, 2.5, "x"}}, {"a", std::string("\x08\t\n\x0c\r\"\\/\x01\x7f\xc3\xa9", 12)}, {"c", nullptr}, {"d", true}};
  EXPECT_EQ(CanonicalJson(value), "{\"a\":\"\\b\\t\\n\\f\\r\\\"\\\\/\\u0001\x7f\xc3\xa9\",\"b\":[1,2.5,\"x\"],\"c\":null,\"d\":true}");
  EXPECT_EQ(CanonicalJson(std::string("a\xff" "b")), "\"a\xef\xbf\xbd" "b\"");
}

TEST(ParseJson, LimitsComeFirst) {
  const JsonLimits limits = {.max_bytes = 1000, .max_depth = 3, .max_values = 10};
  EXPECT_TRUE(ParseJson("[[[1]]]", limits).ok());
  EXPECT_THAT(std::string(ParseJson("[[[[1]]]]", limits).status().message()), HasSubstr("deeper than 3 levels at byte 3"));
  EXPECT_THAT(std::string(ParseJson("[1,2,3,4,5,6,7,8,9,10,11,12]", limits).status().message()), HasSubstr("more than 10 values"));
  EXPECT_THAT(std::string(ParseJson(std::string(1001, ' '), limits).status().message()), HasSubstr("too large"));
  EXPECT_TRUE(ParseJson("[\"[[[[[[{{{{\\\"[[[[[[,,,,,,,,,,,,,,,\"]", limits).ok());  // not within strings
  // A depth that would end a recursive reader.
  EXPECT_FALSE(ParseJson(std::string(5'000'000, '['), {.max_bytes = 1 << 30, .max_depth = 16, .max_values = 1 << 30}).ok());
}

TEST(ParseJson, SaysWhere) {
  const JsonLimits limits = {.max_bytes = 1000, .max_depth = 3, .max_values = 10};
  EXPECT_THAT(std::string(ParseJson("{\"a\":tru}", limits).status().message()), HasSubstr("not JSON at byte 9"));
  EXPECT_THAT(std::string(ParseJson("{\"a\":1", limits).status().message()), HasSubstr("cut off"));
  EXPECT_FALSE(ParseJson("\"\xff\"", limits).ok());
  EXPECT_FALSE(ParseJson("1e999", limits).ok());
}

TEST(ParseJson, ANameOnceAnObject) {
  const JsonLimits limits = {.max_bytes = 1000, .max_depth = 4, .max_values = 20};
  for (const char* text : {R"({"a":1,"a":1})", R"({"a":1,"b":2,"\u0061":3})", R"([{"a":{"b":[],"b":{}}}])", R"({"a":{"a":1},"a":2})"}) {
    EXPECT_THAT(std::string(ParseJson(text, limits).status().message()), HasSubstr("stands twice")) << text;
  }
  for (const char* text : {R"({"a":{"a":1},"b":{"a":1}})", R"([{"a":1},{"a":1}])", R"({"a":1,"A":1})", R"(["a","a"])"}) {
    EXPECT_TRUE(ParseJson(text, limits).ok()) << text;
  }
  const std::string name(500, 'n');
  EXPECT_LT(ParseJson("{\"" + name + "\":1,\"" + name.substr(0, 400) + "\":1,\"" + name + "\":1}", {.max_bytes = 9999, .max_depth = 2, .max_values = 9}).status().message().size(), 150u);
}

TEST(JsonObject, NamesTheFirstFault) {
  const auto fault = [](const char* text) {
    absl::Status status;
    const nlohmann::json value = nlohmann::json::parse(text);
    JsonObject object(value, "ledger", &status);
    uint64_t records = 0;
    double alpha = 0;
    object.Get("records", &records);
    object.Get("alpha", &alpha);
    object.Finish();
    return std::string(status.message());
  };
  EXPECT_EQ(fault(R"({"records":1,"alpha":1})"), "");
  EXPECT_EQ(fault(R"({"records":-1,"alpha":1})"), "ledger.records: an integer from 0 to 2^53 is expected");
  EXPECT_EQ(fault(R"({"records":1.0,"alpha":1})"), "ledger.records: an integer from 0 to 2^53 is expected");
  EXPECT_EQ(fault(R"({"records":9007199254740993,"alpha":1})"), "ledger.records: an integer from 0 to 2^53 is expected");
  EXPECT_EQ(fault(R"({"records":1})"), "ledger.alpha: missing");
  EXPECT_EQ(fault(R"({"records":1,"alpha":"1"})"), "ledger.alpha: a finite number is expected");
  EXPECT_EQ(fault(R"({"records":1,"alpha":1,"beta":2})"), "ledger.beta: unknown member");
  EXPECT_EQ(fault("[]"), "ledger: an object is expected");
}

}  // namespace
}  // namespace countermark
