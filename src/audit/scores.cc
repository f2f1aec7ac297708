// The base channel's scores of the pairs each document is the first to hold.
#include "src/audit/parallel.h"
#include "src/audit/phases.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {

std::string EncodeScores(const SegmentScores& scores) {
  std::string out;
  PutVarint(scores.distinct, &out);
  for (const uint64_t hits : scores.hits) PutVarint(hits, &out);
  for (const ChannelCount& row : scores.rows) {
    PutVarint(row.scored, &out);
    PutVarint(row.statistic, &out);
  }
  return out;
}

absl::Status ParseScores(std::string_view bytes, uint32_t rows, SegmentScores* scores) {
  Reader in(bytes);
  scores->distinct = in.Varint();
  for (uint64_t& hits : scores->hits) hits = in.Varint();
  scores->rows.clear();
  for (uint32_t i = 0; i < rows && in.ok(); ++i) {
    ChannelCount& row = scores->rows.emplace_back();
    row.scored = in.Varint();
    row.statistic = in.Varint<Statistic>();
  }
  if (!in.ok() || !in.empty()) return absl::DataLossError("the segment's scores are not well formed");
  return absl::OkStatus();
}

absl::Status ScoreSegments(const SegmentSource& source, const FrameLog& firsts, const AuditKeys& keys, int threads, FrameLog* sums, const AuditObserver& observer) {
  if (sums->size() == source.segments()) return absl::OkStatus();
  observer.begin("scores", "segments", source.segments());
  const MarkParameters& mark = keys.record.mark;
  const TopHits top = TopHits::Of(mark);
  EntryPlaces running;
  const auto prepare = [&](uint64_t segment, EntryPlaces* places) {
    *places = running;
    SegmentHead head;
    std::vector<SectionIndex> index;
    CM_RETURN_IF_ERROR(source.Head(segment, &head, &index));
    running.Advance(index);
    return absl::OkStatus();
  };
  const auto produce = [&](uint64_t segment, const EntryPlaces& places, Nothing*) -> absl::Status {
    if (sums->Has(segment)) return absl::OkStatus();
    FirstPairs pairs;
    CM_RETURN_IF_ERROR(LoadFirstPairs(source, firsts, segment, places, keys, &pairs));
    SegmentScores scores;
    scores.distinct = pairs.token.size();
    scores.rows.resize(pairs.rows);
    size_t kept = 0;
    for (size_t i = 0; i < pairs.token.size(); ++i) {
      if (pairs.channel[i] != 0) continue;
      for (int j = 0; j < mark.window; ++j) pairs.window[j][kept] = pairs.window[j][i];
      pairs.token[kept] = pairs.token[i];
      pairs.row[kept++] = pairs.row[i];
    }
    pairs.token.resize(kept);
    std::vector<uint32_t> words(kept);
    PairWords(pairs.Columns(), keys.base, mark.scheme, mark.window, words);
    std::vector<uint64_t> values(kept);
    ScoresOfWords(words, mark, values);
    for (size_t i = 0; i < kept; ++i) {
      ChannelCount& count = scores.rows[pairs.row[i]];
      ++count.scored;
      count.statistic += values[i];
    }
    top.Count(words, scores.hits);
    return sums->Append(segment, EncodeScores(scores));
  };
  CM_RETURN_IF_ERROR((ParallelOrdered<EntryPlaces, Nothing>(threads, 0, source.segments(), prepare, produce, [&](uint64_t, Nothing&) {
    observer.add(1);
    return absl::OkStatus();
  })));
  return sums->Sync();
}

}  // namespace countermark::audit
