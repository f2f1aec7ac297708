// The signed report. Takes what a detection counted; gives one file that a third party can check without us.
//
//   Report report;                                  // inputs, parameters, readings, ledger, and of every test its count (scored, statistic)
//   CM_RETURN_IF_ERROR(DeriveValues(&report));      // fills every value that follows from the counts, and the verdict
//   CM_ASSIGN_OR_RETURN(std::string envelope, SignReport(report, seed));            // a DSSE envelope, one line of JSON
//   CM_ASSIGN_OR_RETURN(Report again, OpenReport(envelope, public_key));            // signature first, then the payload
//
// The file's form, member by member, is docs/report-format.md. A reading is one way in which the text became tokens: a view of the text ("raw",
// "cleaned") and a tokenizer; every test belongs to one. How the values follow from the counts, rule 2:
//   m          = questions · keys · schemes · views · tokenizers · (channels + (1 if candidates > 0)) of the ledger, times `records` for what is said of
//                a single record (not of the pool; an unknown number, 0, counts as 1 and the report says "uncorrected")
//   channel    log10_p_adjusted = min(0, log10_p + log10 m)
//   account    Holm over the subject's accounts in that reading, `candidates` hypotheses (those that are not listed count as p = 1), then times m
//   region     log10_p_adjusted = min(0, log10_p + log10(m · ledger.regions · tries)), tries = RegionTries of the searched record (detect/regions.h)
//   weighted   as channel and account, and times ledger.weighted
// so that the chance of one or more false claims in the whole of the report, whatever their kind, is at most alpha (where the report is not
// "uncorrected"): the questions have equal parts of alpha, and so have the readings. The verdict is taken from all of these values; in an
// "uncorrected" report, from the pooled ones alone:
//   inconclusive  less than the coverage floor's share of the records could be read, or no pair was scored
//   evidence      an adjusted value ≤ log10 alpha
//   no evidence   otherwise
#ifndef COUNTERMARK_EVIDENCE_REPORT_H_
#define COUNTERMARK_EVIDENCE_REPORT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/detect/multiplicity.h"
#include "countermark/detect/pairs.h"
#include "countermark/evidence/ed25519.h"
#include "countermark/keys/secret.h"
#include "countermark/mark/scheme.h"

namespace countermark {

inline constexpr int kReportSchemaVersion = 2;
inline constexpr std::string_view kReportPayloadType = "application/vnd.countermark.report+json";

enum class Verdict { kNoEvidence, kEvidence, kInconclusive };
std::string_view VerdictName(Verdict verdict);  // "no evidence", "evidence", "inconclusive"

// One file that was read, as the bytes on disk (compressed ones before decompression).
struct ReportInput {
  std::string name;         // as it was given, the folder left out; "-" for stdin. Bytes that are not UTF-8 become U+FFFD
  std::string sha256;       // 64 lower-case hex digits
  uint64_t bytes = 0;
  uint64_t records = 0;     // records met, the unreadable ones among them
  uint64_t unreadable = 0;  // records that could not be read or scored, each an error with its line and byte when it was met
};

// A key that was used, by its published commitment (keys/derive.h, CommitToKey). A bare key has none and is not listed.
struct ReportCommitment {
  std::string name;        // "base", "route", "account:LABEL", as in KeyStore::Commitment
  std::string commitment;  // 64 lower-case hex digits
  std::string salt;        // the same; empty where it is not known
};

// One way in which the text became tokens.
struct ReportReading {
  std::string view = "raw";      // "raw": the text as it stood; "cleaned": after countermark/tokenize/cleaned_text.h
  std::string tokenizer_sha256;  // 64 lower-case hex digits; empty where token ids were given
};

enum class TestKind { kChannel, kAccount };

// One test. The count is what was measured; the three values follow from it.
struct ReportTest {
  uint64_t record = 0;       // the record's position over all inputs, from 1; 0: pooled, over the distinct pairs of all records
  std::string subject;       // the record's id, as it stood in the input (need not be unique); empty where pooled
  uint64_t reading = 0;      // place in Report::readings
  TestKind kind = TestKind::kChannel;
  std::string name;          // the channel's name ("base") or the account's label
  ChannelCount count;        // scored ≤ 2⁵³
  double log10_p = 0;
  double log10_e = 0;
  double log10_p_adjusted = 0;

  bool pooled() const { return record == 0; }
};

// A marked passage inside a record. The test of the same record, reading and channel is listed: it says how many pairs were searched.
struct ReportRegion {
  uint64_t record = 0;       // from 1
  std::string subject;
  uint64_t reading = 0;
  std::string name;          // the channel's
  uint64_t begin = 0;        // bytes of the record's original text, whatever the view; token positions where ids were given
  uint64_t end = 0;          // exclusive, above begin
  ChannelCount count;        // of the pairs inside
  Statistic tries = 0;       // intervals that the search could have tried, follows
  double log10_p = 0;
  double log10_p_adjusted = 0;
};

// A test with weights that a never-exposed model gave on the suspect's own text. Its sums need that model and the text; the bound follows from them.
struct ReportWeighted {
  uint64_t record = 0;
  std::string subject;
  uint64_t reading = 0;
  TestKind kind = TestKind::kChannel;
  std::string name;
  uint64_t scored = 0;
  std::string model_sha256;   // of the model's file, 64 lower-case hex digits
  std::string rule;           // how weights follow from the model: "entropy"
  double lambda = 0;          // > 0
  Statistic sum = 0;          // Σ weight·score, exact; the score is mark-format.md's integer
  double log_mgf = 0;         // Σ ln E exp(λ·weight·score) under the null, natural logarithm, ≥ 0
  double display_log10_p = 0; // saddlepoint, for display: nothing hangs on it
  double log10_p = 0;         // ChernoffLog10P(lambda, log_mgf, sum) of detect/weighted.h: follows
  double log10_p_adjusted = 0;

  bool pooled() const { return record == 0; }
};

struct Report {
  std::string tool;      // "watermark-detect"
  std::string version;   // of the tool
  int format = 1;        // of the mark (mark-format.md)
  std::string created;   // UTC, RFC 3339 to the second, by the signer's own clock

  std::string tenant;        // empty with a bare key
  std::string epoch;         // the same
  std::string epoch_record;  // EpochRecord::CanonicalJson(); empty with a bare key
  MarkParameters mark;       // equal to the record's, where there is one
  std::vector<uint32_t> weights;  // of the channels, in 1/65536, one to four
  std::vector<ReportReading> readings;  // views · tokenizers of the ledger, each once; an epoch record's tokenizer is among them, or ids were given
  std::vector<ReportCommitment> commitments;
  uint64_t commitments_published = 0;  // by this provider in all; 0: not known

  std::vector<ReportInput> inputs;
  double coverage_floor = 0;     // the least share of readable records for a verdict, 0…1
  std::vector<ReportTest> tests;  // any order; of very many accounts the smallest p alone may be listed: the ledger counts them all
  std::vector<ReportRegion> regions;      // those that were found; ledger.regions says whether any were looked for
  std::vector<ReportWeighted> weighted;
  TestLedger ledger;
  double alpha = 1e-6;           // 0 < alpha < 1
  Verdict verdict = Verdict::kInconclusive;
  std::vector<std::string> limits;  // plain sentences: what this report does not show
};

// readable / records over all inputs; 1 where there are no records.
double Coverage(const Report& report);

// Fills log10_p, log10_e, log10_p_adjusted and tries of everything listed, and the verdict, by rule 2 above. InvalidArgument for a count that cannot be.
absl::Status DeriveValues(Report* report);

// Whether every member is in range: hex digits, times, counts that the scheme allows (statistic ≤ scored·layers, …), finite values, readings that are as
// many as the ledger's views and tokenizers, ledger factors below 2⁵³ that cover what is listed and (where the number of records is known) the records
// met, `questions` as the rest of the ledger has it, a single record's counts equal to its pool's, no commitments without an epoch record.
// InvalidArgument names the member.
absl::Status ValidateReport(const Report& report);

// Canonical JSON (RFC 8785): the same report, the same bytes, on every machine. The report must be valid.
std::string ReportPayload(const Report& report);
// Reads a payload; accepts canonical bytes only. Unknown members and other schema versions are errors that name them.
absl::StatusOr<Report> ParseReportPayload(std::string_view payload);

// Validates, signs, and gives a DSSE envelope: one line of JSON without a line end.
absl::StatusOr<std::string> SignReport(const Report& report, const Secret32& ed25519_seed);

// PermissionDenied: not signed by that key, or altered (the two cannot be told apart). DataLoss: not an envelope, or truncated.
// InvalidArgument: well signed, but not a report this build can read.
absl::StatusOr<Report> OpenReport(std::string_view envelope, const Ed25519PublicKey& public_key);

}  // namespace countermark

#endif  // COUNTERMARK_EVIDENCE_REPORT_H_
