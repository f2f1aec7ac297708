#include "countermark/tokenize/tokenizer.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>

#include "src/base/file.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/backends.h"

namespace countermark {
namespace {

struct FileFacts {
  std::string sha256;   // hex
  std::string opening;  // the first bytes, at most 4
};

absl::StatusOr<FileFacts> ReadFacts(const std::string& path) {
  CM_ASSIGN_OR_RETURN(FileDescriptor file, OpenForReading(path));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  if (hash == nullptr || EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) != 1) return absl::InternalError("OpenSSL could not start SHA-256");
  FileFacts facts;
  std::vector<uint8_t> block(size_t{1} << 20);
  for (;;) {
    CM_ASSIGN_OR_RETURN(const size_t got, ReadFully(file.get(), block, path));
    if (facts.opening.empty()) facts.opening.assign(block.begin(), block.begin() + static_cast<ptrdiff_t>(std::min<size_t>(got, 4)));
    if (EVP_DigestUpdate(hash.get(), block.data(), got) != 1) return absl::InternalError("OpenSSL failed in SHA-256");
    if (got < block.size()) break;
  }
  std::array<uint8_t, 32> digest{};
  if (EVP_DigestFinal_ex(hash.get(), digest.data(), nullptr) != 1) return absl::InternalError("OpenSSL failed in SHA-256");
  facts.sha256 = HexEncode(digest);
  return facts;
}

}  // namespace

absl::Status CheckTextLength(size_t bytes) {
  if (bytes <= kMaxTokenizedText) return absl::OkStatus();
  return absl::InvalidArgumentError(Cat("a text of ", bytes, " bytes is more than can be tokenized at once (", kMaxTokenizedText, "); split it"));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& path) {
  CM_ASSIGN_OR_RETURN(FileFacts facts, ReadFacts(path));
  if (facts.opening.empty()) return absl::DataLossError(Cat("'", path, "' is empty; a tokenizer is a GGUF file, a SentencePiece .model or a tokenizer.json"));
  if (facts.opening == "GGUF") return OpenGguf(path, std::move(facts.sha256));
  const size_t first = facts.opening.find_first_not_of(" \t\r\n");
  if (path.ends_with(".json") || (first != std::string::npos && facts.opening[first] == '{')) return OpenHf(path, std::move(facts.sha256));
  return OpenSentencePiece(path, std::move(facts.sha256));
}

absl::Status EncodeBatch(const Tokenizer& tokenizer, std::span<const std::string_view> texts, int threads, std::vector<TokenizedText>* out) {
  out->resize(texts.size());
  if (threads < 0) return absl::InvalidArgumentError(Cat("threads is ", threads, "; it must be 0 (all) or more"));
  size_t workers = threads == 0 ? std::max(1u, std::thread::hardware_concurrency()) : static_cast<size_t>(threads);
  workers = std::min(workers, texts.size());

  // The text with the lowest index that failed decides the error, whatever the threads' order.
  std::atomic<size_t> next{0};
  std::vector<absl::Status> status(std::max<size_t>(workers, 1));
  std::vector<size_t> failed(status.size(), texts.size());
  auto work = [&](size_t worker) {
    for (size_t i = next.fetch_add(1); i < texts.size(); i = next.fetch_add(1)) {
      absl::Status done = tokenizer.Encode(texts[i], &(*out)[i]);
      if (!done.ok() && failed[worker] == texts.size()) {
        failed[worker] = i;
        status[worker] = std::move(done);
      }
    }
  };
  if (workers <= 1) {
    work(0);
  } else {
    std::vector<std::thread> pool;
    for (size_t worker = 1; worker < workers; ++worker) pool.emplace_back(work, worker);
    work(0);
    for (std::thread& thread : pool) thread.join();
  }
  const size_t first = static_cast<size_t>(std::min_element(failed.begin(), failed.end()) - failed.begin());
  if (failed[first] == texts.size()) return absl::OkStatus();
  return absl::Status(status[first].code(), Cat("text ", failed[first], ": ", std::string(status[first].message())));
}

}  // namespace countermark
