// A segment: a stretch of the input, some thousand documents or one MiB, with what is known of each document and the spilled pairs of all.
//
//   SegmentWriter writer(tokens_a_pair);
//   writer.AddPair(0, partition, tokens);  …  writer.AddDocument(row);  …
//   log.Append(number, writer.Finish(head));
//
//   CM_ASSIGN_OR_RETURN(SegmentView view, SegmentView::Parse(payload));    // any bytes; all checksums held
//   view.Documents(&rows);
//   view.ForEachPair(partition, [](uint32_t document, const uint32_t* tokens) { … });
//
// Payload: a head of fixed size; an index of kPartitions × (bytes, pairs, CRC-32C of the section), 12 bytes each; the CRC-32C of head and
// index; the documents, with their CRC-32C in the head; the sections. A section is groups of (steps to the next document that has pairs here, number of pairs,
// the pairs: 3 bytes a token). A pair that stands in several documents of a segment is spilled once, for the first.
#ifndef COUNTERMARK_SRC_AUDIT_SEGMENT_H_
#define COUNTERMARK_SRC_AUDIT_SEGMENT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/detect/pairs.h"
#include "src/audit/bytes.h"
#include "src/audit/pair_hash.h"

namespace countermark::audit {

enum class RowKind : uint8_t {
  kDocument = 0,
  kUnreadable = 1,   // a record that counts and could not be read
  kFileBroke = 2,    // no record: from here on the file is lost
};

// A document and the test of its own distinct pairs.
struct DocumentRow {
  RowKind kind = RowKind::kDocument;
  uint32_t file = 0;
  uint64_t line = 0;
  uint64_t byte = 0;
  std::string id;
  std::string error;       // of the two other kinds
  uint64_t scored = 0;     // distinct pairs, whatever the channel; of this part, where the run is one
  ChannelCount base;       // of these, on the base channel
  double log10_p = 0;
  double log10_e = 0;
};

struct SegmentHead {
  uint64_t first_document = 0;  // rows that are records, before this segment
  uint64_t raw_bytes = 0;       // of the records, as they were cut out
  uint32_t raw_crc = 0;         // of the same: a changed input is known when the run goes on
  uint32_t tokens_a_pair = 0;   // h + 1
  uint32_t rows = 0;
  uint32_t records = 0;
  uint64_t documents_bytes = 0;
  uint32_t documents_crc = 0;
};

struct SectionIndex {
  uint32_t bytes = 0;
  uint32_t pairs = 0;
  uint32_t crc = 0;
};

inline constexpr uint64_t kSegmentHeadBytes = 52;
inline constexpr uint64_t kSegmentIndexBytes = 12 * kPartitions;
inline constexpr uint64_t kSegmentDocumentsAt = kSegmentHeadBytes + kSegmentIndexBytes + 4;

// Head and index alone, from the first kSegmentDocumentsAt bytes of a payload. DataLoss where they do not fit their checksum.
absl::Status ParseSegmentHead(std::string_view bytes, SegmentHead* head, std::vector<SectionIndex>* index);

// Calls each(document of the segment, tokens) for every pair of a section, in order. False for a section that is not well formed; what was
// called before stands.
template <typename Each>
bool ForEachPairOf(std::string_view section, uint32_t tokens_a_pair, uint32_t rows, const Each& each) {
  Reader in(section);
  uint64_t document = 0;
  uint32_t tokens[kMostTokens];
  while (!in.empty()) {
    document += in.Varint();
    const uint64_t count = in.Varint();
    if (!in.ok() || document >= rows || count > section.size()) return false;
    const std::string_view pairs = in.Take(count * tokens_a_pair * 3);
    if (!in.ok()) return false;
    const auto* at = reinterpret_cast<const uint8_t*>(pairs.data());
    for (uint64_t i = 0; i < count; ++i) {
      for (uint32_t j = 0; j < tokens_a_pair; ++j, at += 3) tokens[j] = at[0] | uint32_t{at[1]} << 8 | uint32_t{at[2]} << 16;
      each(static_cast<uint32_t>(document), tokens);
    }
  }
  return true;
}

class SegmentView {
 public:
  // Takes the payload over. DataLoss says what does not fit. Any bytes.
  static absl::StatusOr<SegmentView> Parse(std::string payload);
  const SegmentHead& head() const { return head_; }
  const std::vector<SectionIndex>& index() const { return index_; }
  absl::Status Documents(std::vector<DocumentRow>* rows) const;
  template <typename Each>
  bool ForEachPair(uint32_t partition, const Each& each) const {
    return ForEachPairOf(std::string_view(payload_).substr(offset_[partition], index_[partition].bytes), head_.tokens_a_pair, head_.rows, each);
  }

 private:
  std::string payload_;
  SegmentHead head_;
  std::vector<SectionIndex> index_;
  std::vector<uint64_t> offset_;
};

void AppendDocument(const DocumentRow& row, std::string* out);
// `rows` of them, and nothing behind.
absl::Status ParseDocuments(std::string_view bytes, uint32_t rows, std::vector<DocumentRow>* out);

class SegmentWriter {
 public:
  explicit SegmentWriter(uint32_t tokens_a_pair) : tokens_a_pair_(tokens_a_pair), sections_(kPartitions) {}
  void AddDocument(const DocumentRow& row);
  // Of the document in row `row` of the segment; rows in ascending order. Documents may be added before or after.
  void AddPair(uint32_t row, uint32_t partition, const uint32_t* tokens) {
    Section& section = sections_[partition];
    if (section.pending_row != row) {
      Close(section);
      section.pending_row = row;
    }
    char bytes[3 * kMostTokens];
    for (uint32_t j = 0; j < tokens_a_pair_; ++j) {
      bytes[3 * j] = static_cast<char>(tokens[j]);
      bytes[3 * j + 1] = static_cast<char>(tokens[j] >> 8);
      bytes[3 * j + 2] = static_cast<char>(tokens[j] >> 16);
    }
    section.pending.append(bytes, 3 * tokens_a_pair_);
    ++section.pending_pairs;
  }
  // The payload. `head`: first_document, raw_bytes and raw_crc; the rest is filled in.
  std::string Finish(SegmentHead head);

 private:
  struct Section {
    std::string bytes;
    std::string pending;     // pairs of one document, whose number is not yet known
    uint32_t pending_row = 0;
    uint32_t pending_pairs = 0;
    uint32_t last_row = 0;
    uint32_t pairs = 0;
  };
  void Close(Section& section);

  uint32_t tokens_a_pair_;
  uint32_t rows_ = 0;
  uint32_t records_ = 0;
  std::string documents_;
  std::vector<Section> sections_;
};

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_SEGMENT_H_
