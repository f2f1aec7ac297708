#include "src/audit/segment.h"

#include "src/audit/crc32c.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

void PutHead(const SegmentHead& head, std::string* out) {
  PutU64(head.first_document, out);
  PutU64(head.raw_bytes, out);
  PutU32(head.raw_crc, out);
  PutU32(head.tokens_a_pair, out);
  PutU32(head.rows, out);
  PutU32(head.records, out);
  PutU64(head.documents_bytes, out);
  PutU32(head.documents_crc, out);
  PutU64(0, out);
}

}  // namespace

absl::Status ParseSegmentHead(std::string_view bytes, SegmentHead* head, std::vector<SectionIndex>* index) {
  if (bytes.size() < kSegmentDocumentsAt) return absl::DataLossError("the segment is shorter than its head");
  Reader in(bytes);
  head->first_document = in.U64();
  head->raw_bytes = in.U64();
  head->raw_crc = in.U32();
  head->tokens_a_pair = in.U32();
  head->rows = in.U32();
  head->records = in.U32();
  head->documents_bytes = in.U64();
  head->documents_crc = in.U32();
  in.U64();
  index->resize(kPartitions);
  for (SectionIndex& section : *index) {
    section.bytes = in.U32();
    section.pairs = in.U32();
    section.crc = in.U32();
  }
  if (in.U32() != Crc32c(bytes.substr(0, kSegmentDocumentsAt - 4))) return absl::DataLossError("the checksum of the segment's head does not fit");
  if (head->tokens_a_pair < kMinWindow + 1 || head->tokens_a_pair > kMostTokens || head->records > head->rows) {
    return absl::DataLossError("the segment's head is impossible");
  }
  for (const SectionIndex& section : *index) {  // tables are made for so many
    if (section.pairs > section.bytes / (3 * head->tokens_a_pair)) return absl::DataLossError("a section of the segment says that it holds more pairs than bytes for them");
  }
  return absl::OkStatus();
}

absl::Status ParseDocuments(std::string_view bytes, uint32_t rows, std::vector<DocumentRow>* out) {
  out->clear();
  Reader in(bytes);
  for (uint32_t i = 0; i < rows; ++i) {
    if (!in.ok()) break;
    DocumentRow& row = out->emplace_back();
    const auto kind = in.Raw<uint8_t>();
    if (kind > 2) return absl::DataLossError(Cat("document ", i, " of the segment is of an unknown kind"));
    row.kind = static_cast<RowKind>(kind);
    row.file = in.Varint<uint32_t>();
    row.line = in.Varint();
    row.byte = in.Varint();
    row.id = std::string(in.Bytes());
    if (row.kind != RowKind::kDocument) {
      row.error = std::string(in.Bytes());
      continue;
    }
    row.scored = in.Varint();
    row.base.scored = in.Varint();
    row.base.statistic = in.Varint<Statistic>();
    row.log10_p = in.Double();
    row.log10_e = in.Double();
  }
  if (!in.ok() || !in.empty()) return absl::DataLossError("the segment's documents are not well formed");
  return absl::OkStatus();
}

absl::StatusOr<SegmentView> SegmentView::Parse(std::string payload) {
  SegmentView view;
  CM_RETURN_IF_ERROR(ParseSegmentHead(payload, &view.head_, &view.index_));
  uint64_t at = kSegmentDocumentsAt;
  if (view.head_.documents_bytes > payload.size() - at) return absl::DataLossError("the segment is shorter than its documents");
  if (Crc32c(std::string_view(payload).substr(at, view.head_.documents_bytes)) != view.head_.documents_crc) {
    return absl::DataLossError("the checksum of the segment's documents does not fit");
  }
  at += view.head_.documents_bytes;
  for (uint32_t p = 0; p < kPartitions; ++p) {
    view.offset_.push_back(at);
    const SectionIndex& section = view.index_[p];
    if (section.bytes > payload.size() - at) return absl::DataLossError(Cat("the segment is shorter than its section ", p));
    if (Crc32c(std::string_view(payload).substr(at, section.bytes)) != section.crc) return absl::DataLossError(Cat("the checksum of section ", p, " does not fit"));
    at += section.bytes;
  }
  if (at != payload.size()) return absl::DataLossError("the segment is longer than it says");
  view.payload_ = std::move(payload);
  return view;
}

absl::Status SegmentView::Documents(std::vector<DocumentRow>* rows) const {
  return ParseDocuments(std::string_view(payload_).substr(kSegmentDocumentsAt, head_.documents_bytes), head_.rows, rows);
}

void AppendDocument(const DocumentRow& row, std::string* out) {
  out->push_back(static_cast<char>(row.kind));
  PutVarint(row.file, out);
  PutVarint(row.line, out);
  PutVarint(row.byte, out);
  PutBytes(row.id, out);
  if (row.kind != RowKind::kDocument) {
    PutBytes(row.error, out);
    return;
  }
  PutVarint(row.scored, out);
  PutVarint(row.base.scored, out);
  PutVarint(row.base.statistic, out);
  PutDouble(row.log10_p, out);
  PutDouble(row.log10_e, out);
}

void SegmentWriter::AddDocument(const DocumentRow& row) {
  ++rows_;
  if (row.kind != RowKind::kFileBroke) ++records_;
  AppendDocument(row, &documents_);
}

void SegmentWriter::Close(Section& section) {
  if (section.pending_pairs == 0) return;
  PutVarint(section.pending_row - section.last_row, &section.bytes);
  PutVarint(section.pending_pairs, &section.bytes);
  section.bytes += section.pending;
  section.last_row = section.pending_row;
  section.pairs += section.pending_pairs;
  section.pending.clear();
  section.pending_pairs = 0;
}

std::string SegmentWriter::Finish(SegmentHead head) {
  head.tokens_a_pair = tokens_a_pair_;
  head.rows = rows_;
  head.records = records_;
  head.documents_bytes = documents_.size();
  head.documents_crc = Crc32c(documents_);
  std::string payload;
  PutHead(head, &payload);
  size_t total = kSegmentDocumentsAt + documents_.size();
  for (Section& section : sections_) {
    Close(section);
    section.pending = std::string();
    total += section.bytes.size();
  }
  payload.reserve(total);
  for (const Section& section : sections_) {
    PutU32(static_cast<uint32_t>(section.bytes.size()), &payload);
    PutU32(section.pairs, &payload);
    PutU32(Crc32c(section.bytes), &payload);
  }
  PutU32(Crc32c(payload), &payload);
  payload += documents_;
  for (Section& section : sections_) {
    payload += section.bytes;
    section.bytes = std::string();
  }
  return payload;
}

}  // namespace countermark::audit
