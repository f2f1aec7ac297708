// pairs_bench IDS [MOST]: times detection from ids, h = 2: the distinct pairs, their routes and scores on two channels, and many candidate
// accounts, under the instruction set COUNTERMARK_ISA allows. IDS: a file of ids, 32 bits each, little endian, that other projects' detectors are
// timed on, too. The other ids follow a Zipf-like law, so that frequent words repeat as in text; up to MOST of them (default 10 million).
#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
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

}  // namespace

int main(int argc, char** argv) {
  using namespace countermark;
  using bench::MedianSeconds;
  if (argc < 2 || ReadIds(argv[1]).empty()) {
    std::fprintf(stderr, "bench: error: give a file of ids: pairs_bench IDS [MOST]\n");
    return 2;
  }
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
  const uint32_t weights[] = {32768, 32768};
  const MarkParameters mark;
  const Secret32 route = secret();
  std::vector<Secret32> keys;
  for (int k = 0; k < 4096; ++k) keys.push_back(secret());

  bench::Figures figures;
  const std::string target = bench::TargetFor(isa, ">=", "20", "10");
  // The whole path a text's ids take: distinct pairs, the channel of each, its score. Counted in distinct pairs, of which a text has fewer than tokens.
  const auto time = [&](const std::vector<uint32_t>& ids, const std::string& what, Scheme scheme, bool parts) {
    MarkParameters parameters = mark;
    parameters.scheme = scheme;
    PairSet set(mark.window);
    const double distinct = MedianSeconds([&] { set.Clear(); set.Add(ids); });
    const double score = MedianSeconds([&] { ScoreAllChannels(set, route, {keys.data(), 2}, weights, parameters); });
    const double pairs = static_cast<double>(set.size());
    const std::string of = ", " + std::string(SchemeName(scheme)) + ", " + what + ", " + isa;
    if (parts) {
      figures.Add("distinct pairs" + of, 1e9 * distinct / static_cast<double>(ids.size()), "ns/token");
      figures.Add("route and score, two channels" + of, 1e9 * score / pairs, "ns/pair");
    }
    figures.Add("detection from ids" + of, 1e-6 * pairs / (distinct + score), "M pairs/s", target);
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
