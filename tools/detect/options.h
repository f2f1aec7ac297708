// The options of watermark-detect, as they were given.
#ifndef COUNTERMARK_TOOLS_DETECT_OPTIONS_H_
#define COUNTERMARK_TOOLS_DETECT_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "countermark/detect/input.h"
#include "tools/cli/cli.h"
#include "tools/cli/passphrase.h"

namespace countermark::detect_tool {

struct Options {
  std::vector<std::string> files;

  std::string epoch_key, keystore, bundle;
  std::string epoch;
  cli::PassphraseOptions passphrase;
  std::vector<std::string> accounts;
  std::string accounts_file;
  bool registered_accounts = false;

  // Only with a bare key; with a record they may repeat what it says.
  std::optional<std::string> scheme, weights;
  std::optional<int> window, green, layers;
  std::optional<double> delta;
  std::optional<uint32_t> vocabulary;

  std::vector<std::string> tokenizers;  // tried one after another
  std::string views = "raw";            // names between commas
  std::string tokenizer;                // of a program that takes one
  InputOptions input;
  std::string format = "auto";
  std::string foreign_config;  // another project's configuration; the format is then `format`
  std::optional<uint64_t> records;
  uint64_t limit = 0;

  double alpha = 1e-6;
  double min_coverage = 0.95;
  std::string weights_model;  // empty: no weighted tests
  bool regions = false;
  bool json = false;
  bool jsonl = false;
  std::string report;
  std::string html, csv;
  uint64_t decoys = 1000;
  std::string decoy_seed;
  std::string signing_keystore;
  uint64_t commitments_published = 0;
  int threads = 0;
};

// Whether another project's mark is looked for.
bool IsForeign(const Options& options);

// The names in `views`.
inline std::vector<std::string> ViewNames(const Options& options) {
  std::vector<std::string> names(1);
  for (const char c : options.views) {
    if (c == ',') {
      names.emplace_back();
    } else {
      names.back() += c;
    }
  }
  return names;
}

void AddOptions(cli::Program& program, Options* options);

// After Parse: what CLI11 cannot check. Names --account took that are files, formats, combinations. InvalidArgument.
absl::Status Settle(int argc, char** argv, Options* options);

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_OPTIONS_H_
