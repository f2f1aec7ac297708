#include "src/audit/cluster.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "src/audit/parallel.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

constexpr uint64_t kPieceBytes = 256 << 10;           // of a bucket, at most, and some more
constexpr uint64_t kHeldBytes = 32 << 20;             // in all buckets of a map, or
constexpr uint64_t kHeldBytesABucket = 4 << 10;       // so much in each, whichever is more
constexpr size_t kAtOnce = size_t{1} << 18;           // pairs that are scored together
constexpr uint64_t kCandidatesAPiece = uint64_t{1} << 16;

int64_t CandidatesKey(size_t family, uint64_t range) { return static_cast<int64_t>(uint64_t{family} << 32 | range); }

}  // namespace

// ---- Map ------------------------------------------------------------------------------------------------------------------------------------
ClusterMap::ClusterMap(const AuditKeys& keys, const Tokenizer* tokenizer, const std::vector<std::string>& paths, ClusterShape shape)
    : keys_(keys), tokenizer_(tokenizer), paths_(paths), hash_(keys.epoch_key), shape_(shape), buckets_(shape.buckets) {}

void ClusterMap::Close(Bucket& bucket) {
  if (bucket.pairs == 0) return;
  const size_t before = bucket.bytes.size() + bucket.tokens.size();
  PutVarint(bucket.number - bucket.last, &bucket.bytes);
  PutVarint(bucket.pairs, &bucket.bytes);
  bucket.bytes += bucket.tokens;
  bucket.tokens.clear();
  bucket.last = bucket.number;
  bucket.pairs = 0;
  held_ += bucket.bytes.size() - before;
}

absl::Status ClusterMap::Add(std::vector<RawRecord>& records, std::span<const uint64_t> numbers) {
  for (size_t i = 1; i < numbers.size(); ++i) {
    if (numbers[i - 1] >= numbers[i]) return absl::InvalidArgumentError("documents are not in ascending order");
  }
  std::vector<uint64_t> raw_bytes;
  for (const RawRecord& raw : records) raw_bytes.push_back(RecordBytes(raw));
  std::vector<DocumentRow> rows;
  const int tokens = keys_.record.mark.window + 1;
  CM_RETURN_IF_ERROR(ScoreRecords(records, paths_, keys_, hash_, tokenizer_, options_, &rows, nullptr, [&](uint32_t row, const uint32_t* pair, uint64_t hashed) {
    const uint32_t number = PartOf(hashed, shape_.buckets);
    Bucket& bucket = buckets_[number];
    if (bucket.pairs != 0 && bucket.number != numbers[row]) Close(bucket);
    bucket.number = numbers[row];
    for (int j = 0; j < tokens; ++j) {
      const char bytes[3] = {static_cast<char>(pair[j]), static_cast<char>(pair[j] >> 8), static_cast<char>(pair[j] >> 16)};
      bucket.tokens.append(bytes, 3);
    }
    held_ += 3 * static_cast<uint64_t>(tokens);
    ++bucket.pairs;
    if (bucket.bytes.size() + bucket.tokens.size() < kPieceBytes) return;
    Close(bucket);
    held_ -= bucket.bytes.size();
    done_.push_back({ClusterGroup::kBucket, number, ClusterKind::kPairs, std::move(bucket.bytes)});
    bucket = Bucket();
  }));
  for (size_t i = 0; i < rows.size(); ++i) {
    std::string& to = documents_[numbers[i] / shape_.stripe];
    PutVarint(numbers[i] % shape_.stripe, &to);
    PutVarint(raw_bytes[i], &to);
    std::string row;
    AppendDocument(rows[i], &row);
    PutBytes(row, &to);
  }
  return absl::OkStatus();
}

std::vector<ClusterPiece> ClusterMap::Take(bool all) {
  for (auto& [stripe, bytes] : documents_) {
    for (; !bytes.empty(); bytes.clear()) done_.push_back({ClusterGroup::kStripe, static_cast<int64_t>(stripe), ClusterKind::kDocuments, bytes});
  }
  documents_.clear();
  if (all || held_ >= std::max(kHeldBytes, kHeldBytesABucket * shape_.buckets)) {
    for (uint32_t b = 0; b < shape_.buckets; ++b) {
      Close(buckets_[b]);
      if (!buckets_[b].bytes.empty()) done_.push_back({ClusterGroup::kBucket, b, ClusterKind::kPairs, std::move(buckets_[b].bytes)});
      buckets_[b] = Bucket();
    }
    held_ = 0;
  }
  return std::exchange(done_, {});
}

// ---- Reduce -----------------------------------------------------------------------------------------------------------------------------
ClusterReduce::ClusterReduce(const AuditKeys& keys, ClusterShape shape) : keys_(keys), hash_(keys.epoch_key), shape_(shape), tokens_(keys.record.mark.window + 1) {
  for (const CandidateFamily& family : keys.families) candidates_.push_back({0, std::vector<Statistic>(family.labels.size())});
}

void ClusterReduce::Insert(PackedPair pair, uint64_t document) {
  uint32_t tokens[kMostTokens];
  for (int j = tokens_ - 1, shift = 0; j >= 0; --j, shift += 24) tokens[j] = static_cast<uint32_t>(pair >> shift) & 0xFFFFFF;
  const size_t mask = owners_.pairs.size() - 1;
  size_t at = static_cast<size_t>(hash_.Spread(hash_.Of(tokens, tokens_)) >> (64 - owners_.bits));
  for (; owners_.pairs[at] != 0; at = (at + 1) & mask) {
    if (owners_.pairs[at] != pair) continue;
    owners_.documents[at] = std::min(owners_.documents[at], document);
    return;
  }
  owners_.pairs[at] = pair;
  owners_.documents[at] = document;
  ++owners_.used;
}

void ClusterReduce::Grow() {
  Owners before = std::exchange(owners_, Owners());
  owners_.bits = std::max(12, before.bits + 1);
  owners_.pairs.resize(size_t{1} << owners_.bits);
  owners_.documents.resize(size_t{1} << owners_.bits);
  for (size_t i = 0; i < before.pairs.size(); ++i) {
    if (before.pairs[i] != 0) Insert(before.pairs[i], before.documents[i]);
  }
}

absl::Status ClusterReduce::Add(int64_t bucket, std::string_view pairs) {
  if (bucket_ && *bucket_ != bucket) return absl::InternalError("a bucket was begun before the last was finished");
  bucket_ = bucket;
  Reader in(pairs);
  uint64_t document = 0;
  uint32_t tokens[kMostTokens];
  while (!in.empty()) {
    document += in.Varint();
    const uint64_t count = in.Varint();
    if (!in.ok() || count > pairs.size()) return absl::DataLossError(Cat("bucket ", bucket, ": its pairs are not well formed"));
    const std::string_view group = in.Take(count * static_cast<uint64_t>(tokens_) * 3);
    if (!in.ok()) return absl::DataLossError(Cat("bucket ", bucket, ": its pairs break off"));
    const auto* at = reinterpret_cast<const uint8_t*>(group.data());
    for (uint64_t i = 0; i < count; ++i) {
      for (int j = 0; j < tokens_; ++j, at += 3) tokens[j] = at[0] | uint32_t{at[1]} << 8 | uint32_t{at[2]} << 16;
      if ((owners_.used + 1) * 4 > owners_.pairs.size() * 3) Grow();
      Insert(Pack(tokens, tokens_), document);
    }
  }
  return absl::OkStatus();
}

std::vector<ClusterPiece> ClusterReduce::FinishBucket() {
  std::vector<ClusterPiece> pieces;
  if (!bucket_) return pieces;
  const Owners owners = std::exchange(owners_, Owners());
  std::vector<size_t> order;
  order.reserve(owners.used);
  for (size_t i = 0; i < owners.pairs.size(); ++i) {
    if (owners.pairs[i] != 0) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return owners.documents[a] < owners.documents[b]; });

  const MarkParameters& mark = keys_.record.mark;
  const int h = mark.window;
  const TopHits top = TopHits::Of(mark);
  // The stripe at work: distinct pairs, hits, and a document's counts after the other.
  uint64_t distinct = 0, hits[TopHits::kMost] = {}, last = 0;
  std::string documents;
  std::optional<uint64_t> stripe;
  const auto close = [&] {
    if (!stripe) return;
    std::string bytes;
    PutVarint(static_cast<uint64_t>(*bucket_), &bytes);
    PutVarint(distinct, &bytes);
    for (uint64_t& count : hits) PutVarint(std::exchange(count, 0), &bytes);
    pieces.push_back({ClusterGroup::kStripe, static_cast<int64_t>(*stripe), ClusterKind::kSums, bytes + documents});
    documents.clear();
    distinct = last = 0;
  };
  std::vector<uint32_t> words;
  std::vector<uint64_t> scores;
  std::vector<std::vector<uint32_t>> waiting(keys_.families.size());
  for (size_t begin = 0; begin < order.size();) {
    // Stretches of one stripe, not too long; a document is never cut.
    const uint64_t here = owners.documents[order[begin]] / shape_.stripe;
    size_t end = begin;
    while (end < order.size() && owners.documents[order[end]] / shape_.stripe == here &&
           (end - begin < kAtOnce || owners.documents[order[end]] == owners.documents[order[end - 1]])) {
      ++end;
    }
    if (stripe != here) {
      close();
      stripe = here;
    }
    distinct += end - begin;
    FirstPairs pairs;
    std::vector<uint64_t> document;
    for (size_t i = begin; i < end; ++i) {
      const PackedPair pair = owners.pairs[order[i]];
      for (int j = 0; j < h; ++j) pairs.window[j].push_back(static_cast<uint32_t>(pair >> 24 * (h - j)) & 0xFFFFFF);
      pairs.token.push_back(static_cast<uint32_t>(pair) & 0xFFFFFF);
      document.push_back(owners.documents[order[i]]);
    }
    pairs.channel.resize(pairs.token.size());
    PairChannels(pairs.Columns(), keys_.route, mark.scheme, h, keys_.weights, pairs.channel);
    size_t kept = 0;
    for (size_t i = 0; i < pairs.token.size(); ++i) {
      for (size_t f = 0; f < keys_.families.size(); ++f) {
        if (pairs.channel[i] != keys_.families[f].channel) continue;
        for (int j = 0; j < h; ++j) waiting[f].push_back(pairs.window[j][i]);
        waiting[f].push_back(pairs.token[i]);
      }
      if (pairs.channel[i] != 0) continue;
      for (int j = 0; j < h; ++j) pairs.window[j][kept] = pairs.window[j][i];
      pairs.token[kept] = pairs.token[i];
      document[kept++] = document[i];
    }
    for (size_t f = 0; f < keys_.families.size(); ++f) {
      ScoreCandidatePairs(waiting[f], keys_, keys_.families[f], 1, &candidates_[f]);
      waiting[f].clear();
    }
    pairs.token.resize(kept);
    words.resize(kept);
    scores.resize(kept);
    PairWords(pairs.Columns(), keys_.base, mark.scheme, h, words);
    ScoresOfWords(words, mark, scores);
    top.Count(words, hits);
    for (size_t i = 0; i < kept;) {
      ChannelCount count;
      const uint64_t number = document[i];
      for (; i < kept && document[i] == number; ++i) {
        ++count.scored;
        count.statistic += scores[i];
      }
      PutVarint(number % shape_.stripe - last, &documents);
      PutVarint(count.scored, &documents);
      PutVarint(count.statistic, &documents);
      last = number % shape_.stripe;
    }
    begin = end;
  }
  close();
  bucket_.reset();
  return pieces;
}

namespace {

void AppendCandidates(size_t family, const FamilyCounts& counts, std::vector<ClusterPiece>* pieces) {
  for (uint64_t begin = 0; begin < counts.statistic.size(); begin += kCandidatesAPiece) {
    std::string bytes;
    PutVarint(counts.scored, &bytes);
    const uint64_t end = std::min<uint64_t>(begin + kCandidatesAPiece, counts.statistic.size());
    for (uint64_t i = begin; i < end; ++i) PutVarint(counts.statistic[i], &bytes);
    pieces->push_back({ClusterGroup::kCandidates, CandidatesKey(family, begin / kCandidatesAPiece), ClusterKind::kCandidates, std::move(bytes)});
  }
}

// Where the candidates of a key begin and end, and their sums. DataLoss: there are no such candidates, or they are not well formed.
absl::Status ParseCandidatesPiece(const AuditKeys& keys, int64_t key, std::string_view bytes, size_t* family, uint64_t* begin, FamilyCounts* counts) {
  *family = static_cast<size_t>(static_cast<uint64_t>(key) >> 32);
  *begin = (static_cast<uint64_t>(key) & 0xFFFFFFFF) * kCandidatesAPiece;
  if (*family >= keys.families.size() || *begin >= keys.families[*family].labels.size()) return absl::DataLossError("sums of candidates that there are not");
  Reader in(bytes);
  counts->scored = in.Varint();
  counts->statistic.resize(std::min<uint64_t>(kCandidatesAPiece, keys.families[*family].labels.size() - *begin));
  for (Statistic& value : counts->statistic) value = in.Varint<Statistic>();
  if (!in.ok() || !in.empty()) return absl::DataLossError("candidates' sums are not well formed");
  return absl::OkStatus();
}

}  // namespace

std::vector<ClusterPiece> ClusterReduce::FinishCandidates() {
  std::vector<ClusterPiece> pieces;
  for (size_t f = 0; f < candidates_.size(); ++f) AppendCandidates(f, candidates_[f], &pieces);
  return pieces;
}

// ---- Gather -----------------------------------------------------------------------------------------------------------------------------
absl::Status ClusterGather::Add(int64_t stripe, ClusterKind kind, std::string_view bytes) {
  if (stripe_ && *stripe_ != stripe) return absl::InternalError("a stripe was begun before the last was finished");
  stripe_ = stripe;
  return kind == ClusterKind::kDocuments ? AddDocuments(bytes) : AddSums(bytes);
}

absl::Status ClusterGather::AddDocuments(std::string_view bytes) {
  Reader in(bytes);
  while (!in.empty()) {
    const uint64_t number = in.Varint(), raw_bytes = in.Varint();
    const std::string_view row = in.Bytes();
    if (!in.ok() || number >= shape_.stripe) return absl::DataLossError(Cat("stripe ", *stripe_, ": its documents are not well formed"));
    if (number >= documents_.size()) documents_.resize(number + 1);
    Document& document = documents_[number];
    if (document.there) return absl::DataLossError(Cat("document ", static_cast<uint64_t>(*stripe_) * shape_.stripe + number, " came twice"));
    document.row = row;
    document.raw_bytes = raw_bytes;
    document.there = true;
  }
  return absl::OkStatus();
}

absl::Status ClusterGather::AddSums(std::string_view bytes) {
  Reader in(bytes);
  const uint64_t bucket = in.Varint();
  if (!buckets_.insert(bucket).second) return absl::DataLossError(Cat("stripe ", *stripe_, ": the sums of bucket ", bucket, " came twice"));
  distinct_ += in.Varint();
  for (uint64_t& hits : hits_) hits += in.Varint();
  uint64_t number = 0;
  while (in.ok() && !in.empty()) {
    number += in.Varint();
    ChannelCount count;
    count.scored = in.Varint();
    count.statistic = in.Varint<Statistic>();
    if (!in.ok() || number >= shape_.stripe) break;
    if (number >= documents_.size()) documents_.resize(number + 1);
    documents_[number].first.scored += count.scored;
    documents_[number].first.statistic += count.statistic;
  }
  if (!in.ok() || number >= shape_.stripe) return absl::DataLossError(Cat("stripe ", *stripe_, ": its sums are not well formed"));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ClusterPiece>> ClusterGather::FinishStripe() {
  std::vector<ClusterPiece> pieces;
  if (!stripe_) return pieces;
  const uint64_t first = static_cast<uint64_t>(*stripe_) * shape_.stripe;
  for (uint64_t begin = 0; begin < documents_.size(); begin += kClusterSegment) {
    SegmentWriter writer(static_cast<uint32_t>(keys_.record.mark.window) + 1);
    SegmentHead head;
    head.first_document = first + begin;
    SegmentScores scores;
    scores.distinct = std::exchange(distinct_, 0);  // of the whole stripe, in its first segment
    for (int j = 0; j < TopHits::kMost; ++j) scores.hits[j] = std::exchange(hits_[j], 0);
    for (uint64_t i = begin; i < std::min<uint64_t>(begin + kClusterSegment, documents_.size()); ++i) {
      const Document& document = documents_[i];
      std::vector<DocumentRow> row;
      if (!document.there) return absl::DataLossError(Cat("document ", first + i, " is missing"));
      CM_RETURN_IF_ERROR(ParseDocuments(document.row, 1, &row));
      writer.AddDocument(row[0]);
      head.raw_bytes += document.raw_bytes;
      scores.rows.push_back(document.first);
    }
    const auto segment = static_cast<int64_t>((first + begin) / kClusterSegment);
    pieces.push_back({ClusterGroup::kStripe, segment, ClusterKind::kSegment, writer.Finish(head)});
    pieces.push_back({ClusterGroup::kStripe, segment, ClusterKind::kScores, EncodeScores(scores)});
  }
  stripe_.reset();
  documents_.clear();
  buckets_.clear();
  return pieces;
}

absl::Status ClusterGather::AddCandidates(int64_t key, std::string_view bytes) {
  size_t family;
  uint64_t begin;
  FamilyCounts more;
  CM_RETURN_IF_ERROR(ParseCandidatesPiece(keys_, key, bytes, &family, &begin, &more));
  FamilyCounts& sum = candidates_[key];
  sum.statistic.resize(more.statistic.size());
  sum.scored += more.scored;
  for (size_t i = 0; i < more.statistic.size(); ++i) sum.statistic[i] += more.statistic[i];
  return absl::OkStatus();
}

std::vector<ClusterPiece> ClusterGather::FinishCandidates() {
  std::vector<ClusterPiece> pieces;
  for (const auto& [key, sum] : candidates_) {
    AppendCandidates(0, sum, &pieces);
    pieces.back().key = key;
  }
  candidates_.clear();
  return pieces;
}

// ---- The run directory --------------------------------------------------------------------------------------------------------------------
absl::StatusOr<std::unique_ptr<ClusterRun>> ClusterRun::Open(const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options, uint64_t documents) {
  if (documents == 0) return absl::InvalidArgumentError("there is no record in the input");
  std::unique_ptr<ClusterRun> made(new ClusterRun(keys));
  made->options_ = options;
  made->documents_ = documents;
  if (tokenizer != nullptr) made->tokenizer_sha256_ = tokenizer->sha256();
  nlohmann::json all = nlohmann::json::parse(OptionsJson(keys, tokenizer, options));
  all["kind"] = "cluster";
  all["documents"] = documents;
  CM_ASSIGN_OR_RETURN(made->run_, RunDirectory::CreateOrResume(options.directory, all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"));
  CM_ASSIGN_OR_RETURN(FrameLog pairs, FrameLog::Open(made->run_.File("pairs"), made->run_.digest, FrameLog::kWrite));
  CM_ASSIGN_OR_RETURN(FrameLog sums, FrameLog::Open(made->run_.File("sums"), made->run_.digest, FrameLog::kWrite));
  made->pairs_ = std::make_unique<FrameLog>(std::move(pairs));
  made->sums_ = std::make_unique<FrameLog>(std::move(sums));
  for (const CandidateFamily& family : keys.families) made->candidates_.families.push_back({0, std::vector<Statistic>(family.labels.size())});
  if (absl::StatusOr<std::string> saved = ReadWholeFile(made->run_.File("candidates.state"), size_t{4} << 30); saved.ok()) {
    CM_ASSIGN_OR_RETURN(made->candidates_, ParseCandidates(*saved, made->run_.digest, keys));
  }
  return made;
}

bool ClusterRun::whole() const {
  return pairs_->size() == segments() && sums_->size() == segments() && (keys_.families.empty() || candidates_.segment == segments());
}

absl::Status ClusterRun::Add(const ClusterPiece& piece) {
  if (piece.kind == ClusterKind::kCandidates) {
    size_t family;
    uint64_t begin;
    FamilyCounts counts;
    CM_RETURN_IF_ERROR(ParseCandidatesPiece(keys_, piece.key, piece.bytes, &family, &begin, &counts));
    if (!candidates_seen_.insert(piece.key).second) return absl::DataLossError("sums of candidates came twice");
    candidates_.families[family].scored = counts.scored;
    std::copy(counts.statistic.begin(), counts.statistic.end(), candidates_.families[family].statistic.begin() + static_cast<ptrdiff_t>(begin));
    return absl::OkStatus();
  }
  FrameLog& log = piece.kind == ClusterKind::kSegment ? *pairs_ : *sums_;
  const auto number = static_cast<uint64_t>(piece.key);
  if (number >= segments()) return absl::DataLossError("a segment beyond the documents' number");
  return log.Has(number) ? absl::OkStatus() : log.Append(number, piece.bytes);
}

absl::StatusOr<DatasetResult> ClusterRun::Finish(const JudgeOptions& judge, const AuditObserver& observer) {
  if (!whole()) {
    uint64_t pieces = 0;
    for (const CandidateFamily& family : keys_.families) pieces += (family.labels.size() + kCandidatesAPiece - 1) / kCandidatesAPiece;
    if (pairs_->size() != segments() || sums_->size() != segments() || candidates_seen_.size() != pieces) {
      return absl::DataLossError(Cat("the cluster has brought ", pairs_->size(), " segments, ", sums_->size(), " scores and ", candidates_seen_.size(), " pieces of candidates' sums, and there are ",
                                     segments(), ", ", segments(), " and ", pieces));
    }
    candidates_.segment = segments();
    CM_RETURN_IF_ERROR(pairs_->Sync());
    CM_RETURN_IF_ERROR(sums_->Sync());
    if (!keys_.families.empty()) CM_RETURN_IF_ERROR(ReplaceFileAtomically(run_.File("candidates.state"), EncodeCandidates(candidates_, run_.digest)));
  }
  InputEnd end;
  end.segments = segments();
  end.records = documents_;
  SegmentSource source;
  source.Add(pairs_.get(), end, options_.files);
  for (uint64_t s = 0; s < segments(); ++s) {
    SegmentHead head;
    std::vector<SectionIndex> index;
    CM_RETURN_IF_ERROR(source.Head(s, &head, &index));
    if (head.first_document != s * kClusterSegment || head.records != std::min(kClusterSegment, documents_ - s * kClusterSegment)) {
      return absl::DataLossError(Cat("segment ", s, " does not hold the documents that it should"));
    }
    end.raw_bytes += head.raw_bytes;
  }
  CM_RETURN_IF_ERROR(WriteInputEnd(run_, end));
  FinishOptions finish;
  finish.kind = "cluster";
  finish.tokenizer_sha256 = tokenizer_sha256_;
  finish.order = kOrderOfInput;
  finish.threads = ThreadsOr(options_.threads);
  finish.source = options_.source;
  return audit::Finish(run_, keys_, {Lane{&source, sums_.get(), candidates_}}, judge, finish, observer);
}

}  // namespace countermark::audit
