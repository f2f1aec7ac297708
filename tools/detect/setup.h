// From options to what a run needs: the epoch's keys with a record, the candidates, the tokenizer, the detector.
#ifndef COUNTERMARK_TOOLS_DETECT_SETUP_H_
#define COUNTERMARK_TOOLS_DETECT_SETUP_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/detect/detector.h"
#include "countermark/keys/key_store.h"
#include "countermark/tokenize/tokenizer.h"
#include "tools/detect/options.h"

namespace countermark::detect_tool {

struct Setup {
  std::optional<KeyStore> store;    // of --keystore, else of --signing-keystore
  bool has_record = false;          // else the parameters came from flags
  std::vector<std::string> registered;
  std::unique_ptr<Tokenizer> tokenizer;  // null where none was given
  Detector detector;
};

// Errors say which file or which two values disagree.
absl::StatusOr<Setup> MakeSetup(const Options& options);

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_SETUP_H_
