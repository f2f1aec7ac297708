// From integers to tests, verdict and files. Everything here is formed in the order of the input, segment by segment.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "countermark/audit/share.h"
#include "countermark/audit/sparse.h"
#include "countermark/detect/multiplicity.h"
#include "src/audit/parallel.h"
#include "src/audit/phases.h"
#include "src/audit/report.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

constexpr size_t kKeptErrors = 1000;
constexpr size_t kSaidErrors = 100;
// The sparse product is formed, and looked at, in blocks of so many documents. Where the input was cut into segments, or on which machine, changes no bit of it.
constexpr uint64_t kSparseBlock = 256;

// A segment's documents with the scores of all lanes, which are parts of the same documents.
struct SegmentRows {
  SegmentHead head;
  std::vector<DocumentRow> rows;
  SegmentScores scores;
};

absl::Status LoadRows(const std::vector<Lane>& lanes, const MarkParameters& mark, uint64_t segment, bool with_scores, SegmentRows* out) {
  for (size_t l = 0; l < lanes.size(); ++l) {
    SegmentHead head;
    std::vector<DocumentRow> rows;
    CM_RETURN_IF_ERROR(lanes[l].source->Documents(segment, &head, &rows));
    SegmentScores scores;
    if (with_scores) {
      CM_ASSIGN_OR_RETURN(const std::string bytes, lanes[l].sums->Read(segment));
      if (absl::Status status = ParseScores(bytes, head.rows, &scores); !status.ok()) {
        return absl::DataLossError(Cat(lanes[l].sums->Place(segment), ": ", std::string(status.message())));
      }
    }
    if (l == 0) {
      *out = {head, std::move(rows), std::move(scores)};
      continue;
    }
    if (head.raw_crc != out->head.raw_crc || head.rows != out->head.rows) {
      return absl::FailedPreconditionError(Cat("part ", l + 1, " has another input than part 1, in segment ", segment));
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].kind != out->rows[i].kind) return absl::FailedPreconditionError(Cat("part ", l + 1, " has read other documents than part 1, in segment ", segment));
      out->rows[i].scored += rows[i].scored;
      out->rows[i].base.scored += rows[i].base.scored;
      out->rows[i].base.statistic += rows[i].base.statistic;
    }
    if (!with_scores) continue;
    out->scores.distinct += scores.distinct;
    for (int j = 0; j < TopHits::kMost; ++j) out->scores.hits[j] += scores.hits[j];
    for (size_t i = 0; i < rows.size(); ++i) {
      out->scores.rows[i].scored += scores.rows[i].scored;
      out->scores.rows[i].statistic += scores.rows[i].statistic;
    }
  }
  if (lanes.size() == 1) return absl::OkStatus();
  for (DocumentRow& row : out->rows) {
    row.log10_p = Log10P(row.base, mark);
    row.log10_e = Log10E(row.base, mark);
  }
  return absl::OkStatus();
}

absl::Status Unprepared(uint64_t, Nothing*) { return absl::OkStatus(); }

// What the first walk over a segment's documents adds up: totals, and what they multiply the sparse product by, in order. Blocks that lie in the segment as a whole are multiplied
// here; of the others the documents are kept.
struct Walk {
  struct Stretch {
    bool whole = false;
    SparseProduct product;             // of a whole block
    std::vector<ChannelCount> counts;  // else: a document each
  };
  Totals totals;
  std::vector<Stretch> stretches;
};

// The sparse product along all documents.
class SparseWalk {
 public:
  SparseWalk(const MarkParameters& mark, Totals* totals) : mark_(mark), totals_(totals) {}
  void Take(const Walk::Stretch& stretch) {
    if (stretch.whole) return End(stretch.product, kSparseBlock);
    for (const ChannelCount& count : stretch.counts) {
      block_.Add(count, mark_);
      if (++in_block_ == kSparseBlock) Finish();
    }
  }
  // At the end of the input.
  void Finish() {
    if (in_block_ == 0) return;
    End(block_, in_block_);
    block_ = SparseProduct();
    in_block_ = 0;
  }

 private:
  void End(const SparseProduct& block, uint64_t documents) {
    product_.Append(block);
    documents_ += documents;
    totals_->log10_e = product_.Log10();
    if (totals_->log10_e <= totals_->log10_e_highest) return;
    totals_->log10_e_highest = totals_->log10_e;
    totals_->highest_after = documents_;
  }

  const MarkParameters& mark_;
  Totals* totals_;
  SparseProduct product_, block_;
  uint64_t in_block_ = 0, documents_ = 0;
};

absl::Status FirstWalk(const std::vector<Lane>& lanes, const MarkParameters& mark, int threads, Totals* totals) {
  SparseWalk sparse(mark, totals);
  const auto produce = [&](uint64_t segment, const Nothing&, Walk* walk) -> absl::Status {
    SegmentRows loaded;
    CM_RETURN_IF_ERROR(LoadRows(lanes, mark, segment, true, &loaded));
    Totals& t = walk->totals;
    t.distinct = loaded.scores.distinct;
    for (int j = 0; j < TopHits::kMost; ++j) t.hits[j] = loaded.scores.hits[j];
    uint64_t document = loaded.head.first_document;
    const uint64_t end = document + loaded.head.records;
    for (size_t i = 0; i < loaded.rows.size(); ++i) {
      const DocumentRow& row = loaded.rows[i];
      if (row.kind != RowKind::kDocument) {
        ++t.error_count;
        if (t.errors.size() < kKeptErrors) t.errors.push_back({lanes[0].source->files()[row.file], row.line, row.byte, row.error});
      }
      if (row.kind == RowKind::kFileBroke) {
        ++t.broken_files;
        continue;
      }
      if (walk->stretches.empty() || document % kSparseBlock == 0) {
        walk->stretches.emplace_back().whole = document % kSparseBlock == 0 && end - document >= kSparseBlock;
      }
      ++document;
      ++t.records;
      ChannelCount count;
      if (row.kind == RowKind::kUnreadable) {
        ++t.unreadable;
      } else {
        t.too_short += row.scored == 0;
        count = loaded.scores.rows[i];
        t.base.scored += count.scored;
        t.base.statistic += count.statistic;
      }
      Walk::Stretch& stretch = walk->stretches.back();
      if (stretch.whole) {
        stretch.product.Add(count, mark);
      } else {
        stretch.counts.push_back(count);
      }
    }
    return absl::OkStatus();
  };
  const auto consume = [&](uint64_t, Walk& walk) {
    totals->Add(walk.totals, kKeptErrors);
    for (const Walk::Stretch& stretch : walk.stretches) sparse.Take(stretch);
    return absl::OkStatus();
  };
  CM_RETURN_IF_ERROR((ParallelOrdered<Nothing, Walk>(threads, 0, lanes[0].source->segments(), Unprepared, produce, consume)));
  sparse.Finish();
  return absl::OkStatus();
}

// documents.jsonl, whole or not there.
absl::Status WriteDocuments(const RunDirectory& run, const std::vector<Lane>& lanes, const MarkParameters& mark, double listing, int threads, uint64_t* listed,
                            const AuditObserver& observer) {
  const std::string path = run.File("documents.jsonl"), unfinished = path + ".unfinished";
  FileDescriptor file(open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.get() < 0) return ErrnoStatus(errno, "cannot make", unfinished);
  struct Lines {
    std::string text;
    uint64_t listed = 0;
  };
  const auto produce = [&](uint64_t segment, const Nothing&, Lines* lines) -> absl::Status {
    SegmentRows loaded;
    CM_RETURN_IF_ERROR(LoadRows(lanes, mark, segment, true, &loaded));
    uint64_t document = loaded.head.first_document;
    for (size_t i = 0; i < loaded.rows.size(); ++i) {
      const DocumentRow& row = loaded.rows[i];
      if (row.kind == RowKind::kFileBroke) continue;
      const bool is_listed = row.kind == RowKind::kDocument && row.log10_e >= listing;
      lines->listed += is_listed;
      AppendDocumentLine(document++, lanes[0].source->files()[row.file], row, loaded.scores.rows[i], is_listed, &lines->text);
    }
    return absl::OkStatus();
  };
  const auto consume = [&](uint64_t, Lines& lines) -> absl::Status {
    *listed += lines.listed;
    observer.add(1);
    for (size_t done = 0; done < lines.text.size();) {
      const ssize_t n = write(file.get(), lines.text.data() + done, lines.text.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        const int error = n < 0 ? errno : ENOSPC;
        unlink(unfinished.c_str());
        return ErrnoStatus(error, "cannot write", unfinished);
      }
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  };
  CM_RETURN_IF_ERROR((ParallelOrdered<Nothing, Lines>(threads, 0, lanes[0].source->segments(), Unprepared, produce, consume)));
  if (fsync(file.get()) != 0 && errno != EINVAL) return ErrnoStatus(errno, "cannot sync", unfinished);
  if (rename(unfinished.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, "cannot rename to", path);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<FamilyResult>> JudgeFamilies(const AuditKeys& keys, const std::vector<Lane>& lanes, uint64_t tests, const JudgeOptions& judge) {
  std::vector<FamilyResult> results;
  const double level = std::log10(judge.alpha);
  for (size_t f = 0; f < keys.families.size(); ++f) {
    const CandidateFamily& family = keys.families[f];
    FamilyResult& result = results.emplace_back();
    result.family = &family;
    FamilyCounts sum = lanes[0].candidates.families[f];
    for (size_t l = 1; l < lanes.size(); ++l) {
      const FamilyCounts& more = lanes[l].candidates.families[f];
      sum.scored += more.scored;
      for (size_t i = 0; i < sum.statistic.size(); ++i) sum.statistic[i] += more.statistic[i];
    }
    result.scored = sum.scored;
    std::vector<double> log10_p;
    log10_p.reserve(sum.statistic.size());
    for (const Statistic statistic : sum.statistic) log10_p.push_back(Log10P({sum.scored, statistic}, keys.record.mark));
    const std::vector<double> adjusted = HolmAdjust(log10_p);
    std::vector<size_t> order(log10_p.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return log10_p[a] < log10_p[b]; });
    for (size_t rank = 0; rank < order.size(); ++rank) {
      const size_t i = order[rank];
      const double corrected = BonferroniAdjust(adjusted[i], tests);
      const bool named = corrected <= level;
      result.named += named;
      if (!named && rank >= judge.top) break;
      result.ranked.push_back({i, sum.statistic[i], log10_p[i], adjusted[i], corrected, named});
    }
  }
  return results;
}

}  // namespace

void Totals::Add(const Totals& more, size_t kept_errors) {
  records += more.records;
  unreadable += more.unreadable;
  too_short += more.too_short;
  broken_files += more.broken_files;
  distinct += more.distinct;
  base.scored += more.base.scored;
  base.statistic += more.base.statistic;
  for (int j = 0; j < TopHits::kMost; ++j) hits[j] += more.hits[j];
  error_count += more.error_count;
  for (const RowError& error : more.errors) {
    if (errors.size() < kept_errors) errors.push_back(error);
  }
}

absl::StatusOr<DatasetResult> Finish(const RunDirectory& run, const AuditKeys& keys, const std::vector<Lane>& lanes, const JudgeOptions& judge, const FinishOptions& options,
                                     const AuditObserver& observer) {
  const MarkParameters& mark = keys.record.mark;
  Conclusion c;
  CM_RETURN_IF_ERROR(FirstWalk(lanes, mark, options.threads, &c.totals));
  const uint64_t read = c.totals.records - c.totals.unreadable;

  // One part of alpha each: the pool, the documents in order, every family of candidates.
  c.tests = 2 + keys.families.size();
  const double level = std::log10(judge.alpha);
  c.pooled_log10_p = Log10P(c.totals.base, mark);
  c.pooled_log10_e = Log10E(c.totals.base, mark);
  c.pooled_corrected = BonferroniAdjust(c.pooled_log10_p, c.tests);
  c.sparse_log10_p = std::min(0.0, -c.totals.log10_e_highest);
  c.sparse_corrected = BonferroniAdjust(c.sparse_log10_p, c.tests);
  CM_ASSIGN_OR_RETURN(c.families, JudgeFamilies(keys, lanes, c.tests, judge));

  const ScanE scan = [&](const VisitE& visit) -> absl::Status {
    return ParallelOrdered<Nothing, std::vector<double>>(
        options.threads, 0, lanes[0].source->segments(), Unprepared,
        [&](uint64_t segment, const Nothing&, std::vector<double>* values) -> absl::Status {
          SegmentRows loaded;
          CM_RETURN_IF_ERROR(LoadRows(lanes, mark, segment, false, &loaded));
          for (const DocumentRow& row : loaded.rows) {
            if (row.kind == RowKind::kDocument) values->push_back(row.log10_e);
          }
          return absl::OkStatus();
        },
        [&](uint64_t, std::vector<double>& values) {
          for (const double e : values) visit(e);
          return absl::OkStatus();
        });
  };
  // The two bounds share the risk.
  const double risk = (1 - judge.confidence) / 2;
  CM_ASSIGN_OR_RETURN(c.listing_log10_e, ListingThreshold(read, judge.fdr, scan));
  CM_ASSIGN_OR_RETURN(c.marked_documents, MarkedDocumentsAtLeast(read, risk, scan));
  const TopHits hits = TopHits::Of(mark);
  c.marked_pairs = MarkedPairsAtLeast(c.totals.base.scored, std::span(c.totals.hits, TopHits::kMost), hits, risk);

  c.complete = c.totals.broken_files == 0;
  c.coverage = c.totals.records == 0 ? 1 : static_cast<double>(read) / static_cast<double>(c.totals.records);
  c.decided = c.totals.base.scored > 0;
  bool evidence = c.pooled_corrected <= level || c.sparse_corrected <= level;
  for (const FamilyResult& family : c.families) {
    c.decided |= family.scored > 0;
    evidence |= family.named > 0;
  }
  const bool stands = c.complete && c.coverage >= judge.min_coverage && c.decided;
  c.verdict = !stands ? "inconclusive" : evidence ? "marked" : "no evidence";
  for (FamilyResult& family : c.families) {  // an inconclusive run accuses nobody, whatever its numbers
    if (stands) break;
    family.named = 0;
    for (RankedCandidate& candidate : family.ranked) candidate.named = false;
  }

  observer.begin("documents.jsonl", "segments", lanes[0].source->segments());
  CM_RETURN_IF_ERROR(WriteDocuments(run, lanes, mark, c.listing_log10_e, options.threads, &c.listed, observer));

  DatasetResult result;
  result.json = ResultJson(run, keys, c, judge, options);
  CM_RETURN_IF_ERROR(ReplaceFileAtomically(run.File("result.json"), result.json, 0644));
  result.complete = c.complete;
  result.coverage = c.coverage;
  result.decided = c.decided;
  result.evidence = evidence;
  result.error_count = c.totals.error_count;
  const InputReader files({}, {});
  const RecordSource& source = options.source != nullptr ? *options.source : files;
  for (const RowError& error : c.totals.errors) {
    if (result.errors.size() < kSaidErrors) result.errors.push_back(Cat(source.Place(error.file, error.line, error.byte), ": ", error.message));
  }
  return result;
}

}  // namespace countermark::audit
