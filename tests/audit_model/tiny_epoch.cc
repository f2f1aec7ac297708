// An epoch for the tiny models of tiny.py, whose key hangs on a number alone.
//
//   tiny_epoch FOLDER SCHEME VOCABULARY NUMBER TOKENIZER PASSPHRASE-FILE ACCOUNT…
//
// FOLDER/epoch.bundle for a server, FOLDER/epoch.key with its record for an auditor.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "countermark/keys/digest.h"
#include "countermark/keys/key_store.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"

namespace countermark {
namespace {

absl::Status Write(int argc, char** argv) {
  const std::string folder = argv[1];
  EpochRecord record;
  record.tenant = "test";
  record.epoch = "tiny";
  CM_ASSIGN_OR_RETURN(record.mark.scheme, ParseScheme(argv[2]));
  record.vocabulary = static_cast<uint32_t>(std::strtoul(argv[3], nullptr, 10));
  CM_ASSIGN_OR_RETURN(const Digest32 tokenizer, Sha256File(argv[5]));
  record.tokenizer_sha256 = HexEncode(tokenizer);
  record.first_use = "2020-01-01T00:00:00Z";
  record.last_use = "2999-12-31T23:59:59Z";
  const Digest32 key = Sha256("tiny epoch " + std::string(argv[4]));
  EpochKeys keys = {record, Secret32(key), {}};
  for (int i = 7; i < argc; ++i) keys.accounts.push_back(argv[i]);
  CM_ASSIGN_OR_RETURN(const SecretBytes passphrase, ReadPassphrase({argv[6], -1}, ""));
  CM_RETURN_IF_ERROR(WriteBundle(folder + "/epoch.bundle", keys, passphrase));
  return WriteExport(folder + "/epoch.key", keys);
}

}  // namespace
}  // namespace countermark

int main(int argc, char** argv) {
  if (argc < 8) {
    std::fputs("usage: tiny_epoch FOLDER SCHEME VOCABULARY NUMBER TOKENIZER PASSPHRASE-FILE ACCOUNT...\n", stderr);
    return 2;
  }
  const absl::Status status = countermark::Write(argc, argv);
  if (!status.ok()) std::fprintf(stderr, "tiny_epoch: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 2;
}
