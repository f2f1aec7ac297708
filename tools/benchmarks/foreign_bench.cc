// foreign_bench IDS CONFIG-FOLDER: times the detection of transformers' marks (KGW lefthash and selfhash, SynthID) on the ids that transformers' own detectors are timed on.
// IDS: 32 bits each, little endian. The configurations are hf-kgw.json, hf-kgw-selfhash.json and hf-synthid.json.
//
// KGW draws a permutation for each previous token. "a first text": nothing is known of the key's lists, as for one text after start. "text after text": other texts by the same law
// (ids ~ V^U) have gone before, so the lists of frequent tokens are kept, as in a run over many documents; each timed text is a new one.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "countermark/detect/foreign/format.h"
#include "tools/benchmarks/figures.h"

namespace {

using namespace countermark;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::unique_ptr<ForeignFormat> Open(const std::string& name, const std::string& folder) {
  auto format = OpenForeignFormat(name, ReadFile(folder + "/" + name + ".json"), name + ".json");
  if (!format.ok()) {
    std::fprintf(stderr, "bench: error: %s\n", std::string(format.status().message()).c_str());
    std::exit(2);
  }
  return *std::move(format);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "bench: error: give a file of ids and a folder of configurations: foreign_bench IDS FOLDER\n");
    return 2;
  }
  const std::string bytes = ReadFile(argv[1]);
  std::vector<uint32_t> ids(bytes.size() / 4);
  std::memcpy(ids.data(), bytes.data(), ids.size() * 4);
  std::mt19937_64 random(7);
  const auto text = [&](size_t n, uint32_t vocabulary) {
    std::vector<uint32_t> out(n);
    for (uint32_t& id : out) id = static_cast<uint32_t>(std::pow(static_cast<double>(vocabulary), 0x1p-53 * static_cast<double>(random() >> 11)));
    return out;
  };
  const std::string isa = DetectIsa();
  bench::Figures figures;
  constexpr size_t kKgwIds = 400;
  for (const std::string name : {"hf-kgw", "hf-kgw-selfhash"}) {
    const std::span<const uint32_t> shared(ids.data(), std::min(kKgwIds, ids.size()));
    std::vector<double> first;
    std::unique_ptr<ForeignFormat> format;
    for (int round = 0; round < 9; ++round) {
      format = Open(name, argv[2]);  // nothing known
      const auto scorer = format->NewScorer();
      const double start = bench::ThreadSeconds();
      scorer->Score(shared, {}, nullptr);
      first.push_back(bench::ThreadSeconds() - start);
    }
    figures.Add(name + ", a first text of " + std::to_string(shared.size()) + " ids, " + isa, static_cast<double>(shared.size()) / bench::MedianOf(first), "tokens/s");
    const auto scorer = format->NewScorer();
    const double again = bench::MedianSeconds([&] { scorer->Score(shared, {}, nullptr); });
    figures.Add(name + ", the same " + std::to_string(shared.size()) + " ids again and again, " + isa, static_cast<double>(shared.size()) / again, "tokens/s");
    for (int i = 0; i < 4000; ++i) scorer->Score(text(kKgwIds, format->vocab_size()), {}, nullptr);
    std::vector<double> later;
    for (int i = 0; i < 300; ++i) {
      const std::vector<uint32_t> fresh = text(kKgwIds, format->vocab_size());
      const double start = bench::ThreadSeconds();
      scorer->Score(fresh, {}, nullptr);
      later.push_back(bench::ThreadSeconds() - start);
    }
    double sum = 0;
    for (const double seconds : later) sum += seconds;
    figures.Add(name + ", text after text, " + isa, static_cast<double>(kKgwIds * later.size()) / sum, "tokens/s");
  }
  const auto synthid = Open("hf-synthid", argv[2]);
  const auto scorer = synthid->NewScorer();
  const double seconds = bench::MedianSeconds([&] { scorer->Score(ids, {}, nullptr); });
  figures.Add("hf-synthid, " + std::to_string(ids.size()) + " ids, 30 layers, g-values, mask and p, " + isa, static_cast<double>(ids.size()) / seconds, "tokens/s");
  figures.Print();
}
