// The payload: a report as canonical JSON, and back. The members are described in docs/report-format.md.
#include <charconv>

#include "countermark/evidence/report.h"
#include "countermark/keys/epoch.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/evidence/json.h"

namespace countermark {
namespace {

constexpr JsonLimits kPayloadLimits = {.max_bytes = size_t{192} << 20, .max_depth = 4, .max_values = size_t{20} << 20};

std::string DecimalOf(Statistic value) {
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
    value /= 10;
  } while (value != 0);
  return digits;
}

// Digits without a leading zero, at most 38 of them, which always fit 128 bits.
bool ParseDecimal(std::string_view text, Statistic* out) {
  if (text.empty() || text.size() > 38 || (text.size() > 1 && text[0] == '0')) return false;
  Statistic value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  *out = value;
  return true;
}

std::string_view KindName(TestKind kind) { return kind == TestKind::kChannel ? "channel" : "account"; }

nlohmann::json ParametersJson(const Report& report) {
  return {{"scheme", std::string(SchemeName(report.mark.scheme))},
          {"window", report.mark.window},
          {"green", report.mark.green},
          {"delta", report.mark.delta},
          {"layers", report.mark.layers},
          {"weights", report.weights}};
}

nlohmann::json LedgerJson(const TestLedger& ledger) {
  return {{"records", ledger.records},       {"keys", ledger.keys},       {"channels", ledger.channels},
          {"candidates", ledger.candidates}, {"schemes", ledger.schemes}, {"views", ledger.views},
          {"tokenizers", ledger.tokenizers}, {"questions", ledger.questions}, {"regions", ledger.regions},
          {"weighted", ledger.weighted},
          {"total", DecimalOf(ledger.Total())}};
}

nlohmann::json TestJson(const ReportTest& test) {
  return {{"record", test.record},
          {"subject", test.subject},
          {"reading", test.reading},
          {"kind", std::string(KindName(test.kind))},
          {"name", test.name},
          {"scored", test.count.scored},
          {"statistic", DecimalOf(test.count.statistic)},
          {"log10_p", test.log10_p},
          {"log10_e", test.log10_e},
          {"log10_p_adjusted", test.log10_p_adjusted}};
}

nlohmann::json RegionJson(const ReportRegion& region) {
  return {{"record", region.record},
          {"subject", region.subject},
          {"reading", region.reading},
          {"name", region.name},
          {"begin", region.begin},
          {"end", region.end},
          {"scored", region.count.scored},
          {"statistic", DecimalOf(region.count.statistic)},
          {"tries", DecimalOf(region.tries)},
          {"log10_p", region.log10_p},
          {"log10_p_adjusted", region.log10_p_adjusted}};
}

nlohmann::json WeightedJson(const ReportWeighted& test) {
  return {{"record", test.record},
          {"subject", test.subject},
          {"reading", test.reading},
          {"kind", std::string(KindName(test.kind))},
          {"name", test.name},
          {"scored", test.scored},
          {"model_sha256", test.model_sha256},
          {"rule", test.rule},
          {"lambda", test.lambda},
          {"sum", DecimalOf(test.sum)},
          {"log_mgf", test.log_mgf},
          {"display_log10_p", test.display_log10_p},
          {"log10_p", test.log10_p},
          {"log10_p_adjusted", test.log10_p_adjusted}};
}

absl::Status AsError(const std::string& member, std::string_view what) { return absl::InvalidArgumentError(Cat(member, ": ", what)); }

// An integer that must fit an int.
void GetInt(JsonObject* object, std::string_view name, int* out, absl::Status* status) {
  uint64_t value = 0;
  object->Get(name, &value);
  if (value > 1'000'000) {
    if (status->ok()) *status = AsError(std::string(name), "too large");
    return;
  }
  *out = static_cast<int>(value);
}

void ReadParameters(const nlohmann::json& value, Report* report, absl::Status* status) {
  JsonObject object(value, "parameters", status);
  std::string scheme;
  object.Get("scheme", &scheme);
  GetInt(&object, "window", &report->mark.window, status);
  GetInt(&object, "green", &report->mark.green, status);
  object.Get("delta", &report->mark.delta);
  GetInt(&object, "layers", &report->mark.layers, status);
  for (const nlohmann::json& weight : object.Array("weights")) {
    if (!weight.is_number_unsigned() || weight.get<uint64_t>() > 65536) {
      if (status->ok()) *status = AsError("parameters.weights", "integers from 0 to 65536 are expected");
      return;
    }
    report->weights.push_back(weight.get<uint32_t>());
  }
  object.Finish();
  if (!status->ok()) return;
  const absl::StatusOr<Scheme> parsed = ParseScheme(scheme);
  if (!parsed.ok()) {
    *status = AsError("parameters.scheme", "partition, tournament or gumbel is expected");
    return;
  }
  report->mark.scheme = *parsed;
}

void ReadLedger(const nlohmann::json& value, TestLedger* ledger, absl::Status* status) {
  JsonObject object(value, "ledger", status);
  object.Get("records", &ledger->records);
  object.Get("keys", &ledger->keys);
  object.Get("channels", &ledger->channels);
  object.Get("candidates", &ledger->candidates);
  object.Get("schemes", &ledger->schemes);
  object.Get("views", &ledger->views);
  object.Get("tokenizers", &ledger->tokenizers);
  object.Get("questions", &ledger->questions);
  object.Get("regions", &ledger->regions);
  object.Get("weighted", &ledger->weighted);
  std::string total;
  object.Get("total", &total);
  object.Finish();
  if (status->ok() && total != DecimalOf(ledger->Total())) *status = AsError("ledger.total", "not the number of tests that the factors give");
}

void SetKind(const std::string& name, const std::string& at, TestKind* kind, absl::Status* status) {
  if (!status->ok()) return;
  if (name == "channel") {
    *kind = TestKind::kChannel;
  } else if (name == "account") {
    *kind = TestKind::kAccount;
  } else {
    *status = AsError(at + ".kind", "channel or account is expected");
  }
}

void SetDecimal(const std::string& digits, const std::string& member, Statistic* value, absl::Status* status) {
  if (status->ok() && !ParseDecimal(digits, value)) *status = AsError(member, "decimal digits are expected");
}

void ReadTest(const nlohmann::json& value, const std::string& at, ReportTest* test, absl::Status* status) {
  JsonObject object(value, at, status);
  std::string kind;
  std::string statistic;
  object.Get("record", &test->record);
  object.Get("subject", &test->subject);
  object.Get("reading", &test->reading);
  object.Get("kind", &kind);
  object.Get("name", &test->name);
  object.Get("scored", &test->count.scored);
  object.Get("statistic", &statistic);
  object.Get("log10_p", &test->log10_p);
  object.Get("log10_e", &test->log10_e);
  object.Get("log10_p_adjusted", &test->log10_p_adjusted);
  object.Finish();
  SetKind(kind, at, &test->kind, status);
  SetDecimal(statistic, at + ".statistic", &test->count.statistic, status);
}

void ReadRegion(const nlohmann::json& value, const std::string& at, ReportRegion* region, absl::Status* status) {
  JsonObject object(value, at, status);
  std::string statistic;
  std::string tries;
  object.Get("record", &region->record);
  object.Get("subject", &region->subject);
  object.Get("reading", &region->reading);
  object.Get("name", &region->name);
  object.Get("begin", &region->begin);
  object.Get("end", &region->end);
  object.Get("scored", &region->count.scored);
  object.Get("statistic", &statistic);
  object.Get("tries", &tries);
  object.Get("log10_p", &region->log10_p);
  object.Get("log10_p_adjusted", &region->log10_p_adjusted);
  object.Finish();
  SetDecimal(statistic, at + ".statistic", &region->count.statistic, status);
  SetDecimal(tries, at + ".tries", &region->tries, status);
}

void ReadWeighted(const nlohmann::json& value, const std::string& at, ReportWeighted* test, absl::Status* status) {
  JsonObject object(value, at, status);
  std::string kind;
  std::string sum;
  object.Get("record", &test->record);
  object.Get("subject", &test->subject);
  object.Get("reading", &test->reading);
  object.Get("kind", &kind);
  object.Get("name", &test->name);
  object.Get("scored", &test->scored);
  object.Get("model_sha256", &test->model_sha256);
  object.Get("rule", &test->rule);
  object.Get("lambda", &test->lambda);
  object.Get("sum", &sum);
  object.Get("log_mgf", &test->log_mgf);
  object.Get("display_log10_p", &test->display_log10_p);
  object.Get("log10_p", &test->log10_p);
  object.Get("log10_p_adjusted", &test->log10_p_adjusted);
  object.Finish();
  SetKind(kind, at, &test->kind, status);
  SetDecimal(sum, at + ".sum", &test->sum, status);
}

void ReadReading(const nlohmann::json& value, const std::string& at, ReportReading* reading, absl::Status* status) {
  JsonObject object(value, at, status);
  object.Get("view", &reading->view);
  object.Get("tokenizer_sha256", &reading->tokenizer_sha256);
  object.Finish();
}

void ReadInput(const nlohmann::json& value, const std::string& at, ReportInput* input, absl::Status* status) {
  JsonObject object(value, at, status);
  object.Get("name", &input->name);
  object.Get("sha256", &input->sha256);
  object.Get("bytes", &input->bytes);
  object.Get("records", &input->records);
  object.Get("unreadable", &input->unreadable);
  object.Finish();
}

void ReadCommitment(const nlohmann::json& value, const std::string& at, ReportCommitment* commitment, absl::Status* status) {
  JsonObject object(value, at, status);
  object.Get("name", &commitment->name);
  object.Get("commitment", &commitment->commitment);
  object.Get("salt", &commitment->salt);
  object.Finish();
}

// Reads an array of objects, one entry of *out each.
template <typename T, typename Read>
void ReadList(const nlohmann::json& array, const char* name, Read read, std::vector<T>* out, absl::Status* status) {
  out->reserve(array.size());
  for (size_t i = 0; i < array.size() && status->ok(); ++i) read(array[i], Cat(name, "[", i, "]"), &out->emplace_back(), status);
}

bool ReadVerdict(const std::string& name, Verdict* out) {
  for (const Verdict verdict : {Verdict::kNoEvidence, Verdict::kEvidence, Verdict::kInconclusive}) {
    if (name == VerdictName(verdict)) {
      *out = verdict;
      return true;
    }
  }
  return false;
}

}  // namespace

std::string ReportPayload(const Report& report) {
  nlohmann::json inputs = nlohmann::json::array();
  for (const ReportInput& input : report.inputs) {
    inputs.push_back({{"name", input.name}, {"sha256", input.sha256}, {"bytes", input.bytes}, {"records", input.records}, {"unreadable", input.unreadable}});
  }
  nlohmann::json commitments = nlohmann::json::array();
  for (const ReportCommitment& commitment : report.commitments) {
    commitments.push_back({{"name", commitment.name}, {"commitment", commitment.commitment}, {"salt", commitment.salt}});
  }
  nlohmann::json tests = nlohmann::json::array();
  for (const ReportTest& test : report.tests) tests.push_back(TestJson(test));
  nlohmann::json regions = nlohmann::json::array();
  for (const ReportRegion& region : report.regions) regions.push_back(RegionJson(region));
  nlohmann::json weighted = nlohmann::json::array();
  for (const ReportWeighted& test : report.weighted) weighted.push_back(WeightedJson(test));
  nlohmann::json readings = nlohmann::json::array();
  for (const ReportReading& reading : report.readings) readings.push_back({{"view", reading.view}, {"tokenizer_sha256", reading.tokenizer_sha256}});
  return CanonicalJson({{"schema_version", kReportSchemaVersion},
                        {"tool", report.tool},
                        {"version", report.version},
                        {"mark_format", report.format},
                        {"created", report.created},
                        {"tenant", report.tenant},
                        {"epoch", report.epoch},
                        {"epoch_record", report.epoch_record},
                        {"parameters", ParametersJson(report)},
                        {"readings", std::move(readings)},
                        {"commitments", std::move(commitments)},
                        {"commitments_published", report.commitments_published},
                        {"inputs", std::move(inputs)},
                        {"coverage_floor", report.coverage_floor},
                        {"tests", std::move(tests)},
                        {"regions", std::move(regions)},
                        {"weighted", std::move(weighted)},
                        {"ledger", LedgerJson(report.ledger)},
                        {"alpha", report.alpha},
                        {"verdict", std::string(VerdictName(report.verdict))},
                        {"uncorrected", report.ledger.records == 0},
                        {"limits", report.limits}});
}

absl::StatusOr<Report> ParseReportPayload(std::string_view payload) {
  absl::StatusOr<nlohmann::json> parsed = ParseJson(payload, kPayloadLimits);
  if (!parsed.ok()) return absl::InvalidArgumentError(Cat("the payload: ", std::string(parsed.status().message())));
  absl::Status status;
  Report report;
  JsonObject object(*parsed, "report", &status);
  CM_RETURN_IF_ERROR(status);
  // First, so that a report of another version is told apart from a broken one.
  uint64_t schema_version = 0;
  object.Get("schema_version", &schema_version);
  CM_RETURN_IF_ERROR(status);
  if (schema_version != kReportSchemaVersion) {
    return AsError("report.schema_version", Cat("this build reads version ", kReportSchemaVersion, ", not ", schema_version, "; use the release that wrote the report"));
  }
  std::string verdict;
  bool uncorrected = false;
  object.Get("tool", &report.tool);
  object.Get("version", &report.version);
  GetInt(&object, "mark_format", &report.format, &status);
  object.Get("created", &report.created);
  object.Get("tenant", &report.tenant);
  object.Get("epoch", &report.epoch);
  object.Get("epoch_record", &report.epoch_record);
  ReadParameters(object.Object("parameters"), &report, &status);
  ReadList(object.Array("readings"), "readings", ReadReading, &report.readings, &status);
  ReadList(object.Array("commitments"), "commitments", ReadCommitment, &report.commitments, &status);
  object.Get("commitments_published", &report.commitments_published);
  ReadList(object.Array("inputs"), "inputs", ReadInput, &report.inputs, &status);
  object.Get("coverage_floor", &report.coverage_floor);
  ReadList(object.Array("tests"), "tests", ReadTest, &report.tests, &status);
  ReadList(object.Array("regions"), "regions", ReadRegion, &report.regions, &status);
  ReadList(object.Array("weighted"), "weighted", ReadWeighted, &report.weighted, &status);
  ReadLedger(object.Object("ledger"), &report.ledger, &status);
  object.Get("alpha", &report.alpha);
  object.Get("verdict", &verdict);
  object.Get("uncorrected", &uncorrected);
  for (const nlohmann::json& limit : object.Array("limits")) {
    if (!limit.is_string()) return AsError("limits", "strings are expected");
    report.limits.push_back(limit.get<std::string>());
  }
  object.Finish();
  CM_RETURN_IF_ERROR(status);
  if (!ReadVerdict(verdict, &report.verdict)) return AsError("verdict", "evidence, no evidence or inconclusive is expected");
  if (uncorrected != (report.ledger.records == 0)) return AsError("uncorrected", "does not agree with ledger.records");
  CM_RETURN_IF_ERROR(ValidateReport(report));
  // One report, one sequence of bytes: no second member of the same name, no other spelling of a number, can mean different things to two readers.
  if (ReportPayload(report) != payload) return absl::InvalidArgumentError("the payload is not in canonical form (RFC 8785)");
  return report;
}

}  // namespace countermark
