// What the tests of evidence share: a small report, the vectors, files of their own, and runs of other programs.
#ifndef COUNTERMARK_TESTS_EVIDENCE_SAMPLE_H_
#define COUNTERMARK_TESTS_EVIDENCE_SAMPLE_H_

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "countermark/evidence/report.h"
#include "countermark/keys/derive.h"
#include "countermark/keys/epoch.h"
#include "src/base/hex.h"

namespace countermark::evidence_test {

inline Secret32 Seed(uint8_t first = 0) {
  std::array<uint8_t, 32> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(first + i);
  return Secret32(bytes);
}

inline std::string Hex(std::string_view bytes) { return HexEncode(Sha256(bytes)); }

inline EpochRecord SampleRecord(Scheme scheme) {
  EpochRecord record;
  record.tenant = "acme";
  record.epoch = "2026-11";
  record.mark.scheme = scheme;
  record.vocabulary = 49152;
  record.tokenizer_sha256 = Hex("tokenizer");
  record.first_use = "2026-11-01T00:00:00Z";
  record.last_use = "2026-12-01T00:00:00Z";
  return record;
}

// Counts as a marked text of about `scored` pairs gives them (strong), or as an unmarked one does.
inline ChannelCount SampleCount(Scheme scheme, uint64_t scored, bool strong) {
  switch (scheme) {
    case Scheme::kPartition: return {scored, scored * (strong ? 50 : 25) / 100};
    case Scheme::kTournament: return {scored, scored * 30 * (strong ? 60 : 50) / 100};
    case Scheme::kGumbel: return {scored, (Statistic{scored} << 40) * (strong ? 18 : 10) / 10 + 12345};
  }
  return {};
}

// Three records, the second of them marked; a pooled test of the base channel and of two of 1,000 accounts. Values not yet derived.
inline Report SampleReport(Scheme scheme = Scheme::kGumbel) {
  const EpochRecord record = SampleRecord(scheme);
  Report report;
  report.tool = "watermark-detect";
  report.version = "0.1.0";
  report.created = "2026-11-24T08:00:00Z";
  report.tenant = record.tenant;
  report.epoch = record.epoch;
  report.epoch_record = record.CanonicalJson();
  report.mark = record.mark;
  report.weights = {32768, 32768};
  report.readings = {{"raw", record.tokenizer_sha256}};
  const Digest32 salt = Sha256(std::string_view("salt"));
  report.commitments = {{"base", HexEncode(CommitToKey(salt, Seed(100), report.epoch_record)), HexEncode(salt)}};
  report.commitments_published = 12;
  report.inputs = {{"suspect.jsonl", Hex("suspect"), 7, 3, 0}};
  report.coverage_floor = 0.95;
  const auto test = [&](uint64_t at, const char* subject, TestKind kind, const char* name, uint64_t scored, bool strong) {
    ReportTest out;
    out.record = at;
    out.subject = subject;
    out.kind = kind;
    out.name = name;
    out.count = SampleCount(scheme, scored, strong);
    report.tests.push_back(out);
  };
  test(0, "", TestKind::kChannel, "base", 900, true);
  test(0, "", TestKind::kAccount, "org-1", 800, true);
  test(0, "", TestKind::kAccount, "org-2", 800, false);
  test(1, "a", TestKind::kChannel, "base", 300, false);
  test(2, "b", TestKind::kChannel, "base", 300, true);
  test(3, "c", TestKind::kChannel, "base", 300, false);
  report.ledger = {.records = 3, .channels = 1, .candidates = 1000, .questions = 2};
  report.limits = {"A mark names whose answers were used, not who used them."};
  return report;
}

// Two views by two tokenizers, passages and weights beside.
inline Report FullReport(Scheme scheme = Scheme::kGumbel) {
  Report report = SampleReport(scheme);
  const std::string own = report.readings[0].tokenizer_sha256, other = Hex("another tokenizer");
  report.readings = {{"raw", own}, {"cleaned", own}, {"raw", other}, {"cleaned", other}};
  ReportTest again = report.tests[4];
  again.reading = 1;
  again.count = SampleCount(scheme, 310, true);
  report.tests.push_back(again);
  again.kind = TestKind::kAccount;
  again.name = "org-1";
  report.tests.push_back(again);
  const auto region = [&](uint64_t reading, uint64_t begin, uint64_t end, uint64_t scored) {
    ReportRegion out;
    out.record = 2;
    out.subject = "b";
    out.reading = reading;
    out.name = "base";
    out.begin = begin;
    out.end = end;
    out.count = SampleCount(scheme, scored, true);
    report.regions.push_back(out);
  };
  region(0, 10, 400, 100);
  region(1, 12, 380, 95);
  const auto weighted = [&](uint64_t record, TestKind kind, const char* name, Statistic sum) {
    ReportWeighted out;
    out.record = record;
    out.subject = record == 2 ? "b" : "";
    out.kind = kind;
    out.name = name;
    out.scored = 250;
    out.model_sha256 = Hex("model");
    out.rule = "entropy";
    out.lambda = 0x1p-33;
    out.sum = sum << 33;
    out.log_mgf = 60;
    out.display_log10_p = -9;
    report.weighted.push_back(out);
  };
  weighted(0, TestKind::kChannel, "base", 70);
  weighted(2, TestKind::kChannel, "base", 100);
  weighted(2, TestKind::kAccount, "org-1", 101);
  weighted(2, TestKind::kAccount, "org-2", 50);
  report.ledger = {.records = 3, .channels = 1, .candidates = 1000, .views = 2, .tokenizers = 2, .questions = 5, .regions = 1, .weighted = 1};
  return report;
}

inline Report DerivedReport(Scheme scheme = Scheme::kGumbel) {
  Report report = SampleReport(scheme);
  EXPECT_TRUE(DeriveValues(&report).ok());
  return report;
}

inline std::string ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

inline nlohmann::json Vectors() { return nlohmann::json::parse(ReadText(COUNTERMARK_TEST_VECTORS "/report-v2.json")); }

// A folder of the test's own, removed at its end.
class Folder {
 public:
  Folder() {
    std::string name = ::testing::TempDir() + "countermark-evidence-XXXXXX";
    path_ = mkdtemp(name.data()) == nullptr ? "" : name;
    EXPECT_FALSE(path_.empty());
  }
  ~Folder() {
    if (!path_.empty() && std::system(("rm -rf '" + path_ + "'").c_str()) != 0) std::perror(path_.c_str());
  }
  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  std::string Write(const std::string& name, std::string_view text) const {
    std::ofstream(Path(name), std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
    return Path(name);
  }

 private:
  std::string path_;
};

struct Ran {
  int exit = -1;
  std::string out;  // standard output
  std::string err;
};

// Runs a shell command line.
inline Ran Shell(const Folder& folder, const std::string& command) {
  Ran ran;
  const int status = std::system(("(" + command + ") >'" + folder.Path("stdout") + "' 2>'" + folder.Path("stderr") + "'").c_str());
  ran.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  ran.out = ReadText(folder.Path("stdout"));
  ran.err = ReadText(folder.Path("stderr"));
  return ran;
}

}  // namespace countermark::evidence_test

#endif  // COUNTERMARK_TESTS_EVIDENCE_SAMPLE_H_
