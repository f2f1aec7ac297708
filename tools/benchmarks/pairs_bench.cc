// Times detection from ids, gumbel, h = 2: the distinct pairs, their routes and scores on two channels, and many candidate accounts, under the
// instruction set COUNTERMARK_ISA allows. Ids follow a Zipf-like law, so that frequent words repeat as in text.
#include <array>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "countermark/detect/pairs.h"
#include "tools/benchmarks/figures.h"

int main() {
  using namespace countermark;
  using bench::MedianSeconds;
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
  for (size_t n : {size_t{200}, size_t{2000}, size_t{100000}, size_t{1000000}, size_t{10000000}}) {
    const std::vector<uint32_t> ids = text(n);
    PairSet pairs(mark.window);
    const double distinct = MedianSeconds([&] { pairs.Clear(); pairs.Add(ids); });
    const double score = MedianSeconds([&] { ScoreAllChannels(pairs, route, {keys.data(), 2}, weights, mark); });
    const std::string of = ", " + std::to_string(n) + " tokens, " + isa;
    figures.Add("distinct pairs" + of, 1e9 * distinct / static_cast<double>(n), "ns/token");
    figures.Add("route and score, two channels" + of, 1e9 * score / static_cast<double>(pairs.size()), "ns/pair");
    figures.Add("detection from ids" + of, 1e-6 * static_cast<double>(n) / (distinct + score), "M tokens/s");
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
