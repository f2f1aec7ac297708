// Hostile run directories: the pieces of every file in one, as they are and with their checksums made to fit, since a checksum is no protection against
// one who writes it. Nothing may crash or take memory without bound; what a reader takes it must give back unchanged.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "src/audit/crc32c.h"
#include "src/audit/frame_log.h"
#include "src/audit/phases.h"

namespace {

using namespace countermark;
using namespace countermark::audit;

void PutCrc(std::string* bytes, size_t at, std::string_view of) {
  const uint32_t crc = Crc32c(of);
  if (at + 4 <= bytes->size()) std::memcpy(bytes->data() + at, &crc, 4);
}

void TrySegment(std::string bytes) {
  const absl::StatusOr<SegmentView> view = SegmentView::Parse(std::move(bytes));
  if (!view.ok()) return;
  std::vector<DocumentRow> rows;
  if (view->Documents(&rows).ok() && rows.size() != view->head().rows) std::abort();
  for (uint32_t p = 0; p < kPartitions; ++p) {
    uint64_t pairs = 0;
    (void)view->ForEachPair(p, [&](uint32_t row, const uint32_t* tokens) {
      if (row >= view->head().rows || tokens[0] > 0xFFFFFF) std::abort();
      ++pairs;
    });
    if (pairs > view->index()[p].bytes) std::abort();
  }
}

// The checksums of a segment, as far as its lengths make sense.
void MendSegment(std::string* bytes) {
  if (bytes->size() < kSegmentDocumentsAt) return;
  uint64_t documents;
  std::memcpy(&documents, bytes->data() + 32, 8);
  documents = std::min<uint64_t>(documents, bytes->size() - kSegmentDocumentsAt);
  std::memcpy(bytes->data() + 32, &documents, 8);
  PutCrc(bytes, 40, std::string_view(*bytes).substr(kSegmentDocumentsAt, documents));
  uint64_t at = kSegmentDocumentsAt + documents;
  for (uint32_t p = 0; p < kPartitions; ++p) {
    uint32_t size;
    std::memcpy(&size, bytes->data() + kSegmentHeadBytes + 12 * p, 4);
    if (size > bytes->size() - at || p + 1 == kPartitions) size = static_cast<uint32_t>(bytes->size() - at);
    std::memcpy(bytes->data() + kSegmentHeadBytes + 12 * p, &size, 4);
    PutCrc(bytes, kSegmentHeadBytes + 12 * p + 8, std::string_view(*bytes).substr(at, size));
    at += size;
  }
  PutCrc(bytes, kSegmentDocumentsAt - 4, std::string_view(*bytes).substr(0, kSegmentDocumentsAt - 4));
}

void TryCandidates(std::string bytes, const AuditKeys& keys, bool mend) {
  if (mend && bytes.size() >= 4) PutCrc(&bytes, bytes.size() - 4, std::string_view(bytes).substr(0, bytes.size() - 4));
  const absl::StatusOr<CandidateState> state = ParseCandidates(bytes, Digest32{}, keys);
  if (!state.ok()) return;
  const absl::StatusOr<CandidateState> again = ParseCandidates(EncodeCandidates(*state, Digest32{}), Digest32{}, keys);
  if (!again.ok() || again->segment != state->segment || again->families[0].statistic != state->families[0].statistic) std::abort();
}

void TryLog(std::string bytes, bool mend) {
  static const std::string folder = [] {
    char name[] = "/tmp/run_directory_fuzz-XXXXXX";
    return std::string(mkdtemp(name) != nullptr ? name : "/tmp");
  }();
  static const bool cleans = std::atexit([] {
    unlink((folder + "/log-000.log").c_str());
    rmdir(folder.c_str());
  }) == 0;
  (void)cleans;
  if (mend) {
    PutCrc(&bytes, 60, std::string_view(bytes).substr(0, std::min<size_t>(60, bytes.size())));
    for (size_t at = 64; at + 28 <= bytes.size();) {
      uint64_t size;
      std::memcpy(&size, bytes.data() + at + 12, 8);
      size = std::min<uint64_t>(size, bytes.size() - at - 28);
      PutCrc(&bytes, at + 20, std::string_view(bytes).substr(at + 28, size));
      PutCrc(&bytes, at + 24, std::string_view(bytes).substr(at, 24));
      at += 28 + size;
    }
  }
  const std::string path = folder + "/log-000.log";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
  close(fd);
  absl::StatusOr<FrameLog> log = FrameLog::Open(folder + "/log", Digest32{}, FrameLog::kWrite);
  if (!log.ok()) return;
  for (uint64_t number = 0; number < 4; ++number) {
    if (log->Has(number)) (void)log->Read(number);
  }
  if (!log->Append(77777, "more").ok() || !log->Has(77777)) std::abort();
  const absl::StatusOr<FrameLog> again = FrameLog::Open(folder + "/log", Digest32{}, FrameLog::kRead);
  if (!again.ok() || again->size() != log->size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const AuditKeys* const keys = [] {
    const EpochKeys epoch{EpochRecord(), Secret32(std::span<const uint8_t, 32>(reinterpret_cast<const uint8_t*>("0123456789abcdef0123456789abcdef"), 32)), {}};
    return new AuditKeys(*AuditKeys::Create(epoch, {"a", "b", "c"}, "", {}));
  }();
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      TrySegment(bytes);
      MendSegment(&bytes);
      TrySegment(std::move(bytes));
      break;
    case 1: {
      SegmentScores scores;
      for (const uint32_t rows : {0u, 3u, 4000000000u}) (void)ParseScores(bytes, rows, &scores);
      break;
    }
    case 2:
      TryCandidates(bytes, *keys, false);
      TryCandidates(std::move(bytes), *keys, true);
      break;
    default:
      TryLog(bytes, false);
      TryLog(std::move(bytes), true);
      break;
  }
  return 0;
}
