// What of a run goes into the signed report.
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <numeric>
#include <string_view>
#include <unordered_set>

#include "countermark/evidence/report.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/detect/run.h"

namespace countermark::detect_tool {
namespace {

// A report of every account of every record could outgrow any reader. Beyond these bounds tests are counted in the ledger and not listed.
constexpr uint64_t kRecordTestsListed = 200000;
constexpr size_t kPooledAccountsListed = 10000;

std::string UtcNow() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

void AddTests(const DetectionResult& result, const Detector& detector, uint64_t record, const std::string& subject, size_t accounts_listed,
              std::vector<ReportTest>* tests) {
  for (const ChannelTest& test : result.channels) {
    ReportTest out;
    out.record = record;
    out.subject = subject;
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
  const uint64_t tests = item.result.channels.size() + item.result.accounts.size() + (item.passages ? item.passages->size() : 0);
  if (listed_ + tests > kRecordTestsListed) {
    ++left_out_;
    return;
  }
  listed_ += tests;
  records_.push_back({position, item.record.id, item.result, item.passages.value_or(std::vector<Passage>())});
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
  report.readings.push_back({"raw", setup_.tokenizer != nullptr ? setup_.tokenizer->sha256() : ""});
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
  report.alpha = options_.alpha;
  AddTests(run.pooled, setup_.detector, 0, "", kPooledAccountsListed, &report.tests);
  for (const RecordTests& tests : records_) {
    AddTests(tests.result, setup_.detector, tests.position, tests.id, SIZE_MAX, &report.tests);
    for (const Passage& passage : tests.passages) {
      ReportRegion out;
      out.record = tests.position;
      out.subject = tests.id;
      out.name = tests.result.channels[0].name;
      out.begin = passage.placed.begin;
      out.end = passage.placed.end;
      out.count = passage.placed.region.count;
      report.regions.push_back(std::move(out));
    }
  }
  if (left_out_ > 0) report.limits.push_back(Cat("the tests of ", left_out_, " single records are counted and not listed"));
  if (run.pooled.accounts.size() > kPooledAccountsListed) {
    report.limits.push_back(Cat("of ", run.pooled.accounts.size(), " candidate accounts the ", kPooledAccountsListed, " with the smallest p are listed; all are counted"));
  }
  report.limits.push_back("the tests show that the input depends on the key; they do not show how the dependence came about");
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
