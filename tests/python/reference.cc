// What the tests of the Python package compare with, from the C++ library itself.
//
//   python_reference epoch FOLDER VOCABULARY TOKENIZER|- SCHEME POLICY PASSPHRASE-FILE
//       An epoch whose key is a constant (00 01 … 1f) and whose time lasts: FOLDER/epoch.bundle for a server, FOLDER/epoch.key with its record for a
//       detector. Accounts org-a, org-b, org-c.
//   python_reference tokens EPOCH-KEY LOGITS ACCOUNT SEED TEMPERATURE TOP-K TOP-P MIN-P
//       countermark::Hook over the rows of LOGITS (float32, as many to a row as the vocabulary has): a line a row, the token and its cause.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "countermark/keys/digest.h"
#include "countermark/keys/key_store.h"
#include "countermark/sampling/hook.h"
#include "countermark/tokenize/tokenizer.h"
#include "src/base/file.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"

namespace countermark {
namespace {

absl::Status WriteEpoch(const std::string& folder, const std::string& vocabulary, const std::string& tokenizer_path, const std::string& scheme,
                        const std::string& policy, const std::string& passphrase_path) {
  EpochRecord record;
  record.tenant = "test";
  record.epoch = "fixed";
  CM_ASSIGN_OR_RETURN(record.mark.scheme, ParseScheme(scheme));
  CM_ASSIGN_OR_RETURN(record.low_entropy, ParseLowEntropyPolicy(policy));
  record.tokenizer_sha256 = std::string(64, 'a');
  record.vocabulary = static_cast<uint32_t>(std::strtoul(vocabulary.c_str(), nullptr, 10));
  if (tokenizer_path != "-") {
    CM_ASSIGN_OR_RETURN(const Digest32 digest, Sha256File(tokenizer_path));
    record.tokenizer_sha256 = HexEncode(digest);
    CM_ASSIGN_OR_RETURN(const auto tokenizer, OpenTokenizer(tokenizer_path));
    record.vocabulary = tokenizer->vocabulary();
  }
  record.first_use = "2020-01-01T00:00:00Z";
  record.last_use = "2999-12-31T23:59:59Z";
  std::array<uint8_t, Secret32::kSize> key;
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i);
  const EpochKeys keys = {record, Secret32(key), {"org-a", "org-b", "org-c"}};
  CM_ASSIGN_OR_RETURN(const SecretBytes passphrase, ReadPassphrase({passphrase_path, -1}, ""));
  CM_RETURN_IF_ERROR(WriteBundle(folder + "/epoch.bundle", keys, passphrase));
  return WriteExport(folder + "/epoch.key", keys);
}

absl::Status PrintTokens(char** argv) {
  CM_ASSIGN_OR_RETURN(EpochKeys keys, ReadExport(argv[0]));
  const size_t vocabulary = keys.record.vocabulary;
  if (*argv[2] != '\0') keys.accounts = {argv[2]};  // an export does not say who is registered
  CM_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(argv[1], size_t{1} << 30));
  std::vector<float> logits(bytes.size() / sizeof(float));
  std::memcpy(logits.data(), bytes.data(), logits.size() * sizeof(float));
  CM_ASSIGN_OR_RETURN(const Hook hook, Hook::Create(std::move(keys)));
  RequestOptions options;
  options.account = argv[2];
  options.base_only = options.account.empty();
  options.seed = std::strtoull(argv[3], nullptr, 10);
  options.parameters = {std::strtof(argv[4], nullptr), std::atoi(argv[5]), std::strtof(argv[6], nullptr), std::strtof(argv[7], nullptr)};
  CM_ASSIGN_OR_RETURN(Request request, hook.Begin(options));
  RowScratch scratch;
  for (size_t row = 0; (row + 1) * vocabulary <= logits.size(); ++row) {
    CM_ASSIGN_OR_RETURN(const Choice choice, hook.Choose(request, {logits.data() + row * vocabulary, vocabulary}, &scratch));
    request.Commit(choice.token, choice.cause);
    std::printf("%u %s\n", choice.token, CauseName(choice.cause));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace countermark

int main(int argc, char** argv) {
  absl::Status status = absl::InvalidArgumentError("wrong arguments");
  if (argc == 8 && std::string(argv[1]) == "epoch") status = countermark::WriteEpoch(argv[2], argv[3], argv[4], argv[5], argv[6], argv[7]);
  if (argc == 10 && std::string(argv[1]) == "tokens") status = countermark::PrintTokens(argv + 2);
  if (!status.ok()) std::fprintf(stderr, "python_reference: error: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 2;
}
