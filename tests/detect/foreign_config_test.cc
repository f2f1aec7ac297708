// Hostile and mistaken configurations: every error names member and place, and no value.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "countermark/detect/foreign/format.h"
#include "src/detect/foreign/config.h"

namespace countermark {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string ErrorOf(std::string_view format, std::string_view config) {
  const auto opened = OpenForeignFormat(format, config, "c.json");
  EXPECT_FALSE(opened.ok()) << config;
  return opened.ok() ? "" : std::string(opened.status().message());
}

TEST(ForeignConfig, TakesWhatTheProjectsWrite) {
  // json.dumps(config, indent=2, sort_keys=True) of transformers, with vocab_size.
  EXPECT_TRUE(OpenForeignFormat("hf-kgw", "{\n  \"bias\": 2.0,\n  \"context_width\": 1,\n  \"greenlist_ratio\": 0.25,\n  \"hashing_key\": 15485863,\n  \"seeding_scheme\": \"lefthash\",\n"
                                "  \"vocab_size\": 50257\n}\n", "c").ok());
  EXPECT_TRUE(OpenForeignFormat("hf-synthid", R"({"keys":[1,2,3],"ngram_len":5,"context_history_size":1024,"debug_mode":false,"sampling_table_seed":0,"sampling_table_size":65536,"skip_first_ngram_calls":false})", "c").ok());
  EXPECT_TRUE(OpenForeignFormat("vllm-gumbel", R"({"key":18446744073709551615})", "c").ok());
  EXPECT_TRUE(OpenForeignFormat("vllm-dual", R"({"key":0,"algorithm":"dual_key_gumbel","alpha":0.1,"context_width":4,"deduplicate_contexts":"all","deduplicate_contexts_max_history":null,"prf":"philox"})", "c").ok());
  EXPECT_TRUE(OpenForeignFormat("sglang-gumbel", R"({"key":"0xAb","key_b":null,"context_window":null,"mixing_probability":0.5,"enforce_all":true})", "c").ok());
  EXPECT_TRUE(OpenForeignFormat("textseal", R"({"secret_key":42,"watermark_type":"textseal","ngram":1,"gamma":0.5,"vocab_size":128256})", "c").ok());
}

TEST(ForeignConfig, NamesMemberAndPlace) {
  EXPECT_EQ(ErrorOf("hf-kgw", "{\"vocab_size\": 50257,\n  \"greenlist_ratio\": 1.0}"), "c.json:2:3: member 'greenlist_ratio': must be a number above 0 and below 1");
  EXPECT_EQ(ErrorOf("hf-kgw", "{}"), "c.json: member 'vocab_size' is missing");
  EXPECT_EQ(ErrorOf("hf-kgw", "{\"vocab_size\":50257,\"gamma\":1}"), "c.json:1:21: member 'gamma': this format has no such member");
  EXPECT_THAT(ErrorOf("hf-kgw", R"({"vocab_size":50257,"seeding_scheme":"selfhash"})"), HasSubstr("hf-kgw-selfhash"));
  EXPECT_THAT(ErrorOf("hf-kgw-selfhash", R"({"vocab_size":50257})"), HasSubstr("'seeding_scheme': must be \"selfhash\""));
  EXPECT_THAT(ErrorOf("hf-kgw", R"({"vocab_size":3,"greenlist_ratio":0.3})"), HasSubstr("leaves no token"));
  EXPECT_THAT(ErrorOf("hf-kgw", R"({"vocab_size":50257,"hashing_key":4294967296})"), HasSubstr("member 'hashing_key': its low 32 bits"));
  EXPECT_THAT(ErrorOf("hf-synthid", R"({"ngram_len":5})"), HasSubstr("member 'keys' is missing"));
  EXPECT_THAT(ErrorOf("hf-synthid", R"({"ngram_len":5,"keys":[1,2.5]})"), HasSubstr("c.json:1:26: member 'keys': entry 1 must be an integer of 64 bits"));
  EXPECT_THAT(ErrorOf("hf-synthid", R"({"ngram_len":1,"keys":[1]})"), HasSubstr("member 'ngram_len': must be an integer from 2 to 64"));
  EXPECT_THAT(ErrorOf("synthid-text", R"({"ngram_len":5,"keys":[1],"context_history_size":1024,"sampling_table_seed":0})"), HasSubstr("member 'sampling_table_size' is missing"));
  EXPECT_THAT(ErrorOf("vllm-gumbel", R"({"key":1,"algorithm":"dual_key_gumbel"})"), HasSubstr("vllm-dual"));
  EXPECT_THAT(ErrorOf("vllm-gumbel", R"({"key":-1})"), HasSubstr("member 'key'"));
  EXPECT_THAT(ErrorOf("sglang-gumbel", R"({"key":"0x"})"), HasSubstr("member 'key': must be 1 to 16 hexadecimal digits"));
  EXPECT_THAT(ErrorOf("sglang-gumbel", R"({"key":"1","context_window":65})"), HasSubstr("member 'context_window'"));
  EXPECT_THAT(ErrorOf("textseal", R"({"watermark_type":"synthid"})"), HasSubstr("member 'watermark_type'"));
}

TEST(ForeignConfig, IsStrictJson) {
  for (const char* text : {"", "[]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":+1}", "{\"a\":NaN}", "{\"a\":Infinity}", "{\"a\":1} x", "{'a':1}", "{\"a\":1 /* */}",
                           "{\"a\":\"\n\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\xff\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":[1,]}", "{\"a\":[[1]]}", "{\"a\":{}}", "{\"a\":tru}", "\xef\xbb\xbf{}"}) {
    EXPECT_FALSE(ConfigObject::Parse(text, "c").ok()) << text;
  }
  EXPECT_THAT(std::string(ConfigObject::Parse("{\"a\":1,\n\"a\":2}", "c").status().message()), HasSubstr("c:2:1: member 'a': stands there twice"));
  EXPECT_THAT(std::string(ConfigObject::Parse("{\"a\":\"x", "c").status().message()), HasSubstr("the text ends"));
  EXPECT_TRUE(ConfigObject::Parse(" {\"a\\u00e9\\ud83d\\ude00\" : [ -1 , 2 ] , \"b\" : 1e-3 } \n", "c").ok());
  EXPECT_FALSE(ConfigObject::Parse(std::string(ConfigObject::kMaxBytes + 1, ' '), "c").ok());
  EXPECT_FALSE(ConfigObject::Parse("{\"a\":" + std::string(100000, '[') + "}", "c").ok());  // depth is no matter
}

TEST(ForeignConfig, ErrorsHoldNoValue) {
  for (const char* text : {R"({"vocab_size":50257,"hashing_key":-734512})", R"({"vocab_size":50257,"hashing_key":"734512"})", R"({"vocab_size":50257,"hashing_key":734512.5})",
                           R"({"vocab_size":50257,"hashing_key":734512,"x":734512})", R"({"vocab_size":50257,"hashing_key":734512)", R"({"vocab_size":50257,"hashing_key":734512x})"}) {
    EXPECT_THAT(ErrorOf("hf-kgw", text), Not(HasSubstr("734512")));
  }
  EXPECT_THAT(ErrorOf("sglang-gumbel", R"({"key":"734512z"})"), Not(HasSubstr("734512")));
  EXPECT_THAT(ErrorOf("hf-synthid", R"({"ngram_len":5,"keys":[73451273451273451273451273]})"), Not(HasSubstr("734512")));
}

}  // namespace
}  // namespace countermark
