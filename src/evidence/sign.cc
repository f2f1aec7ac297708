// Signing and opening: the report inside its envelope.
#include <algorithm>

#include "countermark/evidence/dsse.h"
#include "countermark/evidence/report.h"
#include "countermark/keys/epoch.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/evidence/rule.h"

namespace countermark {

absl::Status CheckAgainstRecord(const Report& report) {
  const auto differs = [](std::string_view member) {
    return absl::InvalidArgumentError(Cat(member, ": not what the epoch record says"));
  };
  if (report.epoch_record.empty()) return absl::OkStatus();
  const absl::StatusOr<EpochRecord> record = EpochRecord::Parse(report.epoch_record);
  if (!record.ok()) return absl::InvalidArgumentError(Cat("epoch_record: ", std::string(record.status().message())));
  if (record->CanonicalJson() != report.epoch_record) return absl::InvalidArgumentError("epoch_record: not in canonical form (RFC 8785)");
  if (record->format != report.format) return differs("mark_format");
  if (record->tenant != report.tenant) return differs("tenant");
  if (record->epoch != report.epoch) return differs("epoch");
  if (record->mark.scheme != report.mark.scheme) return differs("parameters.scheme");
  if (record->mark.window != report.mark.window) return differs("parameters.window");
  if (record->mark.green != report.mark.green) return differs("parameters.green");
  if (record->mark.layers != report.mark.layers) return differs("parameters.layers");
  if (record->mark.delta != report.mark.delta) return differs("parameters.delta");
  std::vector<uint32_t> weights;
  for (const ChannelSpec& channel : record->channels) weights.push_back(channel.weight);
  if (weights != report.weights) return differs("parameters.weights");
  // Token ids say nothing of a tokenizer; of the readings of a text, one must be by the tokenizer that the mark was made over.
  const auto recorded = [&](const ReportReading& reading) { return reading.tokenizer_sha256.empty() || reading.tokenizer_sha256 == record->tokenizer_sha256; };
  if (std::none_of(report.readings.begin(), report.readings.end(), recorded)) return differs("readings");
  for (const ReportTest& test : report.tests) {
    if (test.kind == TestKind::kChannel && record->ChannelIndex(test.name) < 0) return differs(Cat("channel '", test.name, "'"));
  }
  for (const ReportWeighted& test : report.weighted) {
    if (test.kind == TestKind::kChannel && record->ChannelIndex(test.name) < 0) return differs(Cat("channel '", test.name, "'"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SignReport(const Report& report, const Secret32& ed25519_seed) {
  CM_RETURN_IF_ERROR(ValidateReport(report));
  CM_RETURN_IF_ERROR(CheckAgainstRecord(report));
  const std::string payload = ReportPayload(report);
  // No reader would open what is larger.
  if (payload.size() > kMaxEnvelopeBytes / 4 * 3 - 4096) {
    return absl::ResourceExhaustedError(Cat("the report would be ", payload.size(), " bytes; list fewer tests (the ledger counts those left out)"));
  }
  return SealEnvelope(kReportPayloadType, payload, ed25519_seed);
}

absl::StatusOr<Report> OpenReport(std::string_view envelope, const Ed25519PublicKey& public_key) {
  CM_ASSIGN_OR_RETURN(const std::string payload, OpenEnvelope(envelope, kReportPayloadType, public_key));
  return ParseReportPayload(payload);
}

}  // namespace countermark
