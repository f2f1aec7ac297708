// weights_power: what entropy weights do for the power of a test, on marked texts. For each rule the log10 p of every record, with the base channel's key.
//
//   build/bin/weights_power --model base.gguf --epoch-key epoch.key --null-keys 4000 marked.jsonl > power.json
//
// Candidates beside the published rule show what was chosen from; all are functions of the entropy alone, so none hangs on the key. Records are tested alone and in one pool,
// in which a pair has the weight of its first place. With --null-keys the published rule is tried under so many fresh keys on every record as well, by the bound and by what
// must not be used, a normal law with the sum's mean and variance. Run by tools/measure-weights.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "countermark/detect/entropy.h"
#include "countermark/detect/tails.h"
#include "countermark/keys/key_store.h"
#include "nlohmann/json.hpp"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace {

using namespace countermark;
using nlohmann::ordered_json;

struct Rule {
  std::string name;
  std::function<double(double)> weight;  // 0…256 for the entropy in nats
};

const std::vector<Rule>& Rules() {
  static const std::vector<Rule> rules = {
      {"entropy-1: 1 - exp(-H/2)", [](double h) { return 256 * -std::expm1(-h / 2); }},
      {"1 - exp(-H)", [](double h) { return 256 * -std::expm1(-h); }},
      {"1 - exp(-2H)", [](double h) { return 256 * -std::expm1(-2 * h); }},
      {"H/(1 + H)", [](double h) { return 256 * h / (1 + h); }},
      {"min(H, 4)/4", [](double h) { return 64 * std::min(h, 4.0); }},
      {"sqrt(min(H, 4)/4)", [](double h) { return 128 * std::sqrt(std::min(h, 4.0)); }},
      {"0.1 + 0.9(1 - exp(-H))", [](double h) { return 256 * (0.1 - 0.9 * std::expm1(-h)); }},
      {"H > 0.3", [](double h) { return h > 0.3 ? 256.0 : 0.0; }},
  };
  return rules;
}

struct Arguments {
  std::string model, epoch_key;
  std::vector<std::string> files;
  int threads = 1;  // libllama's threads wait by spinning: more than there are idle cores is slower
  uint64_t null_keys = 0;
};

struct Text {
  std::vector<uint32_t> ids;
  std::vector<double> nats;
};

// By first places, over texts one after another. entropy.h has the same for the published rule and one text.
std::vector<double> NatsOfPairs(const PairSet& pairs, const std::vector<Text>& texts) {
  std::vector<double> nats;
  const size_t h = static_cast<size_t>(pairs.window());
  for (const Text& text : texts) {
    for (size_t i = h; i < text.ids.size() && nats.size() < pairs.size(); ++i) {
      const size_t pair = nats.size();
      bool equal = pairs.token()[pair] == text.ids[i];
      for (size_t j = 0; j < h && equal; ++j) equal = pairs.window_token(static_cast<int>(j))[pair] == text.ids[i - h + j];
      if (equal) nats.push_back(text.nats[i]);
    }
  }
  return nats;
}

// name → log10 p of these texts' distinct pairs.
ordered_json Test(const std::vector<Text>& texts, const EpochKeys& keys) {
  PairSet pairs(keys.record.mark.window);
  for (const Text& text : texts) pairs.Add(text.ids);
  std::vector<uint32_t> shares;
  for (const ChannelSpec& channel : keys.record.channels) shares.push_back(channel.weight);
  const std::vector<uint8_t> channel = RoutePairs(pairs, keys.Route(), keys.record.mark.scheme, shares);
  const Secret32 key = keys.Base();
  const std::vector<double> nats = NatsOfPairs(pairs, texts);
  const ChannelCount plain = ScoreChannel(pairs, channel, 0, key, keys.record.mark);
  ordered_json result = {{"pairs", plain.scored}, {"unweighted, exact", Log10P(plain, keys.record.mark)}};
  const auto weighted = [&](const std::string& name, const std::function<double(double)>& rule) {
    std::vector<PairWeight> weights;
    for (const double h : nats) weights.push_back(static_cast<PairWeight>(std::lround(rule(h))));
    const WeightedCount count = CountWeighted(pairs, channel, 0, key, keys.record.mark, weights);
    const WeightedTest test = TestWeighted(count.groups, count.sum, keys.record.mark);
    result[name] = test.log10_p;
    result[name + ", saddlepoint"] = test.display_log10_p;
  };
  weighted("equal weights, bound", [](double) { return 1.0; });
  for (const Rule& rule : Rules()) weighted(rule.name, rule.weight);
  double sum = 0;
  for (const double h : nats) sum += h;
  result["mean nats"] = sum / static_cast<double>(std::max<size_t>(nats.size(), 1));
  return result;
}

constexpr double kAlphas[] = {1e-2, 1e-3, 1e-4};

// Hits at kAlphas under keys that have nothing to do with the text: by the bound, by a normal law.
struct NullHits {
  uint64_t keys = 0;
  uint64_t bound[std::size(kAlphas)] = {}, normal[std::size(kAlphas)] = {};

  void Add(const Text& text, const MarkParameters& mark, uint64_t count, std::mt19937_64& random) {
    PairSet pairs(mark.window);
    pairs.Add(text.ids);
    std::vector<PairWeight> weights;
    for (const double h : NatsOfPairs(pairs, {text})) weights.push_back(EntropyWeight(h));
    const std::vector<uint8_t> channel(pairs.size());
    const double mean = mark.scheme == Scheme::kPartition ? mark.green / 256.0 : mark.scheme == Scheme::kTournament ? mark.layers / 2.0 : 0x1p40;
    const double variance = mark.scheme == Scheme::kPartition ? mean * (1 - mean) : mark.scheme == Scheme::kTournament ? mark.layers / 4.0 : 0x1p80;
    double sum_mean = 0, sum_variance = 0;
    for (const PairWeight w : weights) {
      sum_mean += w * mean;
      sum_variance += static_cast<double>(w) * w * variance;
    }
    if (sum_variance == 0) return;
    for (uint64_t k = 0; k < count; ++k) {
      std::array<uint8_t, 32> bytes;
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      const WeightedCount counted = CountWeighted(pairs, channel, 0, Secret32(bytes), mark, weights);
      const double log10_p = TestWeighted(counted.groups, counted.sum, mark).log10_p;
      const double p_normal = std::erfc((static_cast<double>(counted.sum) - sum_mean) / std::sqrt(2 * sum_variance)) / 2;
      for (size_t i = 0; i < std::size(kAlphas); ++i) {
        bound[i] += log10_p <= std::log10(kAlphas[i]);
        normal[i] += p_normal <= kAlphas[i];
      }
    }
    keys += count;
  }
};

absl::Status Run(const Arguments& arguments) {
  CM_ASSIGN_OR_RETURN(const EpochKeys keys, ReadExport(arguments.epoch_key));
  CM_ASSIGN_OR_RETURN(const std::unique_ptr<EntropyModel> model, EntropyModel::Open(arguments.model, {.threads = arguments.threads}));
  CM_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(arguments.model));
  for (const std::string& path : arguments.files) {
    std::ifstream file(path);
    if (!file) return absl::NotFoundError(Cat(path, ": cannot be read"));
    std::vector<Text> texts;
    ordered_json records = ordered_json::array();
    NullHits null;
    std::mt19937_64 random(1);
    for (std::string line; std::getline(file, line);) {
      const std::string text = ordered_json::parse(line)["text"];
      TokenizedText tokens;
      CM_RETURN_IF_ERROR(tokenizer->Encode(text, &tokens));
      std::vector<TokenEntropy> entropies;
      CM_RETURN_IF_ERROR(model->Evaluate(text, &entropies));
      texts.push_back({tokens.ids, EntropyOfSpans(entropies, tokens.spans)});
      records.push_back(Test({texts.back()}, keys));
      null.Add(texts.back(), keys.record.mark, arguments.null_keys, random);
    }
    ordered_json line = {{"file", path}, {"records", records}, {"pool", Test(texts, keys)}, {"null keys", null.keys}};
    for (size_t i = 0; i < std::size(kAlphas) && null.keys > 0; ++i) {
      line["null"].push_back({{"alpha", kAlphas[i]}, {"bound", null.bound[i]}, {"normal law", null.normal[i]}});
    }
    std::cout << line.dump() << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Power of entropy-weighted tests on marked texts, as JSON lines.", "weights_power");
  app.add_option("--model", arguments.model, "GGUF model that gives the entropies, and the tokenizer of the marked texts")->required();
  app.add_option("--epoch-key", arguments.epoch_key, "exported epoch key with its record beside it")->required();
  app.add_option("--threads", arguments.threads, "threads")->capture_default_str();
  app.add_option("--null-keys", arguments.null_keys, "fresh keys a record")->capture_default_str();
  app.add_option("files", arguments.files, "JSON lines with a member text")->required();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Run(arguments);
  if (!status.ok()) std::fprintf(stderr, "weights_power: error: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 2;
}
