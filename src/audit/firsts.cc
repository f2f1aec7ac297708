// In each partition, the segments in order: a pair that is not in the table yet is the first of its kind, and so its document's.
#include <algorithm>
#include <cmath>

#include "src/audit/crc32c.h"
#include "src/audit/parallel.h"
#include "src/audit/phases.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

struct Partition {
  const SegmentSource& source;
  const PairHash& hash;
  uint32_t number;
  uint32_t slices;  // the table holds the pairs of one slice at a time
  uint64_t most;    // pairs of a slice, at most (some leeway for chance)
};

absl::Status Slice(const Partition& partition, uint32_t slice, std::string* entries) {
  static thread_local PackedSet seen;  // its memory is kept from partition to partition
  seen.Reset(partition.most);
  uint64_t in_table = 0;
  size_t at = 0;
  std::string section;
  SegmentHead head;
  std::vector<SectionIndex> index;
  for (uint64_t s = 0; s < partition.source.segments(); ++s) {
    CM_RETURN_IF_ERROR(partition.source.Head(s, &head, &index));
    const SectionIndex& mine = index[partition.number];
    const size_t bits = at + 4;
    at = bits + (mine.pairs + 7) / 8;
    if (mine.pairs == 0) continue;
    uint64_t place = kSegmentDocumentsAt + head.documents_bytes;
    for (uint32_t p = 0; p < partition.number; ++p) place += index[p].bytes;
    CM_RETURN_IF_ERROR(partition.source.Section(s, place, mine, &section));
    const int count = static_cast<int>(head.tokens_a_pair);
    uint64_t i = 0;
    const bool whole = ForEachPairOf(section, head.tokens_a_pair, head.rows, [&](uint32_t, const uint32_t* tokens) {
      const uint64_t number = i++;
      if (number >= mine.pairs) return;
      const uint64_t h = partition.hash.Of(tokens, count);
      if (partition.slices > 1 && SliceOf(h, partition.slices) != slice) return;
      if (in_table == partition.most || !seen.Insert(Pack(tokens, count), partition.hash.Spread(h))) return;
      ++in_table;
      (*entries)[bits + number / 8] |= static_cast<char>(1 << number % 8);
    });
    if (!whole || i != mine.pairs) return absl::DataLossError(Cat(partition.source.Place(s), ": section ", partition.number, " is not well formed"));
  }
  if (in_table == partition.most && partition.slices > 1) return absl::ResourceExhaustedError("a slice of a partition is larger than chance allows; give more memory");
  return absl::OkStatus();
}

}  // namespace

absl::Status FindFirsts(const SegmentSource& source, const PairHash& hash, int threads, uint64_t memory, FrameLog* firsts, const AuditObserver& observer) {
  // How many pairs each partition holds, and the bytes of its frame.
  std::vector<uint64_t> pairs(kPartitions), bytes(kPartitions);
  uint64_t todo = 0;
  for (uint64_t s = 0; s < source.segments(); ++s) {
    SegmentHead head;
    std::vector<SectionIndex> index;
    CM_RETURN_IF_ERROR(source.Head(s, &head, &index));
    for (uint32_t p = 0; p < kPartitions; ++p) {
      pairs[p] += index[p].pairs;
      bytes[p] += 4 + (index[p].pairs + 7) / 8;
    }
  }
  std::vector<uint32_t> left;
  for (uint32_t p = 0; p < kPartitions; ++p) {
    if (firsts->Has(p)) continue;
    left.push_back(p);
    todo += pairs[p];
  }
  if (left.empty()) return absl::OkStatus();
  observer.begin("distinct pairs", "pairs", todo);
  const uint64_t largest = *std::max_element(bytes.begin(), bytes.end());
  const uint64_t fixed = uint64_t{64} << 20;
  // As many at once as leave each a table of 16 MiB at least.
  const uint64_t room = memory > fixed ? memory - fixed : memory / 2;
  const auto most_threads = static_cast<int>(std::max<uint64_t>(1, room / (2 * largest + (uint64_t{16} << 20))));
  threads = std::min(threads, most_threads);
  const uint64_t each = room / static_cast<uint64_t>(threads);
  const uint64_t table = std::max<uint64_t>(each > 2 * largest ? each - 2 * largest : 0, std::min(room / 2, uint64_t{8} << 20)) / PackedSet::kBytesEach;
  const auto produce = [&](uint64_t i, const Nothing&, Nothing*) -> absl::Status {
    Partition partition{source, hash, left[i], 1, pairs[left[i]] + 1};
    if (partition.most > table) {
      partition.slices = static_cast<uint32_t>(std::min<uint64_t>(kMostSlices, pairs[left[i]] / (table * 7 / 8) + 1));
      const uint64_t share = pairs[left[i]] / partition.slices;  // what a slice holds on average, and leeway of many standard deviations
      partition.most = share + share / 8 + 8 * static_cast<uint64_t>(std::sqrt(static_cast<double>(share))) + 64;
    }
    std::string entries(bytes[left[i]], '\0');
    for (uint32_t slice = 0; slice < partition.slices; ++slice) CM_RETURN_IF_ERROR(Slice(partition, slice, &entries));
    size_t at = 0;
    for (uint64_t s = 0; s < source.segments(); ++s) {
      SegmentHead head;
      std::vector<SectionIndex> index;
      CM_RETURN_IF_ERROR(source.Head(s, &head, &index));
      const size_t size = (index[left[i]].pairs + 7) / 8;
      const uint32_t crc = Crc32c(std::string_view(entries).substr(at + 4, size));
      std::memcpy(entries.data() + at, &crc, sizeof crc);
      at += 4 + size;
    }
    return firsts->Append(left[i], entries);
  };
  CM_RETURN_IF_ERROR((ParallelOrdered<Nothing, Nothing>(
      threads, 0, left.size(), [](uint64_t, Nothing*) { return absl::OkStatus(); }, produce,
      [&](uint64_t i, Nothing&) {
        observer.add(pairs[left[i]]);
        return absl::OkStatus();
      })));
  return firsts->Sync();
}

absl::Status LoadFirstPairs(const SegmentSource& source, const FrameLog& firsts, uint64_t segment, const EntryPlaces& places, const AuditKeys& keys,
                            FirstPairs* out) {
  CM_ASSIGN_OR_RETURN(const SegmentView view, source.Read(segment));
  const int h = keys.record.mark.window;
  if (static_cast<int>(view.head().tokens_a_pair) != h + 1) return absl::DataLossError(Cat(source.Place(segment), ": pairs of another window"));
  *out = FirstPairs();
  out->rows = view.head().rows;
  std::string entry;
  for (uint32_t p = 0; p < kPartitions; ++p) {
    const uint32_t count = view.index()[p].pairs;
    if (count == 0) continue;
    CM_RETURN_IF_ERROR(firsts.ReadPart(p, places.at[p], 4 + (count + 7) / 8, &entry));
    uint32_t crc;
    std::memcpy(&crc, entry.data(), sizeof crc);
    if (crc != Crc32c(std::string_view(entry).substr(4))) {
      return absl::DataLossError(Cat(firsts.Place(p), ": the checksum of segment ", segment, " does not fit; remove this file and start again: what the others hold is kept"));
    }
    uint64_t i = 0;
    const bool whole = view.ForEachPair(p, [&](uint32_t row, const uint32_t* tokens) {
      const uint64_t number = i++;
      if (number >= count || (entry[4 + number / 8] >> number % 8 & 1) == 0) return;
      out->row.push_back(row);
      for (int j = 0; j < h; ++j) out->window[j].push_back(tokens[j]);
      out->token.push_back(tokens[h]);
    });
    if (!whole || i != count) return absl::DataLossError(Cat(source.Place(segment), ": section ", p, " is not well formed"));
  }
  out->channel.resize(out->token.size());
  PairChannels(out->Columns(), keys.route, keys.record.mark.scheme, h, keys.weights, out->channel);
  return absl::OkStatus();
}

}  // namespace countermark::audit
