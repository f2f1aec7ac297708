// Hostile reports: as an envelope, as a payload, and as a payload that the right key has signed. Nothing may crash, and what is accepted must be in its one form.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "countermark/evidence/dsse.h"
#include "countermark/evidence/report.h"
#include "countermark/evidence/verify.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace countermark;
  static const Secret32* const seed = new Secret32(std::span<const uint8_t, 32>(reinterpret_cast<const uint8_t*>("0123456789abcdef0123456789abcdef"), 32));
  static const Ed25519PublicKey key = Ed25519PublicKeyOf(*seed);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Nobody but the fuzzer's own signer has signed anything, so an envelope from outside never opens; the seeds are signed by another key.
  if (VerifyReport(text, key).outcome != VerifyOutcome::kRefused) std::abort();
  (void)ParseEd25519PublicKeyPem(text);

  const absl::StatusOr<Report> report = ParseReportPayload(text);
  if (report.ok()) {
    if (ReportPayload(*report) != text) std::abort();
    Report derived = *report;
    if (!DeriveValues(&derived).ok() || !ValidateReport(derived).ok()) std::abort();
    const absl::StatusOr<Report> again = ParseReportPayload(ReportPayload(derived));
    if (!again.ok()) std::abort();
  }
  const VerifyOutcome outcome = VerifyReport(SealEnvelope(kReportPayloadType, text, *seed), key).outcome;
  if ((outcome != VerifyOutcome::kRefused) != report.ok()) std::abort();
  return 0;
}
