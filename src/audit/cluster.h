// The audit cut up for a cluster. Each piece takes bytes and gives bytes, depends on nothing else but the keys, and may run twice, anywhere:
//
//   ClusterMap      records with their numbers      → documents by stripe; pairs by bucket
//   ClusterReduce   the pairs of a bucket           → sums by stripe, on the pairs each document is first to hold; candidates' sums
//   ClusterGather   a stripe's documents and sums   → segments and their scores
//   ClusterRun      all segments, candidates' sums  → a run directory and its result, as RunDataset puts it together
//
// Between them a cluster shuffles pieces by (group, key). A document is a number: its place in the order of the input, without gaps. A pair's bucket is its keyed hash's, so
// that all documents that hold it meet in one place, and the lowest number has it: whatever order the pieces come in, and however often one came, the same. A stripe is `stripe`
// documents one after the other. Sums are added, so none may be added twice: ClusterGather refuses a bucket's second sums, a document's second row, and a gap.
#ifndef COUNTERMARK_SRC_AUDIT_CLUSTER_H_
#define COUNTERMARK_SRC_AUDIT_CLUSTER_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "countermark/audit/dataset.h"
#include "src/audit/phases.h"

namespace countermark::audit {

// Documents of a segment in a cluster's run directory.
inline constexpr uint64_t kClusterSegment = 8192;

enum class ClusterGroup : int32_t { kStripe = 0, kBucket = 1, kCandidates = 2 };
enum class ClusterKind : int32_t { kDocuments = 0, kPairs = 1, kSums = 2, kCandidates = 3, kSegment = 4, kScores = 5 };

struct ClusterPiece {
  ClusterGroup group;
  int64_t key = 0;  // stripe, bucket, segment, or family and range of candidates
  ClusterKind kind;
  std::string bytes;
};

struct ClusterShape {
  uint64_t stripe = kClusterSegment;  // a multiple of kClusterSegment
  uint32_t buckets = 1;               // at most 2³¹
};

class ClusterMap {
 public:
  // All three must outlive it.
  ClusterMap(const AuditKeys& keys, const Tokenizer* tokenizer, const std::vector<std::string>& paths, ClusterShape shape);
  // records[i] is document numbers[i]; numbers ascend. InvalidArgument where they do not; ResourceExhausted.
  absl::Status Add(std::vector<RawRecord>& records, std::span<const uint64_t> numbers);
  // What is complete so far; with `all` everything.
  std::vector<ClusterPiece> Take(bool all);

 private:
  struct Bucket {
    std::string bytes;   // closed groups: number, less the last one's; pairs; their tokens, 3 bytes each
    std::string tokens;  // of the group that is open
    uint64_t number = 0, last = 0;
    uint64_t pairs = 0;
  };
  void Close(Bucket& bucket);

  const AuditKeys& keys_;
  const Tokenizer* tokenizer_;
  const std::vector<std::string>& paths_;
  const PairHash hash_;
  const DatasetOptions options_;  // of no part, and nothing that records looked into already need
  const ClusterShape shape_;
  std::map<uint64_t, std::string> documents_;
  std::vector<Bucket> buckets_;
  std::vector<ClusterPiece> done_;
  uint64_t held_ = 0;  // bytes in buckets
};

class ClusterReduce {
 public:
  ClusterReduce(const AuditKeys& keys, ClusterShape shape);
  // One bucket after the other. DataLoss: not well formed.
  absl::Status Add(int64_t bucket, std::string_view pairs);
  // The sums of the bucket at work.
  std::vector<ClusterPiece> FinishBucket();
  // Candidates' sums over all buckets of this object.
  std::vector<ClusterPiece> FinishCandidates();

 private:
  // Pair → the lowest document that holds it. Open addressing, at most three quarters full.
  struct Owners {
    std::vector<PackedPair> pairs;
    std::vector<uint64_t> documents;
    size_t used = 0;
    int bits = 0;
  };
  void Grow();
  void Insert(PackedPair pair, uint64_t document);

  const AuditKeys& keys_;
  const PairHash hash_;
  const ClusterShape shape_;
  const int tokens_;  // h + 1
  std::optional<int64_t> bucket_;
  Owners owners_;
  std::vector<FamilyCounts> candidates_;
};

class ClusterGather {
 public:
  ClusterGather(const AuditKeys& keys, ClusterShape shape) : keys_(keys), shape_(shape) {}
  // One stripe after the other. DataLoss: not well formed, or what would count twice.
  absl::Status Add(int64_t stripe, ClusterKind kind, std::string_view bytes);
  // A segment and a scores piece each. DataLoss: a document is missing.
  absl::StatusOr<std::vector<ClusterPiece>> FinishStripe();
  // Adds up pieces of one key.
  absl::Status AddCandidates(int64_t key, std::string_view bytes);
  std::vector<ClusterPiece> FinishCandidates();

 private:
  struct Document {
    std::string row;
    uint64_t raw_bytes = 0;
    ChannelCount first;
    bool there = false;
  };
  absl::Status AddDocuments(std::string_view bytes);
  absl::Status AddSums(std::string_view bytes);

  const AuditKeys& keys_;
  const ClusterShape shape_;
  std::optional<int64_t> stripe_;
  std::vector<Document> documents_;
  std::set<uint64_t> buckets_;
  uint64_t distinct_ = 0;
  uint64_t hits_[TopHits::kMost] = {};
  std::map<int64_t, FamilyCounts> candidates_;
};

class ClusterRun {
 public:
  // options: files, directory, input; `documents`: how many there are. As RunDirectory::CreateOrResume.
  static absl::StatusOr<std::unique_ptr<ClusterRun>> Open(const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options, uint64_t documents);
  // All that the cluster has to bring is there: what is left is Finish.
  bool whole() const;
  absl::Status Add(const ClusterPiece& piece);
  // DataLoss: something is missing.
  absl::StatusOr<DatasetResult> Finish(const JudgeOptions& judge, const AuditObserver& observer);

 private:
  explicit ClusterRun(const AuditKeys& keys) : keys_(keys) {}
  uint64_t segments() const { return (documents_ + kClusterSegment - 1) / kClusterSegment; }

  const AuditKeys& keys_;
  DatasetOptions options_;
  std::string tokenizer_sha256_;
  uint64_t documents_ = 0;
  RunDirectory run_;
  std::unique_ptr<FrameLog> pairs_, sums_;
  CandidateState candidates_;
  std::set<int64_t> candidates_seen_;
};

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_CLUSTER_H_
