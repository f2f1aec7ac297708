// calibrate: the null trials of tests/calibration at length, and their figures as one JSON file.
//
//   build/bin/calibrate --passages 5000000 --out docs/results/calibration.json
//   build/bin/calibrate --only verdicts --sets 20000 --out docs/results/calibration-verdicts.json
//
// For each scheme, alone and as the base of two channels, so many passages of 200 tokens, each under a fresh key; the same with deduplication off and
// under fixed keys, to show what those do; whole verdicts over data sets. Each of the three can be run on its own. Exit 0: all inside their bands; 1: something is outside; 2: no run.
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>

#include "countermark/keys/epoch.h"
#include "nlohmann/json.hpp"
#include "src/base/strings.h"
#include "tests/calibration/nulls.h"
#include "tools/benchmarks/figures.h"
#include "tools/cli/cli.h"

namespace {

using namespace countermark;
using namespace countermark::calibration;
using nlohmann::ordered_json;

constexpr double kBandOdds = 1e-3;      // a 99.9 % band
constexpr double kUniformOdds = 1e-3;

struct Arguments {
  uint64_t passages = 5000000;
  uint64_t sets = 2000;
  uint64_t fixed_keys = 100;
  uint64_t seed = 1000000;
  int threads = 2;
  std::string only;  // empty: all parts
  std::string tokenizer = COUNTERMARK_CACHE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  std::string corpus = COUNTERMARK_SOURCE_DIR "/tests/calibration/corpus";
  std::string out = "-";
};

std::string Number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}
std::string Level(double alpha) { return Number("%.0e", alpha); }

std::string BandText(const HitCheck& check, uint64_t of) {
  return Cat(Number("%.1f", check.expected), " attained of ", of, ", 99.9 % band ", check.low, " to ", check.high);
}
std::string MostText(const HitCheck& check, uint64_t of) { return Cat("at most ", check.high, " of ", of); }

class Run {
 public:
  Run(const Arguments& arguments, std::vector<Kind> corpus) : arguments_(arguments), corpus_(std::move(corpus)) {}

  void Case(Scheme scheme, bool two_channels) {
    NullOptions options = Options(scheme, two_channels);
    const std::string name = std::string(SchemeName(scheme)) + (two_channels ? ", base of two channels" : ", single channel");
    NullTally tally = RunNulls(corpus_, options);
    const AttainedLevels levels(options.mark, kPassageTokens);
    for (size_t i = 0; i < kAlphas.size(); ++i) {
      const HitCheck check = CheckHits(tally.hits[i], tally.Expected(levels, kAlphas[i]), kBandOdds);
      Judge(Cat("p <= ", Level(kAlphas[i]), ", ", name), check.hits, "passages", BandText(check, tally.passages), check.inside());
    }
    for (size_t kind = 0; kind < corpus_.size(); ++kind) {
      std::vector<double>& values = tally.uniform[kind];
      const double distance = UniformDistance(values), bound = UniformDistanceBound(values.size(), kUniformOdds);
      Judge(Cat("Kolmogorov-Smirnov distance of randomised p, ", corpus_[kind].name, ", ", name), distance, "share",
            Cat("at most ", Number("%.5f", bound), " with ", values.size(), " values, odds 1e-3"), distance <= bound);
    }
    for (size_t i = 0; i < 3; ++i) {
      const HitCheck check = CheckHits(tally.e_hits[i], kAlphas[i] * static_cast<double>(tally.e_values), 2 * kBandOdds);
      Judge(Cat("E >= ", Level(1 / kAlphas[i]), ", ", name), check.hits, "passages", MostText(check, tally.e_values), check.not_above());
    }
    const double mean = tally.capped_e_sum / static_cast<double>(tally.e_values);
    const double most = 1 + kCap * std::sqrt(std::log(1 / kBandOdds) / (2 * static_cast<double>(tally.e_values)));
    Judge("mean of min(E, 10), " + name, mean, "E", "at most " + Number("%.5f", most), mean <= most);

    options.keep_repeats = true;
    options.passages = std::max<uint64_t>(options.passages / 10, 10000);
    tally = RunNulls(corpus_, options);
    for (size_t i = 0; i < 4; ++i) {
      const HitCheck check = CheckHits(tally.hits[i], tally.Expected(levels, kAlphas[i]), kBandOdds);
      Judge(Cat("deduplication off: p <= ", Level(kAlphas[i]), ", ", name), check.hits, "passages",
            Cat("must leave the band: ", BandText(check, tally.passages)), !check.inside());
    }
  }

  // One key, many passages that share pairs: they err together. Shown, not judged: the claim is over the draw of the key.
  void FixedKeys(Scheme scheme) {
    for (size_t kind = 0; kind < corpus_.size(); ++kind) {
      std::vector<double> shares;
      for (uint64_t key = 0; key < arguments_.fixed_keys; ++key) {
        NullOptions options = Options(scheme, false);
        options.seed = arguments_.seed + 500000 + key;
        options.passages = 2000;
        options.fixed_key = true;
        options.uniform_every = 0;
        const NullTally tally = RunNulls({corpus_[kind]}, options);
        shares.push_back(static_cast<double>(tally.hits[0]) / static_cast<double>(tally.passages));
      }
      if (shares.empty()) return;
      std::sort(shares.begin(), shares.end());
      const std::string of = Cat(SchemeName(scheme), ", passages with p <= 1e-2 under one fixed key of ", shares.size(), ", ", corpus_[kind].name);
      Add(of + ", median key", shares[shares.size() / 2], "share", "0.01 over keys");
      Add(of + ", worst key", shares.back(), "share", "0.01 over keys");
    }
  }

  void VerdictsOf(Scheme scheme) {
    const std::string name(SchemeName(scheme));
    VerdictOptions options{.seed = arguments_.seed + 7, .sets = 10 * arguments_.sets, .records = 1, .accounts = 50, .scheme = scheme};
    options.threads = arguments_.threads;
    const VerdictTally named = RunVerdicts(corpus_, options);
    for (size_t i = 0; i < 2; ++i) {
      const HitCheck check = CheckHits(named.account_named[i], named.account_expected[i], kBandOdds);
      Judge(Cat("an innocent account of 50 named at ", Level(kAlphas[i]), ", ", name), check.hits, "texts", BandText(check, named.sets), check.inside());
    }
    options = {.seed = arguments_.seed + 8, .sets = arguments_.sets, .scheme = scheme, .threads = arguments_.threads};
    const VerdictTally sets = RunVerdicts(corpus_, options);
    const auto judge = [&](uint64_t hits, const char* what) {
      const HitCheck check = CheckHits(hits, options.alpha * static_cast<double>(sets.sets), 2 * kBandOdds);
      Judge(Cat("unmarked data sets of 100 records with ", what, " called marked at ", Level(options.alpha), ", ", name), check.hits, "data sets",
            MostText(check, sets.sets), check.not_above());
    };
    judge(sets.records_marked, "a record");
    judge(sets.pool_marked, "the pool");
    judge(sets.either, "either");
  }

  uint64_t outside() const { return outside_; }
  uint64_t judged() const { return judged_; }
  const ordered_json& figures() const { return figures_; }

 private:
  NullOptions Options(Scheme scheme, bool two_channels) const {
    NullOptions options;
    options.mark.scheme = scheme;
    if (two_channels) options.weights = {32768, 32768};
    options.passages = arguments_.passages;
    options.seed = arguments_.seed + 2 * static_cast<uint64_t>(scheme) + two_channels;
    options.threads = arguments_.threads;
    return options;
  }

  void Add(const std::string& name, double value, const std::string& unit, const std::string& against) {
    std::fprintf(stderr, "%s: %g %s (%s)\n", name.c_str(), value, unit.c_str(), against.c_str());
    figures_.push_back({{"name", name}, {"value", value}, {"unit", unit}, {"against", against}});
  }

  void Judge(const std::string& name, auto value, const std::string& unit, const std::string& against, bool pass) {
    ++judged_;
    outside_ += !pass;
    Add(name, static_cast<double>(value), unit, against + (pass ? "" : ": OUTSIDE"));
  }

  const Arguments& arguments_;
  const std::vector<Kind> corpus_;
  ordered_json figures_ = ordered_json::array();
  uint64_t judged_ = 0, outside_ = 0;
};

std::string Today() {
  const time_t now = time(nullptr);
  tm utc;
  gmtime_r(&now, &utc);
  char text[32];
  strftime(text, sizeof text, "%Y-%m-%d", &utc);
  return text;
}

int Calibrate(const Arguments& arguments) {
  const auto tokenizer = OpenTokenizer(arguments.tokenizer);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "calibrate: error: %s\n", tokenizer.status().ToString().c_str());
    return 2;
  }
  auto corpus = LoadCorpus(arguments.corpus, **tokenizer);
  if (!corpus.ok()) {
    std::fprintf(stderr, "calibrate: error: %s\n", corpus.status().ToString().c_str());
    return 2;
  }
  Run run(arguments, *std::move(corpus));
  const auto wanted = [&](const char* part) { return arguments.only.empty() || arguments.only == part; };
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    for (const bool two_channels : {false, true}) {
      if (wanted("passages")) run.Case(scheme, two_channels);
    }
    if (wanted("keys")) run.FixedKeys(scheme);
    if (wanted("verdicts")) run.VerdictsOf(scheme);
  }
  std::string command = "build/bin/calibrate";
  if (!arguments.only.empty()) command += " --only " + arguments.only;
  if (wanted("passages")) command += Cat(" --passages ", arguments.passages);
  if (wanted("verdicts")) command += Cat(" --sets ", arguments.sets);
  if (wanted("keys")) command += Cat(" --fixed-keys ", arguments.fixed_keys);
  command += Cat(" --seed ", arguments.seed);
  const ordered_json result = {
      {"command", command},
      {"commit", cli::Commit()},
      {"date", Today()},
      {"machine", bench::Processor()},
      {"note", Cat(run.judged(), " checks, each of which a sound test fails in at most 1 run of 1000; outside: ", run.outside(), ". A pass does not prove validity.")},
      {"figures", run.figures()}};
  const std::string text = result.dump(1) + "\n";
  if (arguments.out == "-") {
    std::fwrite(text.data(), 1, text.size(), stdout);
  } else if (!(std::ofstream(arguments.out, std::ios::binary) << text).flush()) {
    std::fprintf(stderr, "calibrate: error: cannot write %s\n", arguments.out.c_str());
    return 2;
  }
  return run.outside() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Null trials of the text tests at length, and their figures as JSON.", "calibrate");
  app.add_option("--passages", arguments.passages, "passages of 200 tokens for each scheme and arrangement")
      ->check(CLI::Range(uint64_t{10000}, uint64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--sets", arguments.sets, "data sets of 100 records for each scheme")
      ->check(CLI::Range(uint64_t{1000}, uint64_t{1} << 30))
      ->capture_default_str();
  app.add_option("--fixed-keys", arguments.fixed_keys, "fixed keys for each scheme and kind of text")->capture_default_str();
  app.add_option("--only", arguments.only, "one part alone: passages, keys or verdicts")->check(CLI::IsMember({"passages", "keys", "verdicts"}));
  app.add_option("--seed", arguments.seed, "where the seeds begin")->capture_default_str();
  app.add_option("--threads", arguments.threads, "threads")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--tokenizer", arguments.tokenizer, "tokenizer file")->capture_default_str();
  app.add_option("--corpus", arguments.corpus, "folder of the texts")->capture_default_str();
  app.add_option("--out", arguments.out, "JSON file to write, - for standard output")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return Calibrate(arguments);
}
