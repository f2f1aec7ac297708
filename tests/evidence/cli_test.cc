// watermark-verify as a person runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "countermark/evidence/dsse.h"
#include "countermark/evidence/verify.h"
#include "tests/evidence/sample.h"

namespace countermark {
namespace {

using evidence_test::DerivedReport;
using evidence_test::Folder;
using evidence_test::Ran;
using evidence_test::Seed;
using evidence_test::Shell;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class VerifyCli : public ::testing::Test {
 protected:
  VerifyCli() {
    folder_.Write("key.pem", Ed25519PublicKeyPem(Ed25519PublicKeyOf(Seed())));
    folder_.Write("report.json", *SignReport(DerivedReport(), Seed()) + "\n");
    folder_.Write("suspect.jsonl", "suspect");
    folder_.Write("tokenizer.model", "tokenizer");
  }
  // Runs in the folder.
  Ran Verify(const std::string& arguments) { return Shell(folder_, "cd '" + folder_.Path("") + "' && '" COUNTERMARK_VERIFY "' " + arguments); }
  std::string RevealedLine(uint8_t first) {
    std::string digits;
    for (int i = 0; i < 32; ++i) {
      const uint8_t byte[] = {static_cast<uint8_t>(first + i)};
      digits += HexEncode(byte);
    }
    return "{\"name\":\"base\",\"key\":\"" + digits + "\"}\n";
  }
  Folder folder_;
};

TEST_F(VerifyCli, VerifiesAndSaysWhat) {
  const Ran ran = Verify("report.json --public-key key.pem --input suspect.jsonl --tokenizer tokenizer.model");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(ran.out, AllOf(HasSubstr("VERIFIED"), HasSubstr("at alpha = 1e-06: evidence\nWeight to a third party: none yet"), HasSubstr("org-1"), HasSubstr("Which account's answers"),
                             HasSubstr("input 'suspect.jsonl': the file given is the one that was tested"), HasSubstr("Not checked"), HasSubstr("no weight yet"),
                             HasSubstr("Limits the report states itself")));
  EXPECT_THAT(ran.out, Not(HasSubstr("\033")));
}

TEST_F(VerifyCli, NothingAtHandStillVerifies) {
  const Ran ran = Verify("- --public-key key.pem < report.json");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("input 'suspect.jsonl': no file with its SHA-256"));
}

TEST_F(VerifyCli, Json) {
  const Ran ran = Verify("report.json --public-key key.pem --json");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  const nlohmann::json out = nlohmann::json::parse(ran.out);
  EXPECT_EQ(out["schema_version"], 1);
  EXPECT_EQ(out["outcome"], "verified");
  EXPECT_EQ(out["report"]["verdict"], "evidence");
  EXPECT_EQ(out["report"]["tests"].size(), 6u);
  EXPECT_LT(out["log10_p_after_grinding"].get<double>(), -5);
}

TEST_F(VerifyCli, ATamperedCopyIsRefused) {
  std::string envelope = *SignReport(DerivedReport(), Seed());
  const size_t at = envelope.find("\"payload\":\"") + 200;
  envelope[at] = envelope[at] == 'A' ? 'B' : 'A';
  folder_.Write("tampered.json", envelope);
  const Ran ran = Verify("tampered.json --public-key key.pem");
  EXPECT_EQ(ran.exit, 2);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("REFUSED"), Not(HasSubstr("org-1"))));
  EXPECT_THAT(ran.err, HasSubstr("watermark-verify: error: refused: the signature does not hold"));
  const Ran json = Verify("tampered.json --public-key key.pem --json");
  EXPECT_EQ(json.exit, 2);
  EXPECT_EQ(nlohmann::json::parse(json.out)["outcome"], "refused");
  EXPECT_TRUE(nlohmann::json::parse(json.out)["report"].is_null());
}

TEST_F(VerifyCli, ADoctoredValueIsInconsistent) {
  Report report = DerivedReport();
  report.tests[1].log10_p -= 5;
  folder_.Write("doctored.json", *SignReport(report, Seed()));
  const Ran ran = Verify("doctored.json --public-key key.pem");
  EXPECT_EQ(ran.exit, 2);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("INCONSISTENT"), Not(HasSubstr("Verdict of the report"))));
  EXPECT_THAT(ran.err, HasSubstr("error: inconsistent: p-values: 1 of 6 do not follow from the counts"));
}

TEST_F(VerifyCli, FilesThatAreNotTheTestedOnes) {
  const Ran input = Verify("report.json --public-key key.pem --input tokenizer.model");
  EXPECT_EQ(input.exit, 2);
  EXPECT_THAT(input.err, HasSubstr("inconsistent: 'tokenizer.model' is not an input of this report"));
  const Ran tokenizer = Verify("report.json --public-key key.pem --tokenizer suspect.jsonl");
  EXPECT_EQ(tokenizer.exit, 2);
  EXPECT_THAT(tokenizer.err, HasSubstr("inconsistent: tokenizer: 'suspect.jsonl' has SHA-256"));
}

TEST_F(VerifyCli, RevealedKeys) {
  folder_.Write("keys.jsonl", "\n" + RevealedLine(100));
  const Ran good = Verify("report.json --public-key key.pem --revealed-key keys.jsonl");
  EXPECT_EQ(good.exit, 0) << good.err;
  EXPECT_THAT(good.out, HasSubstr("is what was committed to"));
  folder_.Write("keys.jsonl", RevealedLine(101));
  EXPECT_EQ(Verify("report.json --public-key key.pem --revealed-key keys.jsonl").exit, 2);
  for (const char* bad : {"", "{}", "[]", "x", "{\"name\":\"base\",\"key\":\"00\"}", "{\"name\":1,\"key\":\"00\"}", "{\"name\":\"base\",\"key\":\"00\",\"secret\":\"5\"}"}) {
    folder_.Write("keys.jsonl", bad);
    const Ran ran = Verify("report.json --public-key key.pem --revealed-key keys.jsonl");
    EXPECT_EQ(ran.exit, 2) << bad;
    EXPECT_THAT(ran.err, HasSubstr("error: keys.jsonl"));
  }
  // Two readers could take different ones, whichever of the two is right.
  const std::string right = RevealedLine(100), other = "\"" + std::string(64, '0') + "\"";
  const auto with = [&](const std::string& first, const std::string& last) { return "{" + first + right.substr(1, right.rfind('}') - 1) + last + "}"; };
  for (const auto& [name, line] : std::vector<std::pair<std::string, std::string>>{{"name", with("\"name\":\"route\",", "")},
                                                                                {"name", with("", ",\"name\":\"route\"")},
                                                                                {"key", with("\"key\":" + other + ",", "")},
                                                                                {"key", with("", ",\"key\":" + other)},
                                                                                {"salt", with("\"salt\":" + other + ",", ",\"salt\":" + other)}}) {
    folder_.Write("keys.jsonl", right + line + "\n");
    const Ran ran = Verify("report.json --public-key key.pem --revealed-key keys.jsonl");
    EXPECT_EQ(ran.exit, 2) << line;
    EXPECT_THAT(ran.err, HasSubstr("error: keys.jsonl:2: '" + name + "' stands there twice")) << line;
  }
}

TEST_F(VerifyCli, BadInput) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "report"},
      {"report.json", "--public-key"},
      {"missing.json --public-key key.pem", "missing.json"},
      {"report.json --public-key missing.pem", "missing.pem"},
      {"report.json --public-key report.json", "report.json: not a PEM public key"},
      {"report.json --public-key key.pem --input missing", "missing"},
      {"report.json --public-key key.pem --input .", "'.'"},
      {"report.json --public-key key.pem --no-such-option", "--no-such-option"},
      {"/dev/null --public-key key.pem", "refused: not a DSSE envelope"},
      {"report.json --public-key key.pem --output suspect.jsonl", "suspect.jsonl"},  // the path exists
      {"report.json --public-key key.pem --output no/such/folder", "no/such/folder"},
  };
  for (const auto& [arguments, message] : cases) {
    const Ran ran = Verify(arguments);
    EXPECT_EQ(ran.exit, 2) << arguments;
    EXPECT_THAT(ran.err, AllOf(HasSubstr("watermark-verify: error: "), HasSubstr(message))) << arguments;
  }
  EXPECT_EQ(evidence_test::ReadText(folder_.Path("suspect.jsonl")), "suspect");
}

TEST_F(VerifyCli, OutputFilesAndFullDisks) {
  EXPECT_EQ(Verify("report.json --public-key key.pem --json --output out.json").exit, 0);
  EXPECT_EQ(nlohmann::json::parse(evidence_test::ReadText(folder_.Path("out.json")))["outcome"], "verified");
  const Ran full = Verify("report.json --public-key key.pem > /dev/full");
  EXPECT_EQ(full.exit, 2);
  EXPECT_THAT(full.err, HasSubstr("error: "));
}

TEST_F(VerifyCli, AReportCannotSteerTheTerminal) {
  Report report = DerivedReport();
  report.tests[3].subject = "\033[2J\033[31m";
  report.limits = {"\033]0;title\007"};
  folder_.Write("escape.json", *SignReport(report, Seed()));
  const Ran ran = Verify("escape.json --public-key key.pem --color never");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_THAT(ran.out, Not(HasSubstr("\033")));
}

TEST_F(VerifyCli, HelpAndVersion) {
  const Ran help = Verify("--help");
  EXPECT_EQ(help.exit, 0);
  EXPECT_THAT(help.out, AllOf(HasSubstr("Examples:"), HasSubstr("Exit: 0 verified")));
  EXPECT_EQ(Verify("--version").exit, 0);
}

}  // namespace
}  // namespace countermark
