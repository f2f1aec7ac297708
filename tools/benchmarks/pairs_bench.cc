// pairs_bench IDS [MOST] [--cores N]: times detection from ids, h = 2: the distinct pairs, their routes and scores on two channels, and many candidate
// accounts, under the instruction set COUNTERMARK_ISA allows. IDS: a file of ids, 32 bits each, little endian, that other projects' detectors are
// timed on, too. The other ids follow a Zipf-like law, so that frequent words repeat as in text; up to MOST of them (default 10 million).
// With --cores alone the rate of N threads, each on texts of its own, beside that of one: wall time, so the machine must be quiet.
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "countermark/detect/pairs.h"
#include "countermark/keys/epoch.h"
#include "tools/benchmarks/figures.h"

namespace {

std::vector<uint32_t> ReadIds(const char* path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<uint32_t> ids;
  for (uint32_t id; in.read(reinterpret_cast<char*>(&id), sizeof id);) ids.push_back(id);
  return ids;
}

// Million pairs a second of so many threads together, over half a second.
double RateOf(int threads, const std::vector<uint32_t>& ids, const countermark::Secret32& route, std::span<const countermark::Secret32> keys) {
  using namespace countermark;
  using Clock = std::chrono::steady_clock;
  const uint32_t weights[] = {32768, 32768};
  std::atomic<uint64_t> pairs = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> workers;
  const auto start = Clock::now();
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&] {
      const MarkParameters mark;
      PairSet set(mark.window);
      uint64_t own = 0;
      while (!stop) {
        set.Clear();
        set.Add(ids);
        ScoreAllChannels(set, route, keys, weights, mark);
        own += set.size();
      }
      pairs += own;
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  stop = true;
  for (std::thread& worker : workers) worker.join();
  return 1e-6 * static_cast<double>(pairs) / std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace countermark;
  using bench::MedianSeconds;
  if (argc < 2 || ReadIds(argv[1]).empty()) {
    std::fprintf(stderr, "bench: error: give a file of ids: pairs_bench IDS [MOST]\n");
    return 2;
  }
  const int cores = argc > 3 && std::string(argv[2]) == "--cores" ? std::atoi(argv[3]) : 0;
  const size_t most = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10000000;
  std::mt19937_64 random(1);
  const auto secret = [&] {
    std::array<uint8_t, 32> bytes;
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    return Secret32(bytes);
  };
  const auto text = [&](size_t n) {
    std::vector<uint32_t> ids(n);
    for (uint32_t& id : ids) id = static_cast<uint32_t>(std::pow(128256.0, 0x1p-53 * static_cast<double>(random() >> 11)));
    return ids;
  };
  const std::string isa = DetectIsa();
  const uint32_t weights[] = {32768, 32768}, whole[] = {65536};
  const MarkParameters mark;
  const Secret32 route = secret();
  std::vector<Secret32> keys;
  for (int k = 0; k < 4096; ++k) keys.push_back(secret());

  bench::Figures figures;
  if (cores > 0) {
    const std::vector<uint32_t> ids = ReadIds(argv[1]);
    std::vector<double> one, ratio;
    for (int round = 0; round < 7; ++round) {
      one.push_back(RateOf(1, ids, route, {keys.data(), 2}));
      ratio.push_back(RateOf(cores, ids, route, {keys.data(), 2}) / one.back());
    }
    figures.Add("detection from ids, gumbel, one core, " + isa, bench::MedianOf(one), "M pairs/s");
    figures.Add("detection from ids, gumbel, " + std::to_string(cores) + " cores / one, " + isa, bench::MedianOf(ratio), "x",
                "wall time; target >= " + std::to_string(0.95 * cores).substr(0, 4));
    figures.Print();
    return 0;
  }
  const std::string target = bench::TargetFor(isa, ">=", "40", "20");
  // The whole path a text's ids take: distinct pairs, the channel of each, its score. Counted in distinct pairs, of which a text has fewer than tokens.
  const auto time = [&](const std::vector<uint32_t>& ids, const std::string& what, Scheme scheme, bool parts) {
    MarkParameters parameters = mark;
    parameters.scheme = scheme;
    PairSet set(mark.window);
    const double distinct = MedianSeconds([&] { set.Clear(); set.Add(ids); });
    const double score = MedianSeconds([&] { ScoreAllChannels(set, route, {keys.data(), 2}, weights, parameters); });
    const double alone = MedianSeconds([&] { ScoreAllChannels(set, route, {keys.data(), 1}, whole, parameters); });
    const double pairs = static_cast<double>(set.size());
    const std::string of = ", " + std::string(SchemeName(scheme)) + ", " + what + ", " + isa;
    if (parts) {
      figures.Add("distinct pairs" + of, 1e9 * distinct / static_cast<double>(ids.size()), "ns/token");
      figures.Add("route and score, two channels" + of, 1e9 * score / pairs, "ns/pair");
    }
    figures.Add("detection from ids" + of, 1e-6 * pairs / (distinct + score), "M pairs/s", target);
    figures.Add("detection from ids, one channel" + of, 1e-6 * pairs / (distinct + alone), "M pairs/s", target);
  };
  const std::vector<uint32_t> shared = ReadIds(argv[1]);
  const std::string of_shared = "the peers' " + std::to_string(shared.size()) + " ids";
  for (Scheme scheme : {Scheme::kGumbel, Scheme::kPartition, Scheme::kTournament}) time(shared, of_shared, scheme, false);
  for (size_t n : {size_t{200}, size_t{2000}, size_t{100000}, size_t{1000000}, size_t{10000000}}) {
    if (n <= most) time(text(n), std::to_string(n) + " ids", Scheme::kGumbel, true);
  }

  PairSet pairs(mark.window);
  pairs.Add(text(2000));
  std::vector<uint32_t> which(400);
  for (uint32_t i = 0; i < which.size(); ++i) which[i] = i;
  for (size_t count : {size_t{1}, size_t{8}, size_t{100}, keys.size()}) {
    const double seconds = MedianSeconds([&] { ScoreCandidates(pairs, which, {keys.data(), count}, mark); });
    figures.Add("candidate accounts, " + std::to_string(count) + " keys x 400 pairs, " + isa,
                1e9 * seconds / static_cast<double>(count * which.size()), "ns/(key, pair)");
    if (count == keys.size()) figures.Add("10^6 accounts x 400 pairs, " + isa, 1e6 * seconds / static_cast<double>(count), "s");
  }
  figures.Print();
}
