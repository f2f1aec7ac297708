// The input, cut into segments on the calling thread and worked on by the others.
#include <malloc.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

#include "countermark/detect/tails.h"
#include "src/audit/crc32c.h"
#include "src/audit/parallel.h"
#include "src/audit/phases.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

constexpr uint64_t kSegmentBytes = 1 << 20;
constexpr uint32_t kSegmentRecords = 8192;
constexpr size_t kScoreAt = 65536;     // pairs put together before they are scored
// Memory of a segment at work, measured at its worst: a byte of the input, for ids, hash tables, columns and spilled bytes; and a byte of the
// longest text, for what a tokenizer takes while it works (SentencePiece on text that falls back to bytes).
constexpr uint64_t kMemoryAByte = 24;
constexpr uint64_t kTokenizerMemoryAByte = 180;
constexpr uint64_t kTrimFrom = 1 << 20;

uint32_t CrcOf(const RawRecord& raw, uint32_t crc) {
  const uint64_t head[4] = {raw.file, raw.line, raw.byte, uint64_t{raw.ends_file} << 32 | raw.bytes.size()};
  crc = Crc32c({reinterpret_cast<const char*>(head), sizeof head}, crc);
  crc = Crc32c(raw.bytes, crc);
  for (const std::string& cell : raw.cells) {
    const uint64_t size = cell.size();
    crc = Crc32c(cell, Crc32c({reinterpret_cast<const char*>(&size), sizeof size}, crc));
  }
  if (raw.ready != nullptr) {
    const InputRecord& r = *raw.ready;
    const uint64_t sizes[6] = {r.id.size(), r.text.size(), r.ids.size(), r.prompt_text.size(), r.prompt_ids.size(), r.has_prompt};
    crc = Crc32c({reinterpret_cast<const char*>(sizes), sizeof sizes}, crc);
    for (const std::string* text : {&r.id, &r.text, &r.prompt_text}) crc = Crc32c(*text, crc);
    for (const std::vector<uint32_t>* ids : {&r.ids, &r.prompt_ids}) crc = Crc32c({reinterpret_cast<const char*>(ids->data()), 4 * ids->size()}, crc);
  }
  return Crc32c({raw.error.message().data(), raw.error.message().size()}, crc);
}

// A record's ids, or what is wrong with it.
struct Parsed {
  InputRecord record;
  absl::Status status;
};

absl::Status ParseIds(RawRecord& raw, const std::vector<std::string>& paths, const AuditKeys& keys, const Tokenizer* tokenizer, const InputOptions& input,
                      TokenizedText* tokens, InputRecord* record) {
  if (raw.ready != nullptr) {
    *record = std::move(*raw.ready);
    raw.ready.reset();
    CM_RETURN_IF_ERROR(raw.error);
  } else {
    CM_RETURN_IF_ERROR(ParseRecord(raw, paths[raw.file], input, record));
  }
  if (!record->has_ids) {
    if (tokenizer == nullptr) return absl::InvalidArgumentError("this is text, and no --tokenizer was given");
    CM_RETURN_IF_ERROR(tokenizer->Encode(record->text, tokens));
    record->ids.assign(tokens->ids.begin(), tokens->ids.end());
    record->text = std::string();
  }
  if (record->has_prompt && record->prompt_ids.empty() && !record->prompt_text.empty()) {
    CM_RETURN_IF_ERROR(tokenizer->Encode(record->prompt_text, tokens));
    record->prompt_ids.assign(tokens->ids.begin(), tokens->ids.end());
    record->prompt_text = std::string();
  }
  for (size_t i = 0; i < record->ids.size(); ++i) {
    if (record->ids[i] < keys.id_limit()) continue;
    return absl::InvalidArgumentError(Cat("token id ", record->ids[i], " at position ", i, " is beyond the vocabulary of ", keys.id_limit()));
  }
  return absl::OkStatus();
}

// Scores pairs of many short documents together.
class OwnScores {
 public:
  OwnScores(const AuditKeys& keys, std::vector<DocumentRow>* rows) : keys_(keys), rows_(rows) {
    for (int j = 0; j < keys.record.mark.window; ++j) pairs_.window[j].resize(kScoreAt);
    pairs_.token.resize(kScoreAt);
    pairs_.row.resize(kScoreAt);
  }
  // All pairs of the set that `chosen` has not left out: one byte a pair, 0 for those; empty for all.
  void Add(uint32_t row, const PairSet& own, std::span<const uint8_t> chosen) {
    const int h = keys_.record.mark.window;
    for (size_t begin = 0; begin < own.size();) {
      const size_t count = std::min(own.size() - begin, kScoreAt - size_);
      if (chosen.empty()) {
        for (int j = 0; j < h; ++j) std::copy_n(own.window_token(j).data() + begin, count, pairs_.window[j].data() + size_);
        std::copy_n(own.token().data() + begin, count, pairs_.token.data() + size_);
        std::fill_n(pairs_.row.data() + size_, count, row);
        size_ += count;
      } else {
        for (size_t i = begin; i < begin + count; ++i) {
          if (chosen[i] == 0) continue;
          for (int j = 0; j < h; ++j) pairs_.window[j][size_] = own.window_token(j)[i];
          pairs_.token[size_] = own.token()[i];
          pairs_.row[size_++] = row;
        }
      }
      begin += count;
      if (size_ == kScoreAt) Flush();
    }
  }
  void Flush() {
    const MarkParameters& mark = keys_.record.mark;
    channel_.resize(size_);
    PairSpan columns = pairs_.Columns();
    columns.size = size_;
    PairChannels(columns, keys_.route, mark.scheme, mark.window, keys_.weights, channel_);
    size_t kept = 0;
    for (size_t i = 0; i < size_; ++i) {
      ++(*rows_)[pairs_.row[i]].scored;
      if (channel_[i] != 0) continue;
      for (int j = 0; j < mark.window; ++j) pairs_.window[j][kept] = pairs_.window[j][i];
      pairs_.token[kept] = pairs_.token[i];
      pairs_.row[kept++] = pairs_.row[i];
    }
    words_.resize(kept);
    scores_.resize(kept);
    columns.size = kept;
    PairWords(columns, keys_.base, mark.scheme, mark.window, words_);
    ScoresOfWords(words_, mark, scores_);
    for (size_t i = 0; i < kept; ++i) {
      ChannelCount& count = (*rows_)[pairs_.row[i]].base;
      ++count.scored;
      count.statistic += scores_[i];
    }
    size_ = 0;
  }

 private:
  const AuditKeys& keys_;
  std::vector<DocumentRow>* rows_;
  FirstPairs pairs_;
  size_t size_ = 0;  // of its columns, in use
  std::vector<uint8_t> channel_;
  std::vector<uint32_t> words_;
  std::vector<uint64_t> scores_;
};

// Segments on their way to the workers, and how much memory those at work may take.
class Gate {
 public:
  Gate(uint64_t bytes, size_t waiting) : bytes_(bytes), waiting_limit_(waiting) {}
  // Waits for room; one segment is always let in. False once something failed.
  bool Put(RawSegment segment) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return !status_.ok() || in_flight_ == 0 || (in_flight_ + segment.memory <= bytes_ && waiting_.size() < waiting_limit_); });
    if (!status_.ok()) return false;
    in_flight_ += segment.memory;
    waiting_.push_back(std::move(segment));
    changed_.notify_all();
    return true;
  }
  bool Take(RawSegment* segment) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return !status_.ok() || closed_ || !waiting_.empty(); });
    if (!status_.ok() || waiting_.empty()) return false;
    *segment = std::move(waiting_.front());
    waiting_.pop_front();
    return true;
  }
  void Done(uint64_t memory, const absl::Status& status, const std::function<void()>& tell) {
    std::lock_guard<std::mutex> lock(mutex_);
    in_flight_ -= memory;
    if (status_.ok()) status_ = status;
    tell();
    changed_.notify_all();
  }
  void Close() {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  // From the reading thread, which tells of what it skips.
  void Tell(const std::function<void()>& tell) {
    std::lock_guard<std::mutex> lock(mutex_);
    tell();
  }
  absl::Status status() {
    std::lock_guard<std::mutex> lock(mutex_);
    return status_;
  }

 private:
  const uint64_t bytes_;
  const size_t waiting_limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<RawSegment> waiting_;
  uint64_t in_flight_ = 0;
  bool closed_ = false;
  absl::Status status_;
};

}  // namespace

PairSpan FirstPairs::Columns() const {
  PairSpan span;
  for (int j = 0; j < kMaxWindow; ++j) span.window[j] = window[j].data();
  span.token = token.data();
  span.size = token.size();
  return span;
}

uint64_t RecordBytes(const RawRecord& raw) {
  uint64_t size = raw.bytes.size();
  for (const std::string& cell : raw.cells) size += cell.size();
  if (raw.ready != nullptr) size += raw.ready->text.size() + raw.ready->prompt_text.size() + 4 * (raw.ready->ids.size() + raw.ready->prompt_ids.size());
  return size;
}

RawSegment CutSegment(RecordSource& source, uint64_t limit, uint64_t number, uint64_t records_before) {
  RawSegment segment;
  segment.number = number;
  segment.first_document = records_before;
  uint64_t records = records_before;
  uint64_t longest = 0;
  while (segment.raw_bytes < kSegmentBytes && segment.records.size() < kSegmentRecords && (limit == 0 || records < limit)) {
    RawRecord raw;
    if (!source.Next(&raw)) break;
    if (!raw.ends_file) ++records;
    const uint64_t size = RecordBytes(raw);
    segment.raw_bytes += size;
    longest = std::max(longest, size);
    segment.raw_crc = CrcOf(raw, segment.raw_crc);
    segment.records.push_back(std::move(raw));
  }
  segment.memory = 1 + segment.raw_bytes * kMemoryAByte + longest * kTokenizerMemoryAByte;
  return segment;
}

absl::Status ScoreRecords(std::vector<RawRecord>& records, const std::vector<std::string>& paths, const AuditKeys& keys, const PairHash& hash, const Tokenizer* tokenizer,
                          const DatasetOptions& options, std::vector<DocumentRow>* out, SegmentTally* tally, const EachPair& each) {
  const int h = keys.record.mark.window;
  const auto size = records.size();
  std::vector<DocumentRow>& rows = *out;
  rows.assign(size, DocumentRow());
  std::vector<Parsed> parsed(size);
  TokenizedText tokens;
  size_t ids = 0;
  for (size_t i = 0; i < size; ++i) {
    RawRecord& raw = records[i];
    DocumentRow& row = rows[i];
    row.file = raw.file;
    row.line = raw.line;
    InputRecord& record = parsed[i].record;
    if (raw.ends_file) {
      parsed[i].status = raw.error;
      record.error_byte = raw.byte;
      row.kind = RowKind::kFileBroke;
    } else {
      try {
        parsed[i].status = ParseIds(raw, paths, keys, tokenizer, options.input, &tokens, &record);
      } catch (const std::bad_alloc&) {
        return absl::ResourceExhaustedError(Cat(paths[raw.file], ":", raw.line, ": no memory for this record; lower --max-record-bytes or give more memory"));
      }
      if (!parsed[i].status.ok()) row.kind = RowKind::kUnreadable;
    }
    row.id = record.id;
    row.byte = parsed[i].status.ok() ? raw.byte : record.error_byte;
    if (!parsed[i].status.ok()) {
      row.error = std::string(parsed[i].status.message().substr(0, 500));
      record.ids.clear();
    }
    raw.bytes = std::string();
    raw.cells.clear();
    ids += record.ids.size();
  }
  tokens = TokenizedText();
  if (tally != nullptr) tally->tokens += ids;

  OwnScores scores(keys, &rows);
  static thread_local PackedSet seen;  // its memory is kept from segment to segment
  seen.Reset(size > 1 ? ids : 0);      // a single document's pairs are distinct already
  PairSet own(h);
  uint32_t pair[kMostTokens];
  std::vector<uint64_t> hashes;
  std::vector<uint8_t> chosen;  // where a part alone is wanted: whether each pair is of it
  for (size_t i = 0; i < size; ++i) {
    InputRecord& record = parsed[i].record;
    own.Clear();
    if (record.has_prompt) own.ExcludeWindowsOf(record.prompt_ids);
    own.Add(record.ids);
    record = InputRecord();
    hashes.resize(own.size());
    hash.OfColumns(own, hashes);
    if (options.parts > 1) {
      chosen.resize(own.size());
      for (size_t k = 0; k < own.size(); ++k) chosen[k] = PartOf(hashes[k], options.parts) == options.part;
    }
    scores.Add(static_cast<uint32_t>(i), own, chosen);
    constexpr size_t kAhead = 12;  // so that the table's answer is there when it is asked for
    for (size_t k = 0; k < own.size(); ++k) {
      if (k + kAhead < own.size()) seen.Prefetch(hash.Spread(hashes[k + kAhead]));
      if (!chosen.empty() && chosen[k] == 0) continue;
      for (int j = 0; j < h; ++j) pair[j] = own.window_token(j)[k];
      pair[h] = own.token()[k];
      const uint64_t hashed = hashes[k];
      if (size > 1 && !seen.Insert(Pack(pair, h + 1), hash.Spread(hashed))) continue;
      each(static_cast<uint32_t>(i), pair, hashed);
    }
  }
  scores.Flush();
  for (DocumentRow& row : rows) {
    row.log10_p = Log10P(row.base, keys.record.mark);
    row.log10_e = Log10E(row.base, keys.record.mark);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> EncodeSegment(RawSegment& segment, const std::vector<std::string>& paths, const AuditKeys& keys, const PairHash& hash,
                                          const Tokenizer* tokenizer, const DatasetOptions& options, SegmentTally* tally) {
  SegmentWriter writer(static_cast<uint32_t>(keys.record.mark.window) + 1);
  std::vector<DocumentRow> rows;
  CM_RETURN_IF_ERROR(ScoreRecords(segment.records, paths, keys, hash, tokenizer, options, &rows, tally,
                                  [&](uint32_t row, const uint32_t* pair, uint64_t hashed) { writer.AddPair(row, PartitionOf(hashed), pair); }));
  for (const DocumentRow& row : rows) writer.AddDocument(row);
  SegmentHead head;
  head.first_document = segment.first_document;
  head.raw_bytes = segment.raw_bytes;
  head.raw_crc = segment.raw_crc;
  return writer.Finish(head);
}

absl::StatusOr<InputEnd> MapInput(const RunDirectory& run, const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options, FrameLog* pairs,
                                  const AuditObserver& observer) {
  const PairHash hash(keys.epoch_key);
  const int threads = ThreadsOr(options.threads);
  InputReader files(options.files, options.input);
  RecordSource& source = options.source != nullptr ? *options.source : files;
  const uint64_t room = options.memory > (uint64_t{256} << 20) ? options.memory - (uint64_t{192} << 20) : options.memory / 4;
  Gate gate(room, static_cast<size_t>(2 * threads));
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&] {
      RawSegment segment;
      while (gate.Take(&segment)) {
        absl::Status status;
        const uint64_t raw_bytes = segment.raw_bytes, memory = segment.memory;
        try {
          absl::StatusOr<std::string> payload = EncodeSegment(segment, source.paths(), keys, hash, tokenizer, options, nullptr);
          status = payload.ok() ? pairs->Append(segment.number, *payload) : payload.status();
        } catch (const std::bad_alloc&) {
          status = absl::ResourceExhaustedError("no memory left; what is done is kept");
        }
        if (memory > kTrimFrom * kTokenizerMemoryAByte) malloc_trim(0);  // what a long text took is not kept for the next
        gate.Done(memory, status, [&] { observer.add(raw_bytes); });
      }
    });
  }
  InputEnd end;
  end.disk = LookAtFiles(options.files);
  absl::Status status;
  while (true) {
    RawSegment segment = CutSegment(source, options.limit, end.segments, end.records);
    if (status = source.status(); !status.ok()) break;
    if (segment.records.empty()) break;
    for (const RawRecord& raw : segment.records) end.records += !raw.ends_file;
    end.raw_bytes += segment.raw_bytes;
    const uint32_t crc = segment.raw_crc;
    end.raw_crc = Crc32c({reinterpret_cast<const char*>(&crc), sizeof crc}, end.raw_crc);
    const uint64_t number = end.segments++;
    if (!pairs->Has(number)) {
      if (!gate.Put(std::move(segment))) break;
      continue;
    }
    SegmentHead head;
    std::vector<SectionIndex> index;
    std::string bytes;
    status = pairs->ReadPart(number, 0, kSegmentDocumentsAt, &bytes);
    if (status.ok()) status = ParseSegmentHead(bytes, &head, &index);
    if (status.ok() && (head.raw_crc != segment.raw_crc || head.first_document != segment.first_document)) {
      const RawRecord& first = segment.records.front();
      status = absl::FailedPreconditionError(Cat("the input has changed since this run began, at or after ", source.paths()[first.file], ":", first.line,
                                                 "; take another run directory"));
    }
    if (!status.ok()) break;
    gate.Tell([&] { observer.add(segment.raw_bytes); });
  }
  gate.Close();
  for (std::thread& worker : workers) worker.join();
  CM_RETURN_IF_ERROR(gate.status());
  CM_RETURN_IF_ERROR(status);
  CM_RETURN_IF_ERROR(pairs->Sync());
  CM_RETURN_IF_ERROR(WriteInputEnd(run, end));
  return end;
}

}  // namespace countermark::audit
