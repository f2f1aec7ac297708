// From options to what a run needs: the epoch's keys with a record, the candidates, the tokenizer, the detector.
#ifndef COUNTERMARK_TOOLS_DETECT_SETUP_H_
#define COUNTERMARK_TOOLS_DETECT_SETUP_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/detect/detector.h"
#include "countermark/detect/entropy.h"
#include "countermark/keys/key_store.h"
#include "countermark/tokenize/tokenizer.h"
#include "tools/detect/options.h"
#include "tools/detect/reading.h"

namespace countermark::detect_tool {

struct Setup {
  std::optional<KeyStore> store;    // of --keystore, else of --signing-keystore
  bool has_record = false;          // else the parameters came from flags
  std::vector<std::string> registered;
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  std::vector<Reading> readings;         // views by tokenizers; at least one
  Detector detector;
  std::unique_ptr<EntropyModel> weights;  // null where none was given
};

// The epoch's keys, wherever the options say they are, and held against what the flags say of the mark.
struct LoadedKeys {
  std::optional<KeyStore> store;  // of --keystore
  bool has_record = true;
  EpochKeys keys;
};
absl::StatusOr<LoadedKeys> LoadKeys(const Options& options);
// Account or request names, one a line; blank lines are none. Errors name the line.
absl::StatusOr<std::vector<std::string>> ReadLabels(const std::string& path);
// --tokenizer, which must be the record's; null where none was given. Where there is no record, `keys` learns the vocabulary.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const Options& options, bool has_record, EpochKeys* keys);

// Errors say which file or which two values disagree.
absl::StatusOr<Setup> MakeSetup(const Options& options);

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_SETUP_H_
