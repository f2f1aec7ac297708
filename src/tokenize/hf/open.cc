#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/backends.h"
#include "src/tokenize/hf/hf_tokenizer.h"

namespace countermark {
namespace {

constexpr size_t kMaxFileBytes = size_t{256} << 20;  // the largest in use have 35 MB

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenHf(const std::string& path, std::string sha256) {
  CM_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(path, kMaxFileBytes));
  absl::StatusOr<std::unique_ptr<hf::HfTokenizer>> tokenizer = hf::HfTokenizer::Parse(bytes, std::move(sha256));
  if (!tokenizer.ok()) return absl::Status(tokenizer.status().code(), Cat("tokenizer.json '", path, "': ", std::string(tokenizer.status().message())));
  return *std::move(tokenizer);
}

}  // namespace countermark
