// Checks a report as a third party would. Takes the envelope and what the reader has at hand; gives what holds, what does not, and what
// could not be looked at, in plain sentences.
//
//   VerifyMaterial have;  have.input_sha256 = {…};
//   Verification v = VerifyReport(envelope, public_key, have);
//   if (v.outcome == VerifyOutcome::kVerified) …
#ifndef COUNTERMARK_EVIDENCE_VERIFY_H_
#define COUNTERMARK_EVIDENCE_VERIFY_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "countermark/evidence/ed25519.h"
#include "countermark/evidence/report.h"
#include "countermark/keys/derive.h"
#include "countermark/keys/secret.h"

namespace countermark {

// A key that its holder has revealed, to be compared with its commitment.
struct RevealedKey {
  std::string name;              // "base", "route", "account:LABEL"
  Secret32 key;
  std::optional<Digest32> salt;  // needed where the report does not carry it
};

// What the reader has beside the report. All of it optional.
struct VerifyMaterial {
  struct File {
    std::string path;    // for messages
    std::string sha256;  // lower-case hex
  };
  std::vector<File> inputs;
  std::vector<File> tokenizers;
  std::vector<RevealedKey> revealed;
};

enum class VerifyOutcome {
  kVerified,      // authentic, and every value follows from the counts
  kRefused,       // not signed by that key, altered, or not a report
  kInconsistent,  // authentic, but it contradicts itself or the files and keys given
};

struct Verification {
  VerifyOutcome outcome = VerifyOutcome::kRefused;
  std::optional<Report> report;          // absent where refused
  std::vector<std::string> checked;      // what was looked at and holds
  std::vector<std::string> failed;       // what does not hold; not empty unless verified
  std::vector<std::string> not_checked;  // what could not be looked at, and what would be needed
  std::vector<std::string> weight;       // what stands between these numbers and evidence against anyone (statistics.md, Evidence)
  // log10 of what the smallest decisive value becomes against a key's holder who may have searched for a key: adjusted, times the commitments
  // published (1 where unknown), times 2⁸⁰. Absent where there is no test.
  std::optional<double> log10_p_after_grinding;
};

Verification VerifyReport(std::string_view envelope, const Ed25519PublicKey& public_key, const VerifyMaterial& material = {});

// log10 of 2⁸⁰, the bound on key grinding.
inline constexpr double kLog10Grinding = 24.082399653118497;

}  // namespace countermark

#endif  // COUNTERMARK_EVIDENCE_VERIFY_H_
