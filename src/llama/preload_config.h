// What a preload library needs of the serving host's configuration file (docs/llama-server.md; the Python programs read the same file through
// countermark.serving.config).
//
//   CM_ASSIGN_OR_RETURN(ServingConfig config, ReadServingConfig("/etc/countermark/config.toml"));
#ifndef COUNTERMARK_SRC_LLAMA_PRELOAD_CONFIG_H_
#define COUNTERMARK_SRC_LLAMA_PRELOAD_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace countermark {

struct ServingConfig {
  std::vector<std::string> bundles;  // patterns of glob(7); relative ones have been put behind the file's folder
  std::string passphrase_file;
  std::string ticket_key_file;       // "": no tickets
  std::string account;               // "": none for the port
  std::string state_dir;             // the folder of counters
  std::string low_entropy = "floor"; // policy.low_entropy: what the gateway does, and the epoch's record must say
};

// Errors name the file, the line or the member, and what is allowed. InvalidArgument; NotFound and the like for the file itself.
absl::StatusOr<ServingConfig> ReadServingConfig(const std::string& path);

// The files that the patterns match now, sorted, each once.
std::vector<std::string> BundleFiles(const ServingConfig& config);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_LLAMA_PRELOAD_CONFIG_H_
