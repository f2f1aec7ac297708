// fixed_epoch FOLDER TOKENIZER PASSPHRASE-FILE: an epoch whose key is a constant, so that what is marked and measured with it comes out the same at
// every run. Writes FOLDER/epoch.bundle for a server and FOLDER/epoch.key with its record for a detector, through the library's own writers.
//
// A key store cannot give this: it draws its master key afresh. The key is 00 01 … 1f, taken because it is plain.
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

#include "countermark/keys/digest.h"
#include "countermark/keys/key_store.h"
#include "countermark/tokenize/tokenizer.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"

namespace countermark {
namespace {

absl::Status Write(const std::string& folder, const std::string& tokenizer_path, const std::string& passphrase_path) {
  EpochRecord record;
  record.tenant = "test";
  record.epoch = "fixed";
  CM_ASSIGN_OR_RETURN(const Digest32 digest, Sha256File(tokenizer_path));
  record.tokenizer_sha256 = HexEncode(digest);
  CM_ASSIGN_OR_RETURN(const auto tokenizer, OpenTokenizer(tokenizer_path));
  record.vocabulary = tokenizer->vocabulary();
  record.first_use = "2026-01-01T00:00:00Z";
  record.last_use = "2999-12-31T23:59:59Z";
  std::array<uint8_t, Secret32::kSize> key;
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i);
  const EpochKeys keys = {record, Secret32(key), {"org-a", "org-b", "org-c"}};
  CM_ASSIGN_OR_RETURN(const SecretBytes passphrase, ReadPassphrase({passphrase_path, -1}, ""));
  CM_RETURN_IF_ERROR(WriteBundle(folder + "/epoch.bundle", keys, passphrase));
  return WriteExport(folder + "/epoch.key", keys);
}

}  // namespace
}  // namespace countermark

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "fixed_epoch: error: give FOLDER TOKENIZER PASSPHRASE-FILE\n");
    return 2;
  }
  const absl::Status status = countermark::Write(argv[1], argv[2], argv[3]);
  if (!status.ok()) std::fprintf(stderr, "fixed_epoch: error: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 2;
}
