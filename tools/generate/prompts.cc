#include "tools/generate/prompts.h"

#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/status_macros.h"

namespace countermark::generate {
namespace {

absl::StatusOr<std::string> StringMember(const nlohmann::json& object, const char* name, const std::string& otherwise, const std::string& where) {
  const auto it = object.find(name);
  if (it == object.end() || it->is_null()) return otherwise;
  if (it->is_string()) return it->get<std::string>();
  if (std::string_view(name) == "id" && it->is_number_integer()) return it->dump();
  return absl::InvalidArgumentError(absl::StrCat(where, ": '", name, "' must be a string"));
}

}  // namespace

absl::StatusOr<std::vector<Prompt>> ReadPrompts(const std::string& path, const std::string& default_account) {
  std::ifstream file;
  if (path != "-") {
    file.open(path);
    if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be opened"));
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::vector<Prompt> prompts;
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    const std::string where = absl::StrCat(path, ":", number);
    Prompt prompt = {absl::StrCat(number), line, default_account};
    if (line.front() == '{') {
      const nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (!object.is_object()) return absl::InvalidArgumentError(absl::StrCat(where, ": not a JSON object"));
      if (!object.contains("prompt")) return absl::InvalidArgumentError(absl::StrCat(where, ": no 'prompt'"));
      CM_ASSIGN_OR_RETURN(prompt.prompt, StringMember(object, "prompt", "", where));
      CM_ASSIGN_OR_RETURN(prompt.id, StringMember(object, "id", prompt.id, where));
      CM_ASSIGN_OR_RETURN(prompt.account, StringMember(object, "account", default_account, where));
    }
    // libllama takes a chat's messages as C strings: the model would answer what stands before it.
    if (const size_t at = prompt.prompt.find('\0'); at != std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": a NUL character at byte ", at + 1, " of the prompt; take it out"));
    }
    prompts.push_back(std::move(prompt));
  }
  if (in.bad()) return absl::UnavailableError(absl::StrCat(path, ": cannot be read"));
  if (prompts.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": no prompt in it"));
  return prompts;
}

}  // namespace countermark::generate
