#include "countermark/evidence/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "countermark/detect/tails.h"
#include "countermark/evidence/dsse.h"
#include "src/evidence/json.h"
#include "tests/evidence/sample.h"

namespace countermark {
namespace {

using evidence_test::DerivedReport;
using evidence_test::SampleReport;
using evidence_test::Seed;
using evidence_test::Vectors;
using ::testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

constexpr Scheme kSchemes[] = {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel};

TEST(DeriveValues, RuleTwoByHand) {
  for (const Scheme scheme : kSchemes) {
    Report report = SampleReport(scheme);
    report.ledger.views = 2;
    report.readings.push_back({"cleaned", report.readings[0].tokenizer_sha256});
    ASSERT_TRUE(DeriveValues(&report).ok());
    for (const ReportTest& test : report.tests) {
      EXPECT_EQ(test.log10_p, Log10P(test.count, report.mark));
      EXPECT_EQ(test.log10_e, Log10E(test.count, report.mark));
    }
    // Two views times two families (the channel, the accounts) times two questions (the pool, the records); a single record also pays for the
    // three records.
    const double m = std::log10(8.0);
    EXPECT_NEAR(report.tests[0].log10_p_adjusted, report.tests[0].log10_p + m, 1e-12);
    EXPECT_NEAR(report.tests[4].log10_p_adjusted, report.tests[4].log10_p + m + std::log10(3.0), 1e-12);
    // Holm: the smallest of 1,000 accounts pays for all of them; the next for 999, which is more than it has.
    EXPECT_NEAR(report.tests[1].log10_p_adjusted, report.tests[1].log10_p + 3 + m, 1e-12);
    EXPECT_EQ(report.tests[2].log10_p_adjusted, 0);
    EXPECT_EQ(report.verdict, Verdict::kEvidence);
  }
}

TEST(DeriveValues, Verdicts) {
  Report report = SampleReport();
  report.tests[0].count = report.tests[1].count = evidence_test::SampleCount(Scheme::kGumbel, 900, false);
  ASSERT_TRUE(DeriveValues(&report).ok());
  EXPECT_EQ(report.verdict, Verdict::kEvidence);  // the pool is clean and record 2 is marked: they share alpha, so either is enough
  report.ledger.records = 0;
  ASSERT_TRUE(DeriveValues(&report).ok());
  EXPECT_EQ(report.verdict, Verdict::kNoEvidence);  // how many records there are is not known: the pool decides alone
  report.ledger.records = 3;
  report.tests.erase(report.tests.begin(), report.tests.begin() + 3);
  ASSERT_TRUE(DeriveValues(&report).ok());
  EXPECT_EQ(report.verdict, Verdict::kEvidence);
  report.inputs[0].unreadable = 1;
  ASSERT_TRUE(DeriveValues(&report).ok());
  EXPECT_EQ(report.verdict, Verdict::kInconclusive);  // a third of the records could not be read
  report = SampleReport();
  for (ReportTest& test : report.tests) test.count = {};
  ASSERT_TRUE(DeriveValues(&report).ok());
  EXPECT_EQ(report.verdict, Verdict::kInconclusive);
  report.tests.clear();
  ASSERT_TRUE(DeriveValues(&report).ok());
  EXPECT_EQ(report.verdict, Verdict::kInconclusive);
}

TEST(DeriveValues, UnknownNumberOfRecordsAndHugeLedgers) {
  Report report = SampleReport();
  report.ledger.records = 0;
  ASSERT_TRUE(DeriveValues(&report).ok());
  EXPECT_NEAR(report.tests[4].log10_p_adjusted, report.tests[4].log10_p + std::log10(4.0), 1e-12);
  EXPECT_THAT(ReportPayload(report), HasSubstr("\"uncorrected\":true"));
  EXPECT_EQ(report.verdict, Verdict::kEvidence);  // of the pool
  Report single = report;
  std::erase_if(single.tests, [](const ReportTest& test) { return test.pooled(); });
  ASSERT_TRUE(DeriveValues(&single).ok());
  EXPECT_EQ(single.verdict, Verdict::kInconclusive);  // the best of nobody knows how many records
  // A product beyond 64 bits is not cut off: 2^50 keys and 2^50 records correct by 30.1 decades, two families and two questions by 0.6.
  report.ledger.records = report.ledger.keys = uint64_t{1} << 50;
  ASSERT_TRUE(DeriveValues(&report).ok());
  EXPECT_NEAR(report.tests[4].log10_p_adjusted, std::min(0.0, report.tests[4].log10_p + 102 * std::log10(2.0)), 1e-9);
}

// A single record is its own pool, asked about once: one question, and the record's value is the pool's.
TEST(DeriveValues, ASingleRecordHasTheWholeOfAlpha) {
  Report report = SampleReport();
  report.inputs[0].records = 1;
  report.tests.resize(4);
  report.tests[3].count = report.tests[0].count;
  report.ledger.records = 1;
  EXPECT_THAT(Message(DeriveValues(&report)), HasSubstr("ledger.questions: 1 is expected where records is 1"));
  report.ledger.questions = 1;
  ASSERT_TRUE(DeriveValues(&report).ok());
  EXPECT_NEAR(report.tests[0].log10_p_adjusted, report.tests[0].log10_p + std::log10(2.0), 1e-12);
  EXPECT_EQ(report.tests[3].log10_p_adjusted, report.tests[0].log10_p_adjusted);
}

// What is counted alone and what is counted in the pool is then the same text, so two counts would be two tests at the price of one.
TEST(ValidateReport, ASingleRecordsCountIsItsPools) {
  Report report = SampleReport();
  report.inputs[0].records = 1;
  report.tests.resize(4);
  report.tests[3].record = 7;  // whatever its position
  report.ledger.records = report.ledger.questions = 1;
  EXPECT_THAT(Message(ValidateReport(report)), HasSubstr("tests[3]: where ledger.records is 1, the record's count is the pool's ('base')"));
  report.tests[3].count = report.tests[0].count;
  EXPECT_EQ(Message(ValidateReport(report)), "");
  ++report.tests[3].count.scored;
  EXPECT_THAT(Message(ValidateReport(report)), HasSubstr("tests[3]"));
  report.tests[3].count = report.tests[0].count;
  ++report.tests[3].count.statistic;
  EXPECT_THAT(Message(ValidateReport(report)), HasSubstr("tests[3]"));
  report.tests[3].kind = TestKind::kAccount;  // an account of the channel's name is another test
  EXPECT_EQ(Message(ValidateReport(report)), "");
  report.tests[3].name = "org-1";
  EXPECT_THAT(Message(ValidateReport(report)), HasSubstr("tests[3]"));
  report.tests.erase(report.tests.begin() + 1);  // not listed in the pool: nothing to compare with
  EXPECT_EQ(Message(ValidateReport(report)), "");
}

TEST(ValidateReport, TheLedgerCoversTheRecordsMet) {
  Report report = SampleReport();
  report.inputs.push_back({"more.jsonl", evidence_test::Hex("more"), 4, 0, 0});
  EXPECT_EQ(Message(ValidateReport(report)), "");
  report.inputs[1].records = 1;
  EXPECT_THAT(Message(ValidateReport(report)), HasSubstr("inputs[1].records: more records than the ledger counts"));
  report.inputs[1].records = uint64_t{1} << 53;  // a sum over many files could pass 2^64
  EXPECT_THAT(Message(ValidateReport(report)), HasSubstr("inputs[1].records"));
  report.ledger.records = 0;  // not known, and the report says so
  EXPECT_EQ(Message(ValidateReport(report)), "");
}

// Everything a report may hold, by hand: five questions, four readings, a channel and the accounts make m = 40; a single record pays for three records.
TEST(DeriveValues, ReadingsPassagesAndWeightsByHand) {
  for (const Scheme scheme : kSchemes) {
    Report report = evidence_test::FullReport(scheme);
    ASSERT_TRUE(DeriveValues(&report).ok());
    const double m = std::log10(40.0), of_record = std::log10(120.0);
    EXPECT_NEAR(report.tests[0].log10_p_adjusted, report.tests[0].log10_p + m, 1e-12);
    EXPECT_NEAR(report.tests[6].log10_p_adjusted, report.tests[6].log10_p + of_record, 1e-12);
    // Holm's families do not mix readings: the second reading's one account is its family's smallest, and pays for 1,000 candidates.
    EXPECT_NEAR(report.tests[7].log10_p_adjusted, report.tests[7].log10_p + of_record + 3, 1e-12);
    // A passage of 100 of the record's 300 pairs: scale 6, step 4; 9 scales, two kinds; lengths 64, 68 … 124 at multiples of 4.
    uint64_t coarse = 0, fine = 0;
    for (uint64_t length = 64; length < 128; ++length) {
      if (length % 4 == 0) coarse += (300 - length) / 4 + 1;
      if (length % 4 != 0) fine += 300 - length + 1;
    }
    EXPECT_TRUE(report.regions[0].tries == 9 * 2 * coarse);
    EXPECT_NEAR(report.regions[0].log10_p_adjusted, std::min(0.0, report.regions[0].log10_p + of_record + std::log10(18.0 * static_cast<double>(coarse))), 1e-9);
    EXPECT_EQ(report.regions[0].log10_p, Log10P(report.regions[0].count, report.mark));
    // 95 is no multiple of 4. The reading's own test, of 310 pairs, is what was searched.
    fine = 0;
    for (uint64_t length = 64; length < 128; ++length) fine += length % 4 != 0 ? 310 - length + 1 : 0;
    EXPECT_TRUE(report.regions[1].tries == 9 * 2 * fine);
    // (60 − 70)/ln 10, pooled; (60 − 100)/ln 10 of a record; above 1 is 1.
    EXPECT_NEAR(report.weighted[0].log10_p, -10 / std::log(10.0), 1e-9);
    EXPECT_NEAR(report.weighted[0].log10_p_adjusted, -10 / std::log(10.0) + m, 1e-9);
    EXPECT_NEAR(report.weighted[1].log10_p_adjusted, -40 / std::log(10.0) + of_record, 1e-9);
    EXPECT_NEAR(report.weighted[2].log10_p_adjusted, -41 / std::log(10.0) + of_record + 3, 1e-9);
    EXPECT_EQ(report.weighted[3].log10_p, 0);
    // Two models or rules: every weighted value pays for both, and nothing else does.
    const double before = report.tests[0].log10_p_adjusted;
    report.ledger.weighted = 2;
    ASSERT_TRUE(DeriveValues(&report).ok());
    EXPECT_NEAR(report.weighted[1].log10_p_adjusted, -40 / std::log(10.0) + of_record + std::log10(2.0), 1e-9);
    EXPECT_EQ(report.tests[0].log10_p_adjusted, before);
  }
}

// Each kind of claim makes a verdict alone, and where records are not counted only what is pooled does.
TEST(DeriveValues, PassagesAndWeightsMakeVerdicts) {
  Report clean = evidence_test::FullReport();
  for (ReportTest& test : clean.tests) test.count = evidence_test::SampleCount(Scheme::kGumbel, test.count.scored, false);
  for (ReportWeighted& test : clean.weighted) test.sum = 0;
  std::vector<ReportRegion> regions;
  regions.swap(clean.regions);
  ASSERT_TRUE(DeriveValues(&clean).ok());
  EXPECT_EQ(clean.verdict, Verdict::kNoEvidence);
  Report passage = clean;
  passage.regions = regions;
  passage.regions[0].count = evidence_test::SampleCount(Scheme::kGumbel, 160, true);
  passage.regions.resize(1);
  ASSERT_TRUE(DeriveValues(&passage).ok());
  EXPECT_EQ(passage.verdict, Verdict::kEvidence);
  passage.ledger.records = 0;
  ASSERT_TRUE(DeriveValues(&passage).ok());
  EXPECT_EQ(passage.verdict, Verdict::kNoEvidence);
  Report weights = clean;
  weights.weighted[1].sum = Statistic{100} << 33;
  ASSERT_TRUE(DeriveValues(&weights).ok());
  EXPECT_EQ(weights.verdict, Verdict::kEvidence);
  weights.ledger.records = 0;
  ASSERT_TRUE(DeriveValues(&weights).ok());
  EXPECT_EQ(weights.verdict, Verdict::kNoEvidence);
  weights.weighted[0].sum = Statistic{100} << 33;
  ASSERT_TRUE(DeriveValues(&weights).ok());
  EXPECT_EQ(weights.verdict, Verdict::kEvidence);
}

TEST(ValidateReport, NamesWhatIsWrongInReadingsPassagesAndWeights) {
  const std::pair<std::function<void(Report*)>, const char*> cases[] = {
      {[](Report* r) { r->readings.pop_back(); }, "readings: as many as the ledger's views times its tokenizers"},
      {[](Report* r) { r->readings.clear(); }, "readings: at least one"},
      {[](Report* r) { r->readings[1] = r->readings[0]; }, "readings[1]: the same reading twice"},
      {[](Report* r) { r->readings[1].view = "clean"; }, "readings[1].view"},
      {[](Report* r) { r->readings[1].tokenizer_sha256 = "ab"; }, "readings[1].tokenizer_sha256"},
      {[](Report* r) { r->readings[2].tokenizer_sha256 = ""; }, "readings[2]: token ids have one reading"},
      {[](Report* r) { r->tests[0].reading = 4; }, "tests[0].reading"},
      {[](Report* r) { r->tests[7].reading = r->tests[7].record = 0; r->tests[7].subject = ""; }, "tests[7]: the same test twice ('org-1')"},
      {[](Report* r) { r->ledger.regions = 0; r->ledger.questions = 4; }, "ledger.regions"},
      {[](Report* r) { r->ledger.weighted = 0; r->ledger.questions = 3; }, "ledger.weighted"},
      {[](Report* r) { r->ledger.questions = 4; }, "ledger.questions"},
      {[](Report* r) { r->regions[0].record = 0; r->regions[0].subject = ""; }, "regions[0].record"},
      {[](Report* r) { r->regions[0].reading = 2; }, "regions[0]: the test of its record, reading and channel is not listed"},
      {[](Report* r) { r->regions[1].name = "org-1"; }, "regions[1]: the test of its record"},
      {[](Report* r) { r->regions[0].end = r->regions[0].begin; }, "regions[0]: begin below end"},
      {[](Report* r) { r->regions[0].count = {}; }, "regions[0]: a part of the record's own count"},
      {[](Report* r) { r->regions[0].count.scored = 301; }, "regions[0]: a part of the record's own count"},
      {[](Report* r) { r->regions[0].count.statistic = r->tests[4].count.statistic + 1; }, "regions[0]: a part of the record's own count"},
      {[](Report* r) { r->regions[1] = r->regions[0]; }, "regions[1]: the same region twice"},
      {[](Report* r) { r->weighted[1].model_sha256 = "model"; }, "weighted[1].model_sha256"},
      {[](Report* r) { r->weighted[1].rule = ""; }, "weighted[1].rule"},
      {[](Report* r) { r->weighted[1].rule = "other"; }, "more weights of one subject than the ledger counts"},
      {[](Report* r) { r->weighted[1].lambda = 0; }, "weighted[1].lambda"},
      {[](Report* r) { r->weighted[1].lambda = std::numeric_limits<double>::infinity(); }, "weighted[1]: a value that is not a finite number"},
      {[](Report* r) { r->weighted[1].log_mgf = -1; }, "weighted[1].log_mgf"},
      {[](Report* r) { r->weighted[1].scored = 0; }, "weighted[1]: a sum of no pairs"},
      {[](Report* r) { r->weighted[3].name = "org-1"; }, "weighted[3]: the same test twice"},
      {[](Report* r) { r->weighted[0].display_log10_p = 1; }, "weighted[0]: a probability above 1"},
      {[](Report* r) { for (int i = 1; i < 4; ++i) r->weighted[i].record = 7; }, "more records than the ledger counts"},
  };
  ASSERT_EQ(Message(ValidateReport(evidence_test::FullReport())), "");
  for (const auto& [change, message] : cases) {
    Report report = evidence_test::FullReport();
    change(&report);
    EXPECT_THAT(Message(ValidateReport(report)), HasSubstr(message));
  }
  // A single record's weighted test is its pool's too.
  Report single = evidence_test::FullReport();
  single.inputs[0].records = single.ledger.records = 1;
  single.ledger.questions = 3;
  single.tests.resize(0);
  single.regions.clear();
  single.weighted.resize(2);
  EXPECT_THAT(Message(ValidateReport(single)), HasSubstr("weighted[1]: where ledger.records is 1"));
  single.weighted[1].sum = single.weighted[0].sum;
  EXPECT_EQ(Message(ValidateReport(single)), "");
  // By another model it would be a second test of one text at the price of one.
  Report by_two = single;
  by_two.weighted[1].model_sha256 = evidence_test::Hex("another model");
  EXPECT_THAT(Message(ValidateReport(by_two)), HasSubstr("weighted: more tests of the single record and its pool than the ledger counts"));
  by_two.ledger.weighted = 2;
  EXPECT_EQ(Message(ValidateReport(by_two)), "");
}

// One account with the record and another with its pool: two tests of one text, where the ledger counts one candidate.
TEST(ValidateReport, ASingleRecordsAccountsAreItsPools) {
  Report report = SampleReport();
  report.inputs[0].records = 1;
  report.tests.erase(report.tests.begin() + 3, report.tests.end());
  report.tests[2].record = 1;  // org-2; org-1 stands with the pool
  report.ledger.records = report.ledger.questions = 1;
  EXPECT_EQ(Message(ValidateReport(report)), "");
  report.ledger.candidates = 1;
  EXPECT_THAT(Message(ValidateReport(report)), HasSubstr("tests: more tests of the single record and its pool than the ledger counts"));
}

TEST(Report, SurvivesItsPayloadInFull) {
  Report report = evidence_test::FullReport();
  ASSERT_TRUE(DeriveValues(&report).ok());
  const std::string payload = ReportPayload(report);
  const auto parsed = ParseReportPayload(payload);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(ReportPayload(*parsed), payload);
  ASSERT_EQ(parsed->regions.size(), 2u);
  ASSERT_EQ(parsed->weighted.size(), 4u);
  ASSERT_EQ(parsed->readings.size(), 4u);
  EXPECT_EQ(parsed->readings[3].view, "cleaned");
  EXPECT_EQ(parsed->tests[6].reading, 1u);
  EXPECT_TRUE(parsed->regions[1].tries == report.regions[1].tries);
  EXPECT_EQ(parsed->regions[1].end, 380u);
  EXPECT_TRUE(parsed->weighted[2].sum == report.weighted[2].sum);
  EXPECT_EQ(parsed->weighted[2].lambda, report.weighted[2].lambda);
  EXPECT_EQ(parsed->weighted[2].rule, "entropy");
}

TEST(Report, SurvivesItsPayload) {
  for (const Scheme scheme : kSchemes) {
    Report report = DerivedReport(scheme);
    report.tests[3].subject = "\"\\\n\x01 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80";
    const std::string payload = ReportPayload(report);
    const auto parsed = ParseReportPayload(payload);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(ReportPayload(*parsed), payload);
    EXPECT_EQ(parsed->tests.size(), report.tests.size());
    EXPECT_EQ(parsed->tests[3].subject, report.tests[3].subject);
    EXPECT_TRUE(parsed->tests[1].count.statistic == report.tests[1].count.statistic);
    EXPECT_EQ(parsed->tests[1].log10_p, report.tests[1].log10_p);
    EXPECT_EQ(parsed->verdict, report.verdict);
    EXPECT_EQ(parsed->limits, report.limits);
    EXPECT_EQ(parsed->weights, report.weights);
  }
}

TEST(Report, StatisticsBeyond64Bits) {
  Report report = SampleReport();
  report.tests.resize(1);
  report.tests[0].count = {uint64_t{1} << 40, (Statistic{1} << 80) + 1};
  ASSERT_TRUE(DeriveValues(&report).ok());
  const std::string payload = ReportPayload(report);
  EXPECT_THAT(payload, HasSubstr("\"statistic\":\"1208925819614629174706177\""));
  const auto parsed = ParseReportPayload(payload);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(parsed->tests[0].count.statistic == report.tests[0].count.statistic);
}

TEST(Report, NamesThatAreNotUtf8AreRepairedOnce) {
  Report report = DerivedReport();
  report.inputs[0].name = "a\xff.txt";
  const auto envelope = SignReport(report, Seed());
  ASSERT_TRUE(envelope.ok());
  const auto opened = OpenReport(*envelope, Ed25519PublicKeyOf(Seed()));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->inputs[0].name, "a\xef\xbf\xbd.txt");
}

// Written by Python alone (make_report.py). Reading them and signing what was read must give the same bytes.
TEST(Report, BytesOfTheOtherImplementation) {
  const nlohmann::json vectors = Vectors();
  std::array<uint8_t, 32> seed;
  ASSERT_TRUE(HexDecodeInto(vectors["seed"].get<std::string>(), seed));
  const auto key = ParseEd25519PublicKeyPem(vectors["public_key_pem"].get<std::string>());
  ASSERT_TRUE(key.ok());
  ASSERT_EQ(vectors["reports"].size(), 6u);
  for (const nlohmann::json& entry : vectors["reports"]) {
    const std::string envelope = entry["envelope"];
    const auto report = OpenReport(envelope, *key);
    ASSERT_TRUE(report.ok()) << entry["name"] << report.status();
    const auto again = SignReport(*report, Secret32(seed));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, envelope) << entry["name"];
  }
}

TEST(Report, EveryAlteredByteOfASignedReportIsRefused) {
  Report report = DerivedReport();
  report.tests.resize(1);
  ASSERT_TRUE(DeriveValues(&report).ok());
  const Ed25519PublicKey key = Ed25519PublicKeyOf(Seed());
  const auto envelope = SignReport(report, Seed());
  ASSERT_TRUE(envelope.ok());
  ASSERT_TRUE(OpenReport(*envelope, key).ok());
  for (size_t i = 0; i < envelope->size(); ++i) {
    for (const int delta : {1, 2, 4, 32, 128}) {
      std::string altered = *envelope;
      altered[i] = static_cast<char>(altered[i] ^ delta);
      EXPECT_FALSE(OpenReport(altered, key).ok()) << i << " ^ " << delta;
    }
  }
}

// Altered payloads signed again by a signer who does not keep to the format: each is an error that names the member.
TEST(ParseReportPayload, StrictAboutItsMembers) {
  const nlohmann::json good = nlohmann::json::parse(ReportPayload(DerivedReport()));
  const auto fault = [&](const std::function<void(nlohmann::json*)>& change) {
    nlohmann::json altered = good;
    change(&altered);
    return Message(ParseReportPayload(CanonicalJson(altered)).status());
  };
  const std::pair<std::function<void(nlohmann::json*)>, const char*> cases[] = {
      {[](auto* j) { (*j)["schema_version"] = 1; }, "this build reads version 2, not 1"},
      {[](auto* j) { (*j)["schema_version"] = "1"; }, "report.schema_version"},
      {[](auto* j) { (*j)["extra"] = 1; }, "report.extra: unknown member"},
      {[](auto* j) { j->erase("alpha"); }, "report.alpha: missing"},
      {[](auto* j) { (*j)["alpha"] = 0; }, "alpha: above 0"},
      {[](auto* j) { (*j)["created"] = "2026-13-01T00:00:00Z"; }, "created: a UTC time"},
      {[](auto* j) { (*j)["mark_format"] = 2; }, "mark_format: this build knows format 1, not 2"},
      {[](auto* j) { (*j)["tests"][0]["p"] = 1; }, "tests[0].p: unknown member"},
      {[](auto* j) { (*j)["tests"][1]["kind"] = "region"; }, "tests[1].kind"},
      {[](auto* j) { (*j)["tests"][1]["statistic"] = "-1"; }, "tests[1].statistic"},
      {[](auto* j) { (*j)["tests"][1]["statistic"] = "01"; }, "tests[1].statistic"},
      {[](auto* j) { (*j)["tests"][1]["statistic"] = std::string(39, '9'); }, "tests[1].statistic"},
      {[](auto* j) { (*j)["tests"][1]["statistic"] = std::string(38, '9'); }, "tests[1].statistic: more than the scored pairs can have"},
      {[](auto* j) { (*j)["tests"][1]["scored"] = -1; }, "tests[1].scored"},
      {[](auto* j) { (*j)["tests"][1]["log10_p"] = 0.5; }, "tests[1]: a probability above 1"},
      {[](auto* j) { (*j)["tests"][2]["name"] = "org-1"; }, "the same test twice"},
      {[](auto* j) { (*j)["tests"][0]["subject"] = "x"; }, "tests[0].subject"},
      {[](auto* j) { (*j)["tests"] = {1}; }, "tests[0]: an object is expected"},
      {[](auto* j) { (*j)["tests"] = nullptr; }, "report.tests: an array is expected"},
      {[](auto* j) { (*j)["ledger"]["total"] = "1"; }, "ledger.total"},
      {[](auto* j) { (*j)["ledger"]["keys"] = 0; }, "ledger.keys"},
      {[](auto* j) { (*j)["ledger"]["candidates"] = 1; (*j)["ledger"]["total"] = "8"; }, "more tests of one subject than the ledger counts"},
      {[](auto* j) { (*j)["ledger"]["records"] = 2; (*j)["ledger"]["total"] = "3003"; }, "more records than the ledger counts"},
      {[](auto* j) { j->at("ledger").erase("questions"); }, "ledger.questions: missing"},
      // Half of the correction, or a single record declared for three.
      {[](auto* j) { (*j)["ledger"]["questions"] = 1; (*j)["ledger"]["total"] = "3003"; }, "ledger.questions: 1 is expected where records is 1, and else 2"},
      {[](auto* j) { (*j)["ledger"]["questions"] = 1; (*j)["ledger"]["records"] = 1; (*j)["ledger"]["total"] = "1001"; }, "more records than the ledger counts"},
      {[](auto* j) { (*j)["ledger"]["questions"] = 3; }, "ledger.questions"},
      {[](auto* j) { (*j)["uncorrected"] = true; }, "uncorrected"},
      {[](auto* j) { (*j)["verdict"] = "guilty"; }, "verdict"},
      {[](auto* j) { (*j)["parameters"]["scheme"] = "x"; }, "parameters.scheme"},
      {[](auto* j) { (*j)["parameters"]["window"] = 9; }, "parameters.window"},
      {[](auto* j) { (*j)["parameters"]["weights"] = {1, 2}; }, "parameters.weights"},
      {[](auto* j) { (*j)["parameters"] = 1; }, "report.parameters"},
      {[](auto* j) { (*j)["inputs"][0]["sha256"] = "AB"; }, "inputs[0].sha256"},
      {[](auto* j) { (*j)["inputs"][0]["unreadable"] = 4; }, "inputs[0].unreadable"},
      {[](auto* j) { (*j)["inputs"][0]["records"] = 4; }, "inputs[0].records: more records than the ledger counts"},
      {[](auto* j) { (*j)["inputs"].push_back((*j)["inputs"][0]); }, "inputs[1].records: more records than the ledger counts"},
      {[](auto* j) { (*j)["epoch_record"] = ""; }, "commitments: none can be without an epoch_record"},
      {[](auto* j) { (*j)["commitments"][0]["salt"] = "0"; }, "commitments[0].salt"},
      {[](auto* j) { (*j)["commitments"].push_back((*j)["commitments"][0]); }, "commitments[1].name"},
      {[](auto* j) { (*j)["coverage_floor"] = 1.5; }, "coverage_floor"},
      {[](auto* j) { (*j)["limits"] = {1}; }, "limits"},
  };
  EXPECT_EQ(fault([](auto*) {}), "");
  for (const auto& [change, message] : cases) EXPECT_THAT(fault(change), HasSubstr(message));
}

TEST(ParseReportPayload, OneSpellingOnly) {
  const std::string payload = ReportPayload(DerivedReport());
  EXPECT_TRUE(ParseReportPayload(payload).ok());
  EXPECT_THAT(Message(ParseReportPayload(payload + " ").status()), HasSubstr("canonical form"));
  // A second "alpha", which one reader takes and another does not.
  EXPECT_THAT(Message(ParseReportPayload("{\"alpha\":0.5," + payload.substr(1)).status()), HasSubstr("'alpha' stands twice"));
  std::string spelt = payload;
  const size_t at = spelt.find("\"alpha\":0.000001");
  ASSERT_NE(at, std::string::npos);
  spelt.replace(at, 16, "\"alpha\":1e-6");
  EXPECT_THAT(Message(ParseReportPayload(spelt).status()), HasSubstr("canonical form"));
  EXPECT_FALSE(ParseReportPayload("").ok());
  EXPECT_FALSE(ParseReportPayload("[]").ok());
  EXPECT_FALSE(ParseReportPayload(std::string(1'000'000, '[')).ok());
}

TEST(SignReport, RefusesWhatCannotBe) {
  const auto fault = [](const std::function<void(Report*)>& change) {
    Report report = DerivedReport();
    change(&report);
    return Message(SignReport(report, Seed()).status());
  };
  EXPECT_EQ(fault([](Report*) {}), "");
  EXPECT_THAT(fault([](Report* r) { r->tests[0].log10_e = std::numeric_limits<double>::quiet_NaN(); }), HasSubstr("tests[0]"));
  EXPECT_THAT(fault([](Report* r) { r->tests[0].log10_p = -std::numeric_limits<double>::infinity(); }), HasSubstr("tests[0]"));
  EXPECT_THAT(fault([](Report* r) { r->mark.window = 3; }), HasSubstr("parameters.window: not what the epoch record says"));
  EXPECT_THAT(fault([](Report* r) { r->readings[0].tokenizer_sha256 = std::string(64, '0'); }), HasSubstr("readings"));
  EXPECT_THAT(fault([](Report* r) { r->tests[0].name = "other"; }), HasSubstr("channel 'other'"));
  EXPECT_THAT(fault([](Report* r) { r->epoch_record += " "; }), HasSubstr("canonical"));
  EXPECT_THAT(fault([](Report* r) { r->tool = ""; }), HasSubstr("tool"));
}

}  // namespace
}  // namespace countermark
