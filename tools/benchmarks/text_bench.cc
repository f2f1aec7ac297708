// text_bench TOKENIZER TEXT… [--rounds N]: detection from text beside tokenising alone, on one core, in turn.
//
// The texts are cut at line ends into records of about 2,000 bytes. Tokenising alone is timed twice: by the tokenizer's own library, which gives ids
// and nothing else, and by ours, which gives the bytes each id stands for too. Detection is ours with distinct pairs, routes, scores of the base channel and
// three candidate accounts, and their p-values. The same records are then taken from their ids, with and without p-values.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "countermark/detect/detector.h"
#include "countermark/tokenize/tokenizer.h"
#include "tools/benchmarks/epoch.h"
#include "tools/benchmarks/figures.h"
#include "tools/benchmarks/raw_tokenizers.h"

namespace {

constexpr size_t kRecordBytes = 2000;
constexpr size_t kTurn = 64;

std::vector<std::string> Records(const std::vector<std::string>& paths) {
  std::vector<std::string> records;
  for (const std::string& path : paths) {
    std::ifstream in(path, std::ios::binary);
    if (!in) countermark::bench::Die("cannot read " + path);
    std::string record;
    for (std::string line; std::getline(in, line);) {
      record += line + "\n";
      if (record.size() >= kRecordBytes) records.push_back(std::exchange(record, ""));
    }
    if (!record.empty()) records.push_back(record);
  }
  return records;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace countermark;
  using bench::Die;
  size_t rounds = 5;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--rounds" && i + 1 < argc) {
      rounds = static_cast<size_t>(std::atoi(argv[++i]));
    } else {
      paths.push_back(argv[i]);
    }
  }
  if (paths.size() < 2) Die("text_bench TOKENIZER TEXT… [--rounds N]");
  const std::string tokenizer_path = paths[0];
  paths.erase(paths.begin());
  absl::StatusOr<std::unique_ptr<Tokenizer>> opened = OpenTokenizer(tokenizer_path);
  if (!opened.ok()) Die(std::string(opened.status().message()));
  const Tokenizer& tokenizer = **opened;
  const bool gguf = tokenizer.kind() == "gguf";
  if (!gguf && tokenizer.kind() != "sentencepiece") Die(tokenizer_path + ": tools/compare-tokenizers measures this kind");
  const bench::RawTokenizer raw = gguf ? bench::RawLlama(tokenizer_path) : bench::RawSentencePiece(tokenizer_path);
  if (!raw) Die("the library of " + tokenizer_path + " does not load it");
  const EpochKeys epoch = bench::MakeEpoch(Scheme::kGumbel, tokenizer.vocabulary());
  absl::StatusOr<Detector> detector = Detector::Create(epoch, {"org-1", "org-2", "org-3"});
  if (!detector.ok()) Die(std::string(detector.status().message()));
  const Secret32 route = epoch.Route(), keys[] = {epoch.Base(), epoch.Account("org-1")};
  const uint32_t weights[] = {32768, 32768};
  const std::vector<std::string> records = Records(paths);
  size_t bytes = 0, tokens = 0, distinct = 0;
  for (const std::string& r : records) bytes += r.size();

  TokenizedText text;
  PairSet pairs(detector->window());
  volatile double sink = 0;
  const auto encode = [&](const std::string& record) {
    if (absl::Status status = tokenizer.Encode(record, &text); !status.ok()) Die(std::string(status.message()));
  };
  const auto score = [&] {
    pairs.Clear();
    pairs.Add(text.ids);
    sink = detector->Score(pairs).channels[0].log10_p;
  };
  std::vector<double> by_library, by_us, with_detection, with_p_values, counts_alone;
  // What is timed, and where each round's sum goes. A work passes over 64 records before the next has its turn, so that none finds a record's words
  // still in the caches and branch predictors from the one before.
  const std::vector<std::pair<std::function<void(const std::string&)>, std::vector<double>*>> works = {
      {[&](const std::string& record) { sink = static_cast<double>(raw(record)); }, &by_library},
      {encode, &by_us},
      {[&](const std::string& record) { encode(record); score(); }, &with_detection},
  };
  std::mt19937 random(1);
  for (size_t round = 0; round <= rounds; ++round) {  // round 0 fills caches and is left out
    std::vector<double> sums(works.size());
    double p_values = 0, counts = 0;
    tokens = distinct = 0;
    for (size_t begin = 0; begin < records.size(); begin += kTurn) {
      const size_t end = std::min(records.size(), begin + kTurn);
      std::vector<size_t> order(works.size());
      std::iota(order.begin(), order.end(), size_t{0});
      std::shuffle(order.begin(), order.end(), random);
      for (size_t w : order) {
        const double start = bench::ThreadSeconds();
        for (size_t i = begin; i < end; ++i) works[w].first(records[i]);
        sums[w] += bench::ThreadSeconds() - start;
      }
      for (size_t i = begin; i < end; ++i) {
        encode(records[i]);
        const double a = bench::ThreadSeconds();
        score();
        const double b = bench::ThreadSeconds();
        pairs.Clear();
        pairs.Add(text.ids);
        sink = static_cast<double>(ScoreAllChannels(pairs, route, keys, weights, epoch.record.mark)[0].scored);
        const double c = bench::ThreadSeconds();
        p_values += b - a;
        counts += c - b;
        tokens += text.ids.size();
        distinct += pairs.size();
      }
    }
    if (round == 0) continue;
    for (size_t w = 0; w < works.size(); ++w) works[w].second->push_back(sums[w]);
    with_p_values.push_back(p_values);
    counts_alone.push_back(counts);
  }
  const auto ratio = [&](const std::vector<double>& to) {
    std::vector<double> ratios;
    for (size_t i = 0; i < to.size(); ++i) ratios.push_back(with_detection[i] / to[i]);
    return bench::MedianOf(ratios);
  };
  const std::string library = gguf ? "libllama" : "SentencePiece", of = ", " + library + "'s vocabulary, " + DetectIsa();
  bench::Figures figures;
  const double mb = 1e-6 * static_cast<double>(bytes);
  figures.Add("tokenising alone, " + library + of, mb / bench::MedianOf(by_library), "MB/s");
  figures.Add("tokenising alone, ours, with byte spans" + of, mb / bench::MedianOf(by_us), "MB/s");
  figures.Add("detection from text" + of, mb / bench::MedianOf(with_detection), "MB/s");
  figures.Add("detection from text" + of, 1e-6 * static_cast<double>(tokens) / bench::MedianOf(with_detection), "M tokens/s");
  figures.Add("detection from text / tokenising alone, ours" + of, ratio(by_us), "x", "the same tokenizer on the same records; target <= 1.10");
  figures.Add("detection from text / tokenising alone, " + library + of, ratio(by_library), "x", library + " itself, ids only, on the same records; target <= 1.10");
  figures.Add("detection from ids, gumbel, the same records" + of, 1e-6 * static_cast<double>(distinct) / bench::MedianOf(counts_alone), "M pairs/s",
              bench::TargetFor(DetectIsa(), ">=", "40", "20"));
  figures.Add("the same with three candidate accounts and all p-values" + of, 1e-6 * static_cast<double>(distinct) / bench::MedianOf(with_p_values), "M pairs/s",
              "about " + std::to_string(tokens / records.size()) + " tokens a record");
  figures.Print();
}
