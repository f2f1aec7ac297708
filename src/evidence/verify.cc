#include "countermark/evidence/verify.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "src/base/hex.h"
#include "src/base/strings.h"
#include "src/evidence/rule.h"

namespace countermark {
namespace {

constexpr size_t kKeysNamed = 8;  // of unrevealed keys; a report may hold a million accounts

std::string_view MessageOf(const absl::Status& status) { return {status.message().data(), status.message().size()}; }

std::string Decimal(double value, const char* format = "%.6g") {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

// Within 1e-9, of the value (or of the terms it is the difference of) where it is above 1: what two correct implementations of a logarithm of a tail may differ by.
bool Agree(double a, double b, double terms = 0) { return std::fabs(a - b) <= 1e-9 * std::max({1.0, std::fabs(b), terms}); }

template <typename T>
std::string NameOf(const T& test, std::string_view kind) {
  return Cat(test.record == 0 ? std::string("pooled") : Cat("record ", test.record), ", reading ", test.reading, ", ", kind, " '", test.name, "'");
}
std::string NameOf(const ReportTest& test) { return NameOf(test, test.kind == TestKind::kChannel ? "channel" : "account"); }
std::string NameOf(const ReportWeighted& test) { return NameOf(test, test.kind == TestKind::kChannel ? "weighted, channel" : "weighted, account"); }
std::string NameOf(const ReportRegion& region) { return NameOf(region, Cat("bytes ", region.begin, " to ", region.end, ", channel")); }

// One value of everything in a list: how many agree, and the first that does not, said in full. `slack(item)`: how large the terms were that made it.
template <typename T, typename Slack>
void CompareValue(const std::vector<T>& stated, const std::vector<T>& derived, double T::*value, std::string_view what, std::string_view member, const Slack& slack,
                  Verification* out) {
  size_t wrong = 0;
  std::string first;
  for (size_t i = 0; i < stated.size(); ++i) {
    const double is = stated[i].*value;
    const double should = derived[i].*value;
    if (Agree(is, should, slack(derived[i]))) continue;
    if (wrong++ == 0) {
      first = Cat(NameOf(stated[i]), ": ", member, " is stated as ", Decimal(is, "%.12g"), ", but ", Decimal(should, "%.12g"), " follows from the counts");
    }
  }
  if (wrong > 0) {
    out->failed.push_back(Cat(what, ": ", wrong, " of ", stated.size(), " do not follow from the counts; first: ", first));
  } else {
    out->checked.push_back(Cat(what, ": all ", stated.size(), " follow from the counts"));
  }
}

void CheckRegions(const Report& report, const Report& derived, Verification* out) {
  if (report.ledger.regions == 0) return;
  const auto plain = [](const ReportRegion&) { return 0.0; };
  for (size_t i = 0; i < report.regions.size(); ++i) {
    if (report.regions[i].tries == derived.regions[i].tries) continue;
    out->failed.push_back(Cat("passages: ", NameOf(report.regions[i]), ": tries is not the number of intervals that the two counts give"));
    return;
  }
  CompareValue(report.regions, derived.regions, &ReportRegion::log10_p, "p-values of passages", "log10_p", plain, out);
  CompareValue(report.regions, derived.regions, &ReportRegion::log10_p_adjusted, "corrections of passages for every interval that could have been tried", "log10_p_adjusted", plain, out);
}

void CheckWeighted(const Report& report, const Report& derived, Verification* out) {
  if (report.weighted.empty()) return;
  const auto terms = [](const ReportWeighted& test) { return std::fabs(test.log_mgf); };  // two large numbers may leave a small one
  CompareValue(report.weighted, derived.weighted, &ReportWeighted::log10_p, "bounds of weighted tests", "log10_p", terms, out);
  CompareValue(report.weighted, derived.weighted, &ReportWeighted::log10_p_adjusted, "corrections of weighted tests", "log10_p_adjusted", terms, out);
  out->not_checked.push_back("weighted sums: 'sum' and 'log_mgf' are taken as stated; they follow from the text, the keys and the model whose SHA-256 is named");
}

void CheckValues(const Report& report, Verification* out) {
  Report derived = report;
  if (const absl::Status status = DeriveValues(&derived); !status.ok()) {
    out->failed.push_back(Cat("the counts cannot be: ", MessageOf(status)));
    return;
  }
  const auto plain = [](const ReportTest&) { return 0.0; };
  CompareValue(report.tests, derived.tests, &ReportTest::log10_p, "p-values", "log10_p", plain, out);
  CompareValue(report.tests, derived.tests, &ReportTest::log10_e, "e-values", "log10_e", plain, out);
  CompareValue(report.tests, derived.tests, &ReportTest::log10_p_adjusted, "corrections for the number of tests", "log10_p_adjusted", plain, out);
  CheckRegions(report, derived, out);
  CheckWeighted(report, derived, out);
  // From the derived values, and again from the stated ones: they differ by rounding at most, and a value that stands at alpha itself must not make a good report fail.
  if (report.verdict == derived.verdict || report.verdict == VerdictOf(report)) {
    out->checked.push_back(Cat("verdict: '", VerdictName(report.verdict), "' follows at alpha = ", Decimal(report.alpha)));
  } else {
    out->failed.push_back(Cat("verdict: stated as '", VerdictName(report.verdict), "', but '", VerdictName(derived.verdict), "' follows at alpha = ", Decimal(report.alpha)));
  }
}

void CheckRecord(const Report& report, Verification* out) {
  if (report.epoch_record.empty()) {
    out->not_checked.push_back("epoch record: the report has none (a bare key was used), so nothing published says how this test was fixed beforehand");
    return;
  }
  const absl::Status status = CheckAgainstRecord(report);
  if (status.ok()) {
    out->checked.push_back(Cat("epoch record: parameters, channels and tokenizer are those of '", report.tenant, "', epoch '", report.epoch, "'"));
  } else {
    out->failed.push_back(std::string(MessageOf(status)));
  }
}

void CheckFiles(const Report& report, const VerifyMaterial& material, Verification* out) {
  for (const ReportInput& input : report.inputs) {
    const bool given = std::any_of(material.inputs.begin(), material.inputs.end(), [&](const auto& file) { return file.sha256 == input.sha256; });
    if (given) {
      out->checked.push_back(Cat("input '", input.name, "': the file given is the one that was tested (SHA-256 ", input.sha256, ")"));
    } else {
      out->not_checked.push_back(Cat("input '", input.name, "': no file with its SHA-256 (", input.sha256, ") was given"));
    }
  }
  for (const VerifyMaterial::File& file : material.inputs) {
    const bool named = std::any_of(report.inputs.begin(), report.inputs.end(), [&](const ReportInput& input) { return file.sha256 == input.sha256; });
    if (!named) out->failed.push_back(Cat("'", file.path, "' is not an input of this report: its SHA-256 is ", file.sha256));
  }
  std::vector<std::string_view> used;  // each once, in the order of the readings
  for (const ReportReading& reading : report.readings) {
    if (!reading.tokenizer_sha256.empty() && std::find(used.begin(), used.end(), reading.tokenizer_sha256) == used.end()) used.push_back(reading.tokenizer_sha256);
  }
  for (const std::string_view sha256 : used) {
    const auto given = std::find_if(material.tokenizers.begin(), material.tokenizers.end(), [&](const auto& file) { return file.sha256 == sha256; });
    if (given != material.tokenizers.end()) {
      out->checked.push_back(Cat("tokenizer: '", given->path, "' is ", used.size() == 1 ? "the one" : "one", " that was used"));
    } else {
      out->not_checked.push_back(Cat("tokenizer: no file with its SHA-256 (", sha256, ") was given"));
    }
  }
  for (const VerifyMaterial::File& file : material.tokenizers) {
    if (used.empty()) {
      out->failed.push_back(Cat("'", file.path, "': the report names no tokenizer (token ids were tested)"));
    } else if (std::find(used.begin(), used.end(), file.sha256) == used.end()) {
      out->failed.push_back(Cat("tokenizer: '", file.path, "' has SHA-256 ", file.sha256, ", and is none that the report names"));
    }
  }
}

void CheckKey(const Report& report, const ReportCommitment& commitment, const RevealedKey& revealed, Verification* out) {
  Digest32 salt;
  if (commitment.salt.empty() && !revealed.salt) {
    out->not_checked.push_back(Cat("key '", revealed.name, "': neither the report nor the revealed key carries the commitment's salt"));
    return;
  }
  if (commitment.salt.empty()) {
    salt = *revealed.salt;
  } else {
    HexDecodeInto(commitment.salt, salt);  // 64 hex digits: the report is valid
    if (revealed.salt && *revealed.salt != salt) {
      out->failed.push_back(Cat("key '", revealed.name, "': its salt is not the one in the report"));
      return;
    }
  }
  if (HexEncode(CommitToKey(salt, revealed.key, report.epoch_record)) == commitment.commitment) {
    out->checked.push_back(Cat("key '", revealed.name, "': the revealed key, with the epoch record, is what was committed to"));
  } else {
    out->failed.push_back(Cat("key '", revealed.name, "': the revealed key does not open the commitment ", commitment.commitment));
  }
}

void CheckKeys(const Report& report, const VerifyMaterial& material, Verification* out) {
  std::unordered_map<std::string_view, const ReportCommitment*> commitments;  // of as many accounts as there are, so never searched in a row
  for (const ReportCommitment& commitment : report.commitments) commitments.emplace(commitment.name, &commitment);
  std::unordered_set<std::string_view> revealed_names;
  for (const RevealedKey& revealed : material.revealed) {
    revealed_names.insert(revealed.name);
    const auto it = commitments.find(revealed.name);
    if (it == commitments.end()) {
      out->failed.push_back(Cat("key '", revealed.name, "': the report names no commitment to it"));
    } else {
      CheckKey(report, *it->second, revealed, out);
    }
  }
  size_t sealed = 0;
  for (const ReportCommitment& commitment : report.commitments) {
    if (revealed_names.contains(commitment.name) || ++sealed > kKeysNamed) continue;
    out->not_checked.push_back(Cat("key '", commitment.name, "': not revealed, so its commitment (", commitment.commitment, ") was not opened"));
  }
  if (sealed > kKeysNamed) out->not_checked.push_back(Cat("and ", sealed - kKeysNamed, " more keys, not revealed either"));
  out->not_checked.push_back(
      "counts: 'scored' and 'statistic' are taken as stated; to count again, run watermark-detect on the inputs with the revealed keys");
}

// A key that was not committed to could have been chosen to fit the text, whatever other keys were committed to: each test that makes the verdict is
// looked at on its own.
void SayCommitments(const Report& report, Verification* out) {
  std::unordered_set<std::string_view> committed;
  for (const ReportCommitment& commitment : report.commitments) committed.insert(commitment.name);
  std::set<std::string> open;  // keys of decisive tests that reach alpha, without a commitment
  bool covered = false;
  bool found = false;
  const double log10_alpha = std::log10(report.alpha);
  for (const Claim& claim : DecisiveClaims(report)) {
    if (claim.log10_p_adjusted > log10_alpha) continue;
    found = true;
    const bool channel = claim.kind == TestKind::kChannel;
    const std::string name = channel ? std::string(claim.name) : Cat("account:", claim.name);
    if (name != "route" && committed.contains(name)) {  // the route key marks nothing
      covered = true;
    } else {
      open.insert(Cat(channel ? "channel '" : "account '", claim.name, "'"));
    }
  }
  size_t said = 0;
  for (const std::string& key : open) {
    if (++said > kKeysNamed) break;
    out->weight.push_back(Cat("no weight: no commitment to the key of ", key, ", so it could have been chosen after the text was known"));
  }
  if (open.size() > kKeysNamed) out->weight.push_back(Cat("no weight: nor to the keys of ", open.size() - kKeysNamed, " more"));
  if (!found) out->weight.push_back("no test reaches alpha, so there is no key whose commitment matters");
  if (covered) out->weight.push_back("a commitment counts from the time a third party saw it; this report does not show when that was");
}

// What separates a consistent report from evidence (statistics.md, Evidence). Every point is said, even where the report cannot speak to it.
void SayWeight(const Report& report, Verification* out) {
  out->weight.push_back(
      "no weight yet: no third party's time stamp shows that the suspect existed before the keys were revealed, and whoever holds a key can make marked text");
  SayCommitments(report, out);
  double best = 1;
  for (const Claim& claim : DecisiveClaims(report)) best = std::min(best, claim.log10_p_adjusted);
  if (best <= 0) {
    const double published = std::log10(static_cast<double>(std::max<uint64_t>(1, report.commitments_published)));
    out->log10_p_after_grinding = std::min(0.0, best + kLog10Grinding + published);
    out->weight.push_back(Cat(
        "unless the text is independently shown to be newer than the commitment, a holder may have searched for a key that fits it: multiply p by 2^80 and by the number of published commitments (",
        report.commitments_published == 0 ? std::string("not stated; 1 taken") : std::to_string(report.commitments_published),
        "); the smallest log10 p that decides the verdict, corrected, ", Decimal(best), ", then becomes ", Decimal(*out->log10_p_after_grinding)));
  }
  if (report.ledger.records == 0) {
    out->weight.push_back("uncorrected: the number of records was not known, so values of single records are not corrected for it");
  }
  out->weight.push_back("the 'created' time is the signer's own word");
  out->weight.push_back("nothing here can show that the key's holder did not leak a key or make the marked text");
  out->weight.push_back("a mark names whose answers were used, not who used them, nor by which way they came");
}

}  // namespace

Verification VerifyReport(std::string_view envelope, const Ed25519PublicKey& public_key, const VerifyMaterial& material) {
  Verification out;
  absl::StatusOr<Report> report = OpenReport(envelope, public_key);
  if (!report.ok()) {
    out.failed.emplace_back(MessageOf(report.status()));
    return out;
  }
  out.checked.push_back(Cat("signature: Ed25519, by the key ", Ed25519KeyId(public_key)));
  CheckRecord(*report, &out);
  CheckValues(*report, &out);
  CheckFiles(*report, material, &out);
  CheckKeys(*report, material, &out);
  SayWeight(*report, &out);
  out.outcome = out.failed.empty() ? VerifyOutcome::kVerified : VerifyOutcome::kInconsistent;
  out.report = *std::move(report);
  return out;
}

}  // namespace countermark
