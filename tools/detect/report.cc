// What of a run goes into the signed report.
#include <algorithm>
#include <filesystem>
#include <numeric>
#include <string_view>
#include <unordered_set>

#include "countermark/evidence/report.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/base/utc.h"
#include "tools/detect/run.h"
#include "tools/detect/weights.h"

namespace countermark::detect_tool {
namespace {

// A report of every account of every record could outgrow any reader. Beyond these bounds tests are counted in the ledger and not listed.
constexpr uint64_t kRecordTestsListed = 200000;
constexpr size_t kPooledAccountsListed = 10000;

void AddTests(const DetectionResult& result, const Detector& detector, uint64_t record, const std::string& subject, uint64_t reading, size_t accounts_listed,
              std::vector<ReportTest>* tests) {
  for (const ChannelTest& test : result.channels) {
    ReportTest out;
    out.record = record;
    out.subject = subject;
    out.reading = reading;
    out.name = test.name;
    out.count = test.count;
    tests->push_back(std::move(out));
  }
  std::vector<size_t> order(result.accounts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (order.size() > accounts_listed) {
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return result.accounts[a].log10_p < result.accounts[b].log10_p; });
    order.resize(accounts_listed);
  }
  for (const size_t i : order) {
    ReportTest out;
    out.record = record;
    out.subject = subject;
    out.reading = reading;
    out.kind = TestKind::kAccount;
    out.name = detector.accounts()[i];
    out.count = result.accounts[i].count;
    tests->push_back(std::move(out));
  }
}

}  // namespace

void ReportWriter::Add(const Item& item, uint64_t position) {
  if (unreadable_.size() <= item.raw.file) unreadable_.resize(item.raw.file + 1);
  if (!item.status.ok()) {
    ++unreadable_[item.raw.file];
    return;
  }
  uint64_t tests = 0;
  for (const ReadRecord& read : item.readings) tests += read.result.channels.size() + read.result.accounts.size() + (read.passages ? read.passages->size() : 0) + (read.weighted ? read.weighted->channels.size() + read.weighted->accounts.size() : 0);
  if (listed_ + tests > kRecordTestsListed) {
    ++left_out_;
    return;
  }
  listed_ += tests;
  RecordTests& record = records_.emplace_back(RecordTests{position, item.record.id, {}});
  for (const ReadRecord& read : item.readings) {
    ReadRecord& kept = record.readings.emplace_back();
    kept.result = read.result;
    kept.passages = read.passages;
    kept.weighted = read.weighted;
  }
}

absl::StatusOr<Report> ReportWriter::Make(const Run& run, const InputReader& reader) const {
  const EpochRecord& record = setup_.detector.record();
  Report report;
  report.tool = "watermark-detect";
  report.version = std::string(cli::Version());
  report.created = UtcNow();
  report.mark = record.mark;
  for (const ChannelSpec& channel : record.channels) report.weights.push_back(channel.weight);
  if (setup_.has_record) {
    report.tenant = record.tenant;
    report.epoch = record.epoch;
    report.epoch_record = record.CanonicalJson();
  }
  for (const Reading& reading : setup_.readings) report.readings.push_back({std::string(reading.view()), reading.sha256()});
  if (!options_.keystore.empty()) {
    CM_ASSIGN_OR_RETURN(const std::vector<KeyStore::Commitment> commitments, setup_.store->Commitments(record.epoch));
    const std::unordered_set<std::string_view> accounts(setup_.detector.accounts().begin(), setup_.detector.accounts().end());
    for (const KeyStore::Commitment& commitment : commitments) {
      constexpr std::string_view kAccount = "account:";
      const bool tested = !commitment.name.starts_with(kAccount) ||
                          accounts.contains(std::string_view(commitment.name).substr(kAccount.size()));
      if (tested) report.commitments.push_back({commitment.name, HexEncode(commitment.commitment), HexEncode(commitment.salt)});
    }
  }
  report.commitments_published = options_.commitments_published;
  for (size_t i = 0; i < reader.files().size(); ++i) {
    const InputReader::FileSummary& file = reader.files()[i];
    const std::string name = file.path == "-" ? "-" : std::filesystem::path(file.path).filename().string();
    report.inputs.push_back({name, file.sha256, file.bytes, file.records, i < unreadable_.size() ? unreadable_[i] : 0});
  }
  report.coverage_floor = options_.min_coverage;
  report.ledger = run.ledger;
  if (run.beyond) {  // what --records said is not so; a page of such a run says "inconclusive"
    report.ledger.records = 0;
    report.ledger.questions = TestLedger::QuestionsOf(0, report.ledger.regions > 0, report.ledger.weighted > 0);
  }
  report.alpha = options_.alpha;
  for (size_t i = 0; i < run.pooled_weighted.size(); ++i) {
    AddWeighted(run.pooled_weighted[i], i, setup_.weights->sha256(), setup_.detector.accounts(), 0, "", kPooledAccountsListed, &report.weighted);
  }
  for (size_t i = 0; i < run.pooled.size(); ++i) AddTests(run.pooled[i], setup_.detector, 0, "", i, kPooledAccountsListed, &report.tests);
  for (const RecordTests& record_tests : records_) {
    for (size_t i = 0; i < record_tests.readings.size(); ++i) {
      const ReadRecord& read = record_tests.readings[i];
      AddTests(read.result, setup_.detector, record_tests.position, record_tests.id, i, SIZE_MAX, &report.tests);
      if (read.weighted) {
        AddWeighted(*read.weighted, i, setup_.weights->sha256(), setup_.detector.accounts(), record_tests.position, record_tests.id, SIZE_MAX, &report.weighted);
      }
      if (!read.passages) continue;
      for (const Passage& passage : *read.passages) {
        ReportRegion out;
        out.record = record_tests.position;
        out.subject = record_tests.id;
        out.reading = i;
        out.name = read.result.channels[0].name;
        out.begin = passage.placed.begin;
        out.end = passage.placed.end;
        out.count = passage.placed.region.count;
        report.regions.push_back(std::move(out));
      }
    }
  }
  if (left_out_ > 0) report.limits.push_back(Cat("the tests of ", left_out_, " single records are counted and not listed"));
  if (setup_.detector.accounts().size() > kPooledAccountsListed) {
    report.limits.push_back(Cat("of ", setup_.detector.accounts().size(), " candidate accounts the ", kPooledAccountsListed, " with the smallest p are listed; all are counted"));
  }
  report.limits.push_back("the tests show that the input depends on the key; they do not show how the dependence came about");
  if (setup_.weights != nullptr) report.limits.push_back("weighted tests hold if the model that gave the weights has never been trained on text marked with these keys");
  if (options_.regions) report.limits.push_back("a passage's value is that of the interval as a whole: not every word in it need be marked, and its ends are estimates");
  report.limits.push_back("a mark names the account whose answers were used, not who used them");

  CM_RETURN_IF_ERROR(DeriveValues(&report));
  return report;
}

absl::Status ReportWriter::Write(const Report& report, cli::Output& out) const {
  CM_ASSIGN_OR_RETURN(const Secret32 seed, setup_.store->SigningKey());
  CM_ASSIGN_OR_RETURN(std::string envelope, SignReport(report, seed));
  CM_RETURN_IF_ERROR(out.Write(envelope));
  CM_RETURN_IF_ERROR(out.Write("\n"));
  return out.Commit();
}

}  // namespace countermark::detect_tool
