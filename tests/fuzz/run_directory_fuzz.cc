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

#include "src/audit/frame_log.h"
#include "src/audit/phases.h"
#include "tests/fuzz/mend.h"

namespace {

using namespace countermark;
using namespace countermark::audit;

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
  if (mend) MendLog(&bytes, Digest32{}, false);
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
