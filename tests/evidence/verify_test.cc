#include "countermark/evidence/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "countermark/evidence/dsse.h"
#include "tests/evidence/sample.h"

namespace countermark {
namespace {

using evidence_test::DerivedReport;
using evidence_test::Hex;
using evidence_test::Seed;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const Ed25519PublicKey kKey = Ed25519PublicKeyOf(Seed());

Verification VerifySigned(const Report& report, const VerifyMaterial& material = {}) {
  return VerifyReport(SealEnvelope(kReportPayloadType, ReportPayload(report), Seed()), kKey, material);
}

TEST(VerifyReport, AGoodOneHolds) {
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    const Verification verification = VerifySigned(DerivedReport(scheme));
    EXPECT_EQ(verification.outcome, VerifyOutcome::kVerified);
    EXPECT_THAT(verification.failed, IsEmpty());
    EXPECT_THAT(verification.checked, Contains(HasSubstr("p-values: all 6 follow from the counts")));
    EXPECT_THAT(verification.checked, Contains(HasSubstr("e-values: all 6")));
    EXPECT_THAT(verification.checked, Contains(HasSubstr("corrections for the number of tests: all 6")));
    EXPECT_THAT(verification.checked, Contains(HasSubstr("verdict: 'evidence' follows at alpha = 1e-06")));
    EXPECT_THAT(verification.checked, Contains(HasSubstr("epoch record")));
    EXPECT_THAT(verification.not_checked, Contains(HasSubstr("input 'suspect.jsonl': no file")));
    EXPECT_THAT(verification.not_checked, Contains(HasSubstr("tokenizer: no file")));
    EXPECT_THAT(verification.not_checked, Contains(HasSubstr("key 'base': not revealed")));
    EXPECT_THAT(verification.not_checked, Contains(HasSubstr("counts:")));
  }
}

// A signer who doctors a value and signs it properly is found out by recomputation.
TEST(VerifyReport, DoctoredValuesAreInconsistent) {
  const std::pair<std::function<void(Report*)>, const char*> cases[] = {
      {[](Report* r) { r->tests[0].log10_p -= 1; }, "p-values: 1 of 6"},
      {[](Report* r) { r->tests[2].log10_p -= 2e-9; }, "pooled, reading 0, account 'org-2': log10_p is stated as"},
      {[](Report* r) { r->tests[1].log10_e += 1e-6; }, "pooled, reading 0, account 'org-1': log10_e is stated as"},
      {[](Report* r) { r->tests[1].log10_p_adjusted -= 3; }, "corrections for the number of tests: 1 of 6 do not follow"},
      {[](Report* r) { r->tests[1].count.statistic += 1 << 30; }, "p-values: 1 of 6"},
      {[](Report* r) { r->tests[1].count.scored -= 1; }, "p-values: 1 of 6"},
      {[](Report* r) { r->ledger.candidates = 2; }, "corrections for the number of tests"},
      {[](Report* r) { r->ledger.views = 2; r->readings.push_back({"cleaned", r->readings[0].tokenizer_sha256}); }, "corrections for the number of tests: 3 of 6"},
      {[](Report* r) { r->verdict = Verdict::kNoEvidence; }, "verdict: stated as 'no evidence', but 'evidence' follows"},
      {[](Report* r) { r->inputs[0].unreadable = 2; }, "but 'inconclusive' follows"},
      {[](Report* r) { r->alpha = 1e-300; }, "but 'no evidence' follows"},
      {[](Report* r) { r->mark.scheme = Scheme::kTournament; }, "the payload"},
      {[](Report* r) { r->ledger.questions = 1; }, "the payload"},
      {[](Report* r) { r->mark.window = 3; }, "parameters.window: not what the epoch record says"},
      {[](Report* r) { r->tenant = "other"; }, "tenant: not what the epoch record says"},
      {[](Report* r) { r->weights = {65536}; }, "parameters.weights: not what the epoch record says"},
  };
  for (const auto& [change, message] : cases) {
    Report report = DerivedReport();
    change(&report);
    const Verification verification = VerifySigned(report);
    if (std::string_view(message) == "the payload") {
      EXPECT_EQ(verification.outcome, VerifyOutcome::kRefused);  // more bits than pairs could have: no such count; a correction that is not the signer's to leave out
      continue;
    }
    EXPECT_EQ(verification.outcome, VerifyOutcome::kInconsistent) << message;
    EXPECT_THAT(verification.failed, Contains(HasSubstr(message)));
  }
  Report rounded = DerivedReport();
  rounded.tests[1].log10_p += 1e-11;  // another machine's logarithm
  EXPECT_EQ(VerifySigned(rounded).outcome, VerifyOutcome::kVerified);
}

TEST(VerifyReport, AlteredOrForeignIsRefused) {
  std::string envelope = SealEnvelope(kReportPayloadType, ReportPayload(DerivedReport()), Seed());
  Verification verification = VerifyReport(envelope, Ed25519PublicKeyOf(Seed(1)));
  EXPECT_EQ(verification.outcome, VerifyOutcome::kRefused);
  EXPECT_FALSE(verification.report.has_value());
  EXPECT_THAT(verification.failed, ElementsAre(HasSubstr("no signature by the given key")));
  const size_t at = envelope.find("\"payload\":\"") + 100;
  envelope[at] = envelope[at] == 'A' ? 'B' : 'A';
  verification = VerifyReport(envelope, kKey);
  EXPECT_EQ(verification.outcome, VerifyOutcome::kRefused);
  EXPECT_THAT(verification.failed, ElementsAre(HasSubstr("altered")));
  EXPECT_EQ(VerifyReport("", kKey).outcome, VerifyOutcome::kRefused);
  EXPECT_EQ(VerifyReport(SealEnvelope("text/plain", "hello", Seed()), kKey).outcome, VerifyOutcome::kRefused);
  EXPECT_EQ(VerifyReport(SealEnvelope(kReportPayloadType, "{}", Seed()), kKey).outcome, VerifyOutcome::kRefused);
}

TEST(VerifyReport, FilesAndKeysAtHand) {
  VerifyMaterial material;
  material.inputs = {{"copy.jsonl", Hex("suspect")}};
  material.tokenizers = {{"t.model", Hex("tokenizer")}};
  material.revealed = {{.name = "base", .key = Seed(100), .salt = std::nullopt}};
  const Verification good = VerifySigned(DerivedReport(), material);
  EXPECT_EQ(good.outcome, VerifyOutcome::kVerified) << (good.failed.empty() ? "" : good.failed[0]);
  EXPECT_THAT(good.checked, Contains(HasSubstr("input 'suspect.jsonl': the file given is the one that was tested")));
  EXPECT_THAT(good.checked, Contains(HasSubstr("tokenizer: 't.model' is the one")));
  EXPECT_THAT(good.checked, Contains(HasSubstr("key 'base': the revealed key, with the epoch record, is what was committed to")));
  EXPECT_THAT(good.not_checked, ElementsAre(HasSubstr("counts:")));

  VerifyMaterial wrong = material;
  wrong.inputs[0].sha256 = Hex("another");
  EXPECT_THAT(VerifySigned(DerivedReport(), wrong).failed, ElementsAre(HasSubstr("'copy.jsonl' is not an input of this report")));
  wrong = material;
  wrong.tokenizers[0].sha256 = Hex("another");
  EXPECT_THAT(VerifySigned(DerivedReport(), wrong).failed, ElementsAre(HasSubstr("tokenizer: 't.model' has SHA-256")));
  wrong = material;
  wrong.revealed = {{.name = "base", .key = Seed(101), .salt = std::nullopt}};
  EXPECT_THAT(VerifySigned(DerivedReport(), wrong).failed, ElementsAre(HasSubstr("does not open the commitment")));
  wrong.revealed = {{.name = "base", .key = Seed(100), .salt = Digest32{}}};
  EXPECT_THAT(VerifySigned(DerivedReport(), wrong).failed, ElementsAre(HasSubstr("its salt is not the one in the report")));
  wrong.revealed = {{.name = "account:org-1", .key = Seed(100), .salt = Digest32{}}};
  EXPECT_THAT(VerifySigned(DerivedReport(), wrong).failed, ElementsAre(HasSubstr("names no commitment")));
}

// statistics.md, Evidence: what stands between the numbers and a third party.
TEST(VerifyReport, SaysWhatTheNumbersAreWorth) {
  const Verification with = VerifySigned(DerivedReport());
  EXPECT_THAT(with.weight, Contains(HasSubstr("no weight yet: no third party's time stamp")));
  EXPECT_THAT(with.weight, Contains(HasSubstr("2^80")));
  EXPECT_THAT(with.weight, Contains(HasSubstr("leak")));
  ASSERT_TRUE(with.log10_p_after_grinding.has_value());
  double best = 0;
  for (const ReportTest& test : with.report->tests) {
    if (test.pooled()) best = std::min(best, test.log10_p_adjusted);
  }
  EXPECT_NEAR(*with.log10_p_after_grinding, best + 80 * std::log10(2.0) + std::log10(12.0), 1e-9);

  Report bare = DerivedReport();
  bare.epoch_record = bare.tenant = bare.epoch = "";
  bare.commitments.clear();
  bare.commitments_published = 0;
  const Verification without = VerifySigned(bare);
  EXPECT_EQ(without.outcome, VerifyOutcome::kVerified);
  EXPECT_THAT(without.weight, Contains(HasSubstr("no commitment to the key of channel 'base'")));
  EXPECT_THAT(without.not_checked, Contains(HasSubstr("epoch record: the report has none")));

  const auto key_of = [](const char* key) { return Contains(HasSubstr(std::string("no weight: no commitment to the key of ") + key)); };
  const auto counts = Contains(HasSubstr("a commitment counts from"));
  // The base channel's key is committed to; that says nothing of an account's.
  EXPECT_THAT(with.weight, AllOf(Not(key_of("channel 'base'")), key_of("account 'org-1'"), Not(key_of("account 'org-2'")), counts));
  const auto named = [](const std::vector<std::string>& names) {
    Report report = DerivedReport();
    const ReportCommitment base = report.commitments[0];
    report.commitments.clear();
    for (const std::string& name : names) report.commitments.push_back({name, base.commitment, base.salt});
    return VerifySigned(report).weight;
  };
  EXPECT_THAT(named({"base", "route", "account:org-1"}), AllOf(Not(key_of("")), counts));
  EXPECT_THAT(named({"account:org-1"}), AllOf(key_of("channel 'base'"), Not(key_of("account")), counts));
  EXPECT_THAT(named({"route", "account:org-2", "org-1", "account:base"}), AllOf(key_of("channel 'base'"), key_of("account 'org-1'"), Not(counts)));
  Report nothing = DerivedReport();
  for (ReportTest& test : nothing.tests) test.count = evidence_test::SampleCount(Scheme::kGumbel, test.count.scored, false);
  nothing.commitments.clear();
  ASSERT_TRUE(DeriveValues(&nothing).ok());
  EXPECT_THAT(VerifySigned(nothing).weight, AllOf(Not(key_of("")), Contains(HasSubstr("no test reaches alpha"))));
  // Of very many keys a few are named and the others counted.
  Report many = DerivedReport();
  for (int i = 10; i < 30; ++i) {
    many.tests.push_back(many.tests[1]);
    many.tests.back().name = "many-" + std::to_string(i);
  }
  ASSERT_TRUE(DeriveValues(&many).ok());
  EXPECT_THAT(VerifySigned(many).weight, AllOf(key_of("account 'many-10'"), Contains(HasSubstr("no weight: nor to the keys of 13 more"))));

  Report unknown = DerivedReport();
  unknown.ledger.records = 0;
  ASSERT_TRUE(DeriveValues(&unknown).ok());
  EXPECT_THAT(VerifySigned(unknown).weight, Contains(HasSubstr("uncorrected")));
}

}  // namespace
}  // namespace countermark
