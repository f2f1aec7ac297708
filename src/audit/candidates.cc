// Every candidate's key on every pair of its channel. Windows and routes are looked at once for all; the sums are put by now and then.
#include <algorithm>
#include <chrono>
#include <thread>

#include "src/audit/crc32c.h"
#include "src/audit/parallel.h"
#include "src/audit/phases.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

constexpr std::string_view kMagic = "CMCANDS1";
constexpr uint64_t kWork = uint64_t{1} << 31;    // pairs × candidates between two looks at the clock
constexpr size_t kMostPairs = size_t{1} << 20;   // put together before they are scored
constexpr size_t kLeastPairs = 512;
constexpr std::chrono::seconds kPutBy{10};

// Pairs on one family's channel, in order, waiting to be scored.
struct Waiting {
  std::vector<uint32_t> pairs;  // h + 1 tokens each
};

}  // namespace

void ScoreCandidatePairs(const std::vector<uint32_t>& tokens, const AuditKeys& keys, const CandidateFamily& family, int threads, FamilyCounts* counts) {
  const auto per_pair = static_cast<size_t>(keys.record.mark.window) + 1;
  const size_t pairs = tokens.size() / per_pair;
  counts->scored += pairs;
  const auto parts = static_cast<size_t>(threads);
  const bool by_keys = family.keys.size() >= 64 * parts;
  std::vector<std::vector<ChannelCount>> results(parts);
  std::vector<std::thread> workers;
  PairSet shared(keys.record.mark.window);
  const auto fill = [&](PairSet& set, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) set.Add(std::span<const uint32_t>(&tokens[i * per_pair], per_pair));
  };
  if (by_keys) fill(shared, 0, pairs);
  std::vector<uint32_t> all(by_keys ? shared.size() : 0);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint32_t>(i);
  const auto bound = [parts](size_t total, size_t part) { return total * part / parts; };
  for (size_t t = 0; t < parts; ++t) {
    workers.emplace_back([&, t] {
      if (by_keys) {
        const size_t begin = bound(family.keys.size(), t), end = bound(family.keys.size(), t + 1);
        results[t] = ScoreCandidates(shared, all, std::span(family.keys).subspan(begin, end - begin), keys.record.mark);
        return;
      }
      PairSet mine(keys.record.mark.window);
      fill(mine, bound(pairs, t), bound(pairs, t + 1));
      std::vector<uint32_t> which(mine.size());
      for (size_t i = 0; i < which.size(); ++i) which[i] = static_cast<uint32_t>(i);
      results[t] = ScoreCandidates(mine, which, family.keys, keys.record.mark);
    });
  }
  for (std::thread& worker : workers) worker.join();
  for (size_t t = 0; t < parts; ++t) {
    const size_t first = by_keys ? bound(family.keys.size(), t) : 0;
    for (size_t k = 0; k < results[t].size(); ++k) counts->statistic[first + k] += results[t][k].statistic;
  }
}

std::string EncodeCandidates(const CandidateState& state, const Digest32& digest) {
  std::string out(kMagic);
  PutU32(kRunFormat, &out);
  out.append(reinterpret_cast<const char*>(digest.data()), digest.size());
  PutU64(state.segment, &out);
  PutU64(state.taken, &out);
  PutVarint(static_cast<uint64_t>(state.families.size()), &out);
  for (const FamilyCounts& family : state.families) {
    PutVarint(family.scored, &out);
    PutVarint(static_cast<uint64_t>(family.statistic.size()), &out);
    for (const Statistic value : family.statistic) PutVarint(value, &out);
  }
  PutU32(Crc32c(out), &out);
  return out;
}

absl::StatusOr<CandidateState> ParseCandidates(std::string_view bytes, const Digest32& digest, const AuditKeys& keys) {
  if (bytes.size() < kMagic.size() + 40 || !bytes.starts_with(kMagic)) return absl::DataLossError("this is not the state of candidates");
  uint32_t crc;
  std::memcpy(&crc, bytes.data() + bytes.size() - 4, sizeof crc);
  if (crc != Crc32c(bytes.substr(0, bytes.size() - 4))) return absl::DataLossError("the checksum does not fit; remove this file and start again");
  Reader in(bytes.substr(kMagic.size(), bytes.size() - kMagic.size() - 4));
  const uint32_t version = in.U32();
  if (version != kRunFormat) return absl::FailedPreconditionError(Cat("format version ", version, ", and this program knows ", kRunFormat));
  if (in.Take(digest.size()) != std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size())) {
    return absl::FailedPreconditionError("this file belongs to a run with other options, another key or another input");
  }
  CandidateState state;
  state.segment = in.U64();
  state.taken = in.U64();
  if (in.Varint() != keys.families.size()) return absl::DataLossError("other candidates than the run's");
  for (const CandidateFamily& family : keys.families) {
    FamilyCounts& counts = state.families.emplace_back();
    counts.scored = in.Varint();
    if (in.Varint() != family.labels.size()) return absl::DataLossError("other candidates than the run's");
    for (size_t i = 0; i < family.labels.size() && in.ok(); ++i) counts.statistic.push_back(in.Varint<Statistic>());
  }
  if (!in.ok() || !in.empty()) return absl::DataLossError("the state of candidates is not well formed");
  return state;
}

absl::StatusOr<CandidateState> ScoreCandidateFamilies(const RunDirectory& run, const SegmentSource& source, const FrameLog& firsts, const AuditKeys& keys, int threads,
                                                      const AuditObserver& observer) {
  CandidateState state;
  for (const CandidateFamily& family : keys.families) state.families.push_back({0, std::vector<Statistic>(family.labels.size())});
  if (keys.families.empty()) return state;
  const std::string path = run.File("candidates.state");
  uint64_t candidates = 0;
  for (const CandidateFamily& family : keys.families) candidates += family.labels.size();
  if (absl::StatusOr<std::string> saved = ReadWholeFile(path, size_t{4} << 30); saved.ok()) {
    absl::StatusOr<CandidateState> read = ParseCandidates(*saved, run.digest, keys);
    if (!read.ok()) return absl::Status(read.status().code(), Cat("'", path, "': ", std::string(read.status().message())));
    state = *std::move(read);
    if (state.segment > source.segments()) return absl::DataLossError(Cat("'", path, "': further than the input goes"));
  } else if (!absl::IsNotFound(saved.status())) {
    return saved.status();
  }
  if (state.segment == source.segments()) return state;
  observer.begin("candidates", "segments", source.segments() - state.segment);
  const auto per_pair = static_cast<size_t>(keys.record.mark.window) + 1;
  const size_t at_once = std::clamp<uint64_t>(kWork / candidates, kLeastPairs, kMostPairs);

  // What is waiting, family by family, and where the last pair that was taken stands. With many candidates a segment is scored in pieces, each
  // ending at a pair of the segment, so that little is lost when the run ends.
  std::vector<Waiting> waiting(keys.families.size());
  auto last = std::chrono::steady_clock::now();
  const auto score_all = [&](uint64_t segment, uint64_t taken, bool put_by) -> absl::Status {
    for (size_t f = 0; f < keys.families.size(); ++f) {
      if (!waiting[f].pairs.empty()) ScoreCandidatePairs(waiting[f].pairs, keys, keys.families[f], threads, &state.families[f]);
      waiting[f].pairs.clear();
    }
    state.segment = segment;
    state.taken = taken;
    const auto now = std::chrono::steady_clock::now();
    if (!put_by && now - last < kPutBy) return absl::OkStatus();
    CM_RETURN_IF_ERROR(ReplaceFileAtomically(path, EncodeCandidates(state, run.digest)));
    last = std::chrono::steady_clock::now();
    return absl::OkStatus();
  };

  EntryPlaces running;
  SegmentHead head;
  std::vector<SectionIndex> index;
  for (uint64_t s = 0; s < state.segment; ++s) {
    CM_RETURN_IF_ERROR(source.Head(s, &head, &index));
    running.Advance(index);
  }
  const auto prepare = [&](uint64_t segment, EntryPlaces* places) {
    *places = running;
    SegmentHead here;
    std::vector<SectionIndex> sections;
    CM_RETURN_IF_ERROR(source.Head(segment, &here, &sections));
    running.Advance(sections);
    return absl::OkStatus();
  };
  const uint64_t first = state.segment, skip = state.taken;
  const auto consume = [&](uint64_t segment, FirstPairs& pairs) -> absl::Status {
    size_t most = 0;
    for (size_t i = segment == first ? skip : 0; i < pairs.token.size(); ++i) {
      for (size_t f = 0; f < keys.families.size(); ++f) {
        if (pairs.channel[i] != keys.families[f].channel) continue;
        std::vector<uint32_t>& to = waiting[f].pairs;
        for (int j = 0; j < keys.record.mark.window; ++j) to.push_back(pairs.window[j][i]);
        to.push_back(pairs.token[i]);
        most = std::max(most, to.size());
      }
      if (most < at_once * per_pair) continue;
      CM_RETURN_IF_ERROR(score_all(segment, i + 1, false));
      most = 0;
    }
    observer.add(1);
    return absl::OkStatus();
  };
  CM_RETURN_IF_ERROR((ParallelOrdered<EntryPlaces, FirstPairs>(
      threads, first, source.segments(), prepare,
      [&](uint64_t segment, const EntryPlaces& places, FirstPairs* pairs) { return LoadFirstPairs(source, firsts, segment, places, keys, pairs); }, consume)));
  CM_RETURN_IF_ERROR(score_all(source.segments(), 0, true));
  return state;
}

}  // namespace countermark::audit
