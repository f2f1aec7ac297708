// The two verifiers, ours and tests/oracle/verify_report.py, over the same files: good ones, altered ones, and doctored ones that were signed again.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "countermark/evidence/dsse.h"
#include "countermark/evidence/verify.h"
#include "src/evidence/json.h"
#include "tests/evidence/sample.h"

namespace countermark {
namespace {

using evidence_test::DerivedReport;
using evidence_test::Folder;
using evidence_test::Ran;
using evidence_test::Seed;
using evidence_test::Shell;

std::string Seal(const std::string& payload, uint8_t signer = 0) { return SealEnvelope(kReportPayloadType, payload, Seed(signer)); }

struct Bundle {
  std::string name;
  std::string envelope;
  const char* expected;
};

// Payload members changed, written in canonical form, signed by the right key.
std::string Resigned(const std::function<void(nlohmann::json*)>& change) {
  nlohmann::json payload = nlohmann::json::parse(ReportPayload(DerivedReport()));
  change(&payload);
  return Seal(CanonicalJson(payload));
}

std::string Doctored(Scheme scheme, const std::function<void(Report*)>& change) {
  Report report = DerivedReport(scheme);
  change(&report);
  return Seal(ReportPayload(report));
}

std::vector<Bundle> Bundles() {
  std::vector<Bundle> out;
  const Scheme schemes[] = {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel};
  for (const Scheme scheme : schemes) {
    const std::string name(SchemeName(scheme));
    out.push_back({"good " + name, Doctored(scheme, [](Report*) {}), "verified"});
    out.push_back({"p " + name, Doctored(scheme, [](Report* r) { r->tests[2].log10_p -= 1e-7; }), "inconsistent"});
    out.push_back({"e " + name, Doctored(scheme, [](Report* r) { r->tests[3].log10_e += 1e-7; }), "inconsistent"});
    out.push_back({"count " + name, Doctored(scheme, [](Report* r) { r->tests[0].count.statistic -= r->tests[0].count.statistic / 50; }), "inconsistent"});
    // Counts of all sizes, on both sides of the mean and at the ends.
    out.push_back({"grid " + name, Doctored(scheme, [scheme](Report* r) {
                     r->tests.resize(1);
                     r->ledger.candidates = 0;
                     r->ledger.records = 200;
                     for (uint64_t n : {1, 2, 7, 40, 333, 2000}) {
                       for (int tenths : {0, 1, 5, 9, 10, 11, 13, 20}) {
                         ReportTest test = r->tests[0];
                         test.record = r->tests.size();
                         test.subject = "g";
                         const ChannelCount null = evidence_test::SampleCount(scheme, n, false);
                         const Statistic top = scheme == Scheme::kPartition ? n : scheme == Scheme::kTournament ? n * 30 : Statistic{n} * 24387948313145;
                         test.count = {n, std::min(top, null.statistic * static_cast<unsigned>(tenths) / 10)};
                         r->tests.push_back(test);
                         test.record = r->tests.size();
                         test.count.statistic = top;
                         r->tests.push_back(test);
                       }
                     }
                     EXPECT_TRUE(DeriveValues(r).ok());
                   }), "verified"});
  }
  const Scheme gumbel = Scheme::kGumbel;
  out.push_back({"uncorrected", Doctored(gumbel, [](Report* r) { r->ledger.records = 0; EXPECT_TRUE(DeriveValues(r).ok()); }), "verified"});
  out.push_back({"records alone", Doctored(gumbel, [](Report* r) { r->tests.erase(r->tests.begin(), r->tests.begin() + 3); r->ledger.candidates = 0; EXPECT_TRUE(DeriveValues(r).ok()); }), "verified"});
  out.push_back({"low coverage", Doctored(gumbel, [](Report* r) { r->inputs[0].unreadable = 1; EXPECT_TRUE(DeriveValues(r).ok()); }), "verified"});
  out.push_back({"coverage hidden", Doctored(gumbel, [](Report* r) { r->inputs[0].unreadable = 1; }), "inconsistent"});
  out.push_back({"adjusted", Doctored(gumbel, [](Report* r) { r->tests[1].log10_p_adjusted -= 3; }), "inconsistent"});
  out.push_back({"fewer candidates", Doctored(gumbel, [](Report* r) { r->ledger.candidates = 2; }), "inconsistent"});
  out.push_back({"verdict", Doctored(gumbel, [](Report* r) { r->verdict = Verdict::kNoEvidence; }), "inconsistent"});
  out.push_back({"alpha", Doctored(gumbel, [](Report* r) { r->alpha = 1e-300; }), "inconsistent"});
  out.push_back({"record", Doctored(gumbel, [](Report* r) { r->epoch = "2026-10"; }), "inconsistent"});
  out.push_back({"weights", Doctored(gumbel, [](Report* r) { r->weights = {65536}; }), "inconsistent"});
  const auto full = [&](const char* name, Scheme scheme, const char* expected, const std::function<void(Report*)>& change) {
    Report report = evidence_test::FullReport(scheme);
    EXPECT_TRUE(DeriveValues(&report).ok());
    change(&report);
    out.push_back({std::string("full, ") + name + " " + std::string(SchemeName(scheme)), Seal(ReportPayload(report)), expected});
  };
  for (const Scheme scheme : schemes) {
    full("good", scheme, "verified", [](Report*) {});
    full("passage's p", scheme, "inconsistent", [](Report* r) { r->regions[0].log10_p -= 1e-7; });
    full("passage's correction", scheme, "inconsistent", [](Report* r) { r->regions[1].log10_p_adjusted -= 1e-7; });
    full("bound", scheme, "inconsistent", [](Report* r) { r->weighted[1].log10_p -= 1e-6; });
  }
  full("tries", gumbel, "inconsistent", [](Report* r) { r->regions[0].tries -= 1; });
  full("weighted sum", gumbel, "inconsistent", [](Report* r) { r->weighted[1].sum += Statistic{1} << 33; });
  full("weighted correction", gumbel, "inconsistent", [](Report* r) { r->weighted[2].log10_p_adjusted -= 3; });
  full("display", gumbel, "verified", [](Report* r) { r->weighted[2].display_log10_p = -300; });  // nothing hangs on it
  // Passages looked for and not counted among the questions, or as a search more; a reading that was tried and is not said.
  full("passages unasked", gumbel, "refused", [](Report* r) { r->ledger.questions = 4; });
  full("two searches", gumbel, "inconsistent", [](Report* r) { r->ledger.regions = 2; });
  full("two weights", gumbel, "inconsistent", [](Report* r) { r->ledger.weighted = 2; });
  full("a reading less", gumbel, "refused", [](Report* r) { r->readings.pop_back(); });
  full("readings halved", gumbel, "inconsistent", [](Report* r) { r->readings.resize(2); r->ledger.tokenizers = 1; });
  full("no such reading", gumbel, "refused", [](Report* r) { r->tests[0].reading = 9; });
  full("none by the epoch's tokenizer", gumbel, "inconsistent", [](Report* r) {
    r->readings[0].tokenizer_sha256 = r->readings[1].tokenizer_sha256 = evidence_test::Hex("a third");
  });
  full("passage of an unlisted test", gumbel, "refused", [](Report* r) { r->regions[1].reading = 2; });
  full("passage of more pairs than searched", gumbel, "refused", [](Report* r) { r->regions[0].count.scored = 301; });
  full("no evidence but by weights", gumbel, "verified", [](Report* r) {
    for (ReportTest& test : r->tests) test.count = evidence_test::SampleCount(Scheme::kGumbel, test.count.scored, false);
    r->regions.clear();
    EXPECT_TRUE(DeriveValues(r).ok());
    EXPECT_EQ(r->verdict, Verdict::kEvidence);
  });
  out.push_back({"schema", Resigned([](auto* j) { (*j)["schema_version"] = 1; }), "refused"});
  out.push_back({"unknown member", Resigned([](auto* j) { (*j)["extra"] = 2; }), "refused"});
  out.push_back({"unknown test member", Resigned([](auto* j) { (*j)["tests"][0]["extra"] = 2; }), "refused"});
  out.push_back({"one question", Resigned([](auto* j) { (*j)["ledger"]["questions"] = 1; (*j)["ledger"]["total"] = "3003"; }), "refused"});
  out.push_back({"single record", Doctored(gumbel, [](Report* r) {
                   r->inputs[0].records = 1;
                   r->tests.resize(4);
                   r->tests[3].count = r->tests[0].count;
                   r->ledger.records = r->ledger.questions = 1;
                   EXPECT_TRUE(DeriveValues(r).ok());
                 }), "verified"});
  // A single record that is one thing alone and another in its pool: two tests at one test's price.
  out.push_back({"single record, two counts", Doctored(gumbel, [](Report* r) {
                   r->inputs[0].records = 1;
                   r->tests.resize(4);
                   r->ledger.records = r->ledger.questions = 1;
                 }), "refused"});
  out.push_back({"single record, another account than its pool's", Doctored(gumbel, [](Report* r) {
                   r->inputs[0].records = 1;
                   r->tests.resize(3);
                   r->ledger.records = r->ledger.questions = r->ledger.candidates = 1;
                   r->tests[2].record = 1;
                 }), "refused"});
  out.push_back({"two channels where one is counted", Doctored(gumbel, [](Report* r) { r->tests.push_back(r->tests[0]); r->tests.back().name = "other"; }), "refused"});
  out.push_back({"records met beyond the ledger", Doctored(gumbel, [](Report* r) { r->inputs[0].records = 4; }), "refused"});
  out.push_back({"records met beyond the ledger, two files", Doctored(gumbel, [](Report* r) { r->inputs.push_back(r->inputs[0]); }), "refused"});
  out.push_back({"more records declared than met", Doctored(gumbel, [](Report* r) { r->ledger.records = 5; EXPECT_TRUE(DeriveValues(r).ok()); }), "verified"});
  out.push_back({"bare key", Doctored(gumbel, [](Report* r) { r->tenant = r->epoch = r->epoch_record = ""; r->commitments.clear(); }), "verified"});
  out.push_back({"commitments without a record", Doctored(gumbel, [](Report* r) { r->tenant = r->epoch = r->epoch_record = ""; }), "refused"});
  // Corrected for the two questions not at all: every value is 0.3 decades too good.
  out.push_back({"one question's values", Doctored(gumbel, [](Report* r) {
                   for (ReportTest& test : r->tests) test.log10_p_adjusted = std::min(test.log10_p_adjusted, std::max(test.log10_p, test.log10_p_adjusted - std::log10(2.0)));
                 }), "inconsistent"});
  out.push_back({"ledger total", Resigned([](auto* j) { (*j)["ledger"]["total"] = "3"; }), "refused"});
  out.push_back({"impossible count", Resigned([](auto* j) { (*j)["tests"][0]["statistic"] = std::string(37, '9'); }), "refused"});
  out.push_back({"spaces", Seal(nlohmann::json::parse(ReportPayload(DerivedReport())).dump(1)), "refused"});
  out.push_back({"other signer", Seal(ReportPayload(DerivedReport()), 1), "refused"});
  out.push_back({"other type", SealEnvelope("text/plain", ReportPayload(DerivedReport()), Seed()), "refused"});
  const std::string good = Seal(ReportPayload(DerivedReport()));
  out.push_back({"empty", "", "refused"});
  // Each member of the envelope a second time, before and after the true one; in the signature's entry and in a member nobody reads too.
  const std::string last = good.substr(0, good.size() - 1);
  for (const char* member : {R"("payload":"")", R"("payloadType":"text/plain")", R"("signatures":[])"}) {
    out.push_back({std::string("twice, before: ") + member, std::string("{") + member + "," + good.substr(1), "refused"});
    out.push_back({std::string("twice, after: ") + member, last + "," + member + "}", "refused"});
  }
  std::string entry = good;
  entry.insert(entry.find("\"keyid\""), R"("keyid":"","keyid":"",)");
  out.push_back({"twice in a signature", entry, "refused"});
  out.push_back({"twice where nobody reads", last + R"(,"x":{"a":1,"a":1}})", "refused"});
  out.push_back({"an unknown member once", last + R"(,"x":{"a":1}})", "verified"});
  for (size_t i = 3; i < good.size(); i += good.size() / 40) {
    std::string altered = good;
    altered[i] = altered[i] == 'x' ? 'y' : 'x';
    out.push_back({"byte " + std::to_string(i), altered, "refused"});
    out.push_back({"cut " + std::to_string(i), good.substr(0, i), "refused"});
  }
  return out;
}

const char* OutcomeName(VerifyOutcome outcome) {
  return outcome == VerifyOutcome::kVerified ? "verified" : outcome == VerifyOutcome::kRefused ? "refused" : "inconsistent";
}

TEST(Oracle, BothVerifiersAgree) {
  const char* from_environment = std::getenv("COUNTERMARK_PYTHON");
  const std::string python = from_environment != nullptr ? from_environment : COUNTERMARK_SOURCE_DIR "/build/venv/bin/python";
  const Folder folder;
  if (Shell(folder, "'" + python + "' -c 'import cryptography, mpmath'").exit != 0) {
    GTEST_SKIP() << python << " lacks cryptography or mpmath: run tools/setup, or name another in COUNTERMARK_PYTHON";
  }
  const Ed25519PublicKey key = Ed25519PublicKeyOf(Seed());
  const std::vector<Bundle> bundles = Bundles();
  std::string command = "'" + python + "' '" COUNTERMARK_SOURCE_DIR "/tests/oracle/verify_report.py' '" + folder.Write("key.pem", Ed25519PublicKeyPem(key)) + "'";
  for (size_t i = 0; i < bundles.size(); ++i) command += " '" + folder.Write(std::to_string(i), bundles[i].envelope) + "'";
  const Ran ran = Shell(folder, command);
  ASSERT_EQ(ran.exit, 0) << ran.err;
  std::stringstream lines(ran.out);
  std::string line;
  size_t i = 0;
  for (; std::getline(lines, line); ++i) {
    ASSERT_LT(i, bundles.size());
    const nlohmann::json theirs = nlohmann::json::parse(line);
    const Verification ours = VerifyReport(bundles[i].envelope, key);
    EXPECT_EQ(theirs["outcome"], bundles[i].expected) << bundles[i].name << ": " << theirs["why"];
    EXPECT_STREQ(OutcomeName(ours.outcome), bundles[i].expected) << bundles[i].name << ": " << (ours.failed.empty() ? "" : ours.failed[0]);
  }
  EXPECT_EQ(i, bundles.size());
}

}  // namespace
}  // namespace countermark
