// sign_report: a detection into a signed report, as watermark-detect --report writes it.
#include "countermark/evidence/report.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string_view>
#include <tuple>
#include <unordered_set>

#include "countermark/keys/key_store.h"
#include "python/src/bindings.h"
#include "python/src/detect_run.h"
#include "python/src/errors.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/base/utc.h"

namespace countermark::python {
namespace {

using namespace nb::literals;
using Input = std::tuple<std::string, std::string, uint64_t, uint64_t, uint64_t>;  // name, sha256, bytes, records, unreadable

void AddTests(const DetectionResult& result, const Detector& detector, uint64_t record, const std::string& subject, std::vector<ReportTest>* tests) {
  ReportTest test;
  test.record = record;
  test.subject = subject;
  for (const ChannelTest& channel : result.channels) {
    test.name = channel.name;
    test.count = channel.count;
    tests->push_back(test);
  }
  test.kind = TestKind::kAccount;
  for (size_t i = 0; i < result.accounts.size(); ++i) {
    test.name = detector.accounts()[i];
    test.count = result.accounts[i].count;
    tests->push_back(test);
  }
}

absl::StatusOr<std::string> Sign(const DetectRun& run, const KeyStore& store, const std::vector<Input>& inputs, uint64_t commitments_published) {
  const Detector& detector = run.detector();
  const EpochRecord& record = detector.record();
  Report report;
  report.tool = "countermark-python";
  report.version = countermark_version();
  report.created = UtcNow();
  report.tenant = record.tenant;
  report.epoch = record.epoch;
  report.epoch_record = record.CanonicalJson();
  report.mark = record.mark;
  for (const ChannelSpec& channel : record.channels) report.weights.push_back(channel.weight);
  report.readings.push_back({"raw", run.tokenizer() != nullptr ? run.tokenizer()->sha256() : ""});
  // A store that signs need not be the one that holds the epoch: commitments are taken where the record is the same.
  const auto held = store.Epoch(record.epoch);
  if (held.ok() && held->record.CanonicalJson() == report.epoch_record) {
    CM_ASSIGN_OR_RETURN(const std::vector<KeyStore::Commitment> commitments, store.Commitments(record.epoch));
    const std::unordered_set<std::string_view> accounts(detector.accounts().begin(), detector.accounts().end());
    constexpr std::string_view kAccount = "account:";
    for (const KeyStore::Commitment& c : commitments) {
      const bool tested = !c.name.starts_with(kAccount) || accounts.contains(std::string_view(c.name).substr(kAccount.size()));
      if (tested) report.commitments.push_back({c.name, HexEncode(c.commitment), HexEncode(c.salt)});
    }
  }
  report.commitments_published = commitments_published;
  for (const auto& [name, sha256, bytes, records, unreadable] : inputs) report.inputs.push_back({name, sha256, bytes, records, unreadable});
  report.coverage_floor = run.coverage_floor();
  report.ledger = run.ledger();
  report.alpha = run.alpha();
  AddTests(run.Pooled(), detector, 0, "", &report.tests);
  for (const DetectRun::Kept& kept : run.kept()) AddTests(kept.result, detector, kept.position, kept.id, &report.tests);
  if (run.left_out() > 0) report.limits.push_back(Cat("the tests of ", run.left_out(), " single records are counted and not listed"));
  report.limits.push_back("the tests show that the input depends on the key; they do not show how the dependence came about");
  report.limits.push_back("a mark names the account whose answers were used, not who used them");
  CM_RETURN_IF_ERROR(DeriveValues(&report));
  CM_ASSIGN_OR_RETURN(const Secret32 seed, store.SigningKey());
  return SignReport(report, seed);
}

}  // namespace

void BindReport(nb::module_& m) {
  m.def(
      "sign_report",
      [](const DetectRun& run, const KeyStore& store, const std::vector<Input>& inputs, uint64_t commitments_published) {
        return ValueOrRaise(Sign(run, store, inputs, commitments_published));
      },
      "run"_a, "store"_a, "inputs"_a, "commitments_published"_a, "A DSSE envelope. inputs: (name, sha256, bytes, records, unreadable).");
}

}  // namespace countermark::python
