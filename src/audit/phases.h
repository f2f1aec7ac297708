// The phases of an audit, over an open run directory. Each goes on where it was ended.
#ifndef COUNTERMARK_SRC_AUDIT_PHASES_H_
#define COUNTERMARK_SRC_AUDIT_PHASES_H_

#include <functional>
#include <string>
#include <vector>

#include "countermark/audit/dataset.h"
#include "countermark/audit/documents.h"
#include "countermark/detect/pair_words.h"
#include "src/audit/run.h"

namespace countermark::audit {

// ---- The input (map.cc): cuts, tokenises, tests documents, spills pairs. ------------------------------------------------------------
absl::StatusOr<InputEnd> MapInput(const RunDirectory& run, const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options, FrameLog* pairs,
                                  const AuditObserver& observer);
// The payload of one segment.
struct RawSegment {
  uint64_t number = 0;
  uint64_t first_document = 0;
  std::vector<RawRecord> records;
  uint64_t raw_bytes = 0;
  uint32_t raw_crc = 0;
  uint64_t memory = 0;  // what it will take at work, at most
};
struct SegmentTally {
  uint64_t tokens = 0;
};
// What the records of a stretch come to: rows[i] of records[i], which is used up, its id, place and error or the test of its own distinct pairs (of `options.part`); and
// each(i, h + 1 tokens, hash) for every pair that no earlier record of the stretch holds, i ascending. ResourceExhausted where a record takes more memory than there is.
using EachPair = std::function<void(uint32_t row, const uint32_t* tokens, uint64_t hash)>;
absl::Status ScoreRecords(std::vector<RawRecord>& records, const std::vector<std::string>& paths, const AuditKeys& keys, const PairHash& hash, const Tokenizer* tokenizer,
                          const DatasetOptions& options, std::vector<DocumentRow>* rows, SegmentTally* tally, const EachPair& each);
absl::StatusOr<std::string> EncodeSegment(RawSegment& segment, const std::vector<std::string>& paths, const AuditKeys& keys, const PairHash& hash,
                                          const Tokenizer* tokenizer, const DatasetOptions& options, SegmentTally* tally);
// Bytes of a record as it was cut out.
uint64_t RecordBytes(const RawRecord& raw);
// The next stretch of the input; no records at its end. Where it is cut depends on the records alone.
RawSegment CutSegment(RecordSource& source, uint64_t limit, uint64_t number, uint64_t records_before);

// ---- First documents (firsts.cc): a frame a partition, of an entry a segment: CRC-32C, then a bit a spilled pair, lowest first. --------
absl::Status FindFirsts(const SegmentSource& source, const PairHash& hash, int threads, uint64_t memory, FrameLog* firsts, const AuditObserver& observer);

// Where the entries of a segment stand in the partitions' frames.
struct EntryPlaces {
  uint64_t at[kPartitions] = {};
  void Advance(const std::vector<SectionIndex>& index) {
    for (uint32_t p = 0; p < kPartitions; ++p) at[p] += 4 + (index[p].pairs + 7) / 8;
  }
};

// The pairs of a segment that no earlier document holds, in columns, in an order that is always the same.
struct FirstPairs {
  uint32_t rows = 0;
  std::vector<uint32_t> row;
  std::vector<uint32_t> window[kMaxWindow];
  std::vector<uint32_t> token;
  std::vector<uint8_t> channel;
  PairSpan Columns() const;
};
absl::Status LoadFirstPairs(const SegmentSource& source, const FrameLog& firsts, uint64_t segment, const EntryPlaces& places, const AuditKeys& keys,
                            FirstPairs* out);

// ---- Scores (scores.cc): a frame a segment. ----------------------------------------------------------------------------------------------
struct SegmentScores {
  uint64_t distinct = 0;                 // first pairs, whatever the channel
  uint64_t hits[TopHits::kMost] = {};    // of those on the base channel
  std::vector<ChannelCount> rows;        // the base channel's, a row of the segment each
};
std::string EncodeScores(const SegmentScores& scores);
absl::Status ParseScores(std::string_view bytes, uint32_t rows, SegmentScores* scores);
absl::Status ScoreSegments(const SegmentSource& source, const FrameLog& firsts, const AuditKeys& keys, int threads, FrameLog* sums, const AuditObserver& observer);

// ---- Candidates (candidates.cc): the sums of every family's candidates, in candidates.state. ----------------------------------------
struct FamilyCounts {
  uint64_t scored = 0;                // distinct pairs on the family's channel
  std::vector<Statistic> statistic;   // one a candidate
};
struct CandidateState {
  uint64_t segment = 0;    // all before it are in, and so many
  uint64_t taken = 0;      // of its first pairs
  std::vector<FamilyCounts> families;
};
std::string EncodeCandidates(const CandidateState& state, const Digest32& digest);
// DataLoss, FailedPrecondition (another run's). Any bytes.
absl::StatusOr<CandidateState> ParseCandidates(std::string_view bytes, const Digest32& digest, const AuditKeys& keys);
// Adds the scores of pairs (h + 1 tokens each, distinct, on the family's channel) under every candidate's key.
void ScoreCandidatePairs(const std::vector<uint32_t>& tokens, const AuditKeys& keys, const CandidateFamily& family, int threads, FamilyCounts* counts);
absl::StatusOr<CandidateState> ScoreCandidateFamilies(const RunDirectory& run, const SegmentSource& source, const FrameLog& firsts, const AuditKeys& keys, int threads,
                                                      const AuditObserver& observer);

// The three phases before this line, one after the other: all that follows the input (dataset.cc).
absl::StatusOr<CandidateState> Reduce(const RunDirectory& run, const SegmentSource& source, const AuditKeys& keys, int threads, uint64_t memory, FrameLog* firsts, FrameLog* sums,
                                      const AuditObserver& observer);

// ---- Results (finish.cc). ------------------------------------------------------------------------------------------------------------------
// One run, or the parts of one.
struct Lane {
  const SegmentSource* source;
  const FrameLog* sums;
  CandidateState candidates;
};
inline constexpr std::string_view kOrderOfInput = "of the input";
inline constexpr std::string_view kOrderOfRuns = "of the runs by the checksums of their inputs";
struct FinishOptions {
  std::string kind;                       // "dataset", "merge"
  std::string tokenizer_sha256;           // empty: ids
  std::string_view order;                 // in which the documents are: one of the two above
  int threads = 1;
  const RecordSource* source = nullptr;   // says places; null: as files have them
};
absl::StatusOr<DatasetResult> Finish(const RunDirectory& run, const AuditKeys& keys, const std::vector<Lane>& lanes, const JudgeOptions& judge, const FinishOptions& options,
                                     const AuditObserver& observer);

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_PHASES_H_
