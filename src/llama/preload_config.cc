#include "src/llama/preload_config.h"

#include <glob.h>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

constexpr size_t kMostConfig = 1 << 20, kMostAccount = 254;
// Members that other programs read: they may stand here.
constexpr std::array<std::string_view, 8> kOthers = {"accounts_file", "accounts_hmac_file", "max_slots", "server", "policy", "defaults", "log", "gateway"};

// With glob's own characters made plain.
std::string Escaped(const std::string& folder) {
  std::string escaped;
  for (const char c : folder) {
    if (std::strchr("*?[\\", c) != nullptr) escaped.push_back('\\');
    escaped.push_back(c);
  }
  return escaped;
}

absl::Status Wrong(const std::string& path, std::string_view member, std::string_view what) {
  return absl::InvalidArgumentError(Cat("'", path, "': ", member, " ", what));
}

}  // namespace

absl::StatusOr<ServingConfig> ReadServingConfig(const std::string& path) {
  CM_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMostConfig));
  const toml::parse_result parsed = toml::parse(text, path);
  if (parsed.failed()) {
    return absl::InvalidArgumentError(Cat("'", path, "', line ", parsed.error().source().begin.line, ": ", parsed.error().description()));
  }
  const toml::table& table = parsed.table();
  const std::filesystem::path folder = std::filesystem::absolute(path).parent_path();
  ServingConfig config;
  for (const auto& [key, node] : table) {
    const std::string_view name = key.str();
    const auto take = [&](std::string* into) {
      const auto value = node.value<std::string>();
      if (!node.is_string() || value->empty()) return Wrong(path, name, "is a text");
      *into = *value;
      return absl::OkStatus();
    };
    const auto take_path = [&](std::string* into) {
      CM_RETURN_IF_ERROR(take(into));
      *into = (folder / *into).string();
      return absl::OkStatus();
    };
    if (name == "bundles") {
      const toml::array* const patterns = node.as_array();
      if (patterns == nullptr) return Wrong(path, name, "is a list of texts");
      for (const toml::node& pattern : *patterns) {
        const auto value = pattern.value<std::string>();
        if (!pattern.is_string() || value->empty()) return Wrong(path, name, "is a list of texts");
        config.bundles.push_back((*value)[0] == '/' ? *value : Escaped(folder.string()) + "/" + *value);
      }
    } else if (name == "passphrase_file") {
      CM_RETURN_IF_ERROR(take_path(&config.passphrase_file));
    } else if (name == "ticket_key_file") {
      CM_RETURN_IF_ERROR(take_path(&config.ticket_key_file));
    } else if (name == "state_dir") {
      CM_RETURN_IF_ERROR(take_path(&config.state_dir));
    } else if (name == "account") {
      CM_RETURN_IF_ERROR(take(&config.account));
      if (config.account.size() > kMostAccount) return Wrong(path, name, "has 1 to 254 bytes");
    } else if (name == "policy" && node.is_table()) {
      const toml::node* const policy = node.as_table()->get("low_entropy");
      if (policy != nullptr && !policy->is_string()) return Wrong(path, "policy.low_entropy", "is a text");
      if (policy != nullptr) config.low_entropy = *policy->value<std::string>();
    } else if (std::find(kOthers.begin(), kOthers.end(), name) == kOthers.end()) {
      return absl::InvalidArgumentError(Cat("'", path, "', line ", node.source().begin.line, ": unknown member '", name, "'"));
    }
  }
  if (config.bundles.empty()) return Wrong(path, "bundles", "is missing: patterns of epoch bundles");
  if (config.passphrase_file.empty()) return Wrong(path, "passphrase_file", "is missing: the file of the bundles' passphrase");
  if (config.ticket_key_file.empty() && config.account.empty()) {
    return absl::InvalidArgumentError(Cat("'", path, "' needs ticket_key_file (accounts come with the gateway's tickets) or account (one for the whole port)"));
  }
  return config;
}

std::vector<std::string> BundleFiles(const ServingConfig& config) {
  std::vector<std::string> files;
  for (const std::string& pattern : config.bundles) {
    glob_t found{};
    if (glob(pattern.c_str(), 0, nullptr, &found) == 0) files.insert(files.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
    globfree(&found);
  }
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

}  // namespace countermark
