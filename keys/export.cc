// Exported epoch keys: 64 digits in a file of their own, for a detector that has no key store, and the record beside them.
#include <unistd.h>

#include <utility>

#include "countermark/keys/key_store.h"
#include "src/base/file.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

constexpr size_t kDigits = 2 * Secret32::kSize;
constexpr size_t kMaxRecordBytes = 1 << 20;

std::string RecordPath(const std::string& path) { return path + ".json"; }

std::string_view View(const SecretBytes& secret) {
  const std::span<const uint8_t> bytes = secret.Reveal(SecretAccess());
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

absl::Status WriteExport(const std::string& path, const EpochKeys& keys) {
  CM_RETURN_IF_ERROR(keys.record.Validate());
  const std::string record = RecordPath(path);
  SecretBytes text(kDigits + 1);
  const std::span<uint8_t> bytes = text.Mutable(SecretAccess());
  HexEncodeInto({keys.epoch_key.Reveal(SecretAccess()), Secret32::kSize}, {reinterpret_cast<char*>(bytes.data()), kDigits});
  bytes[kDigits] = '\n';
  // The key second: a record without its key tells nothing, a key without its record might be used with the wrong parameters.
  CM_RETURN_IF_ERROR(WriteFileExclusive(record, keys.record.CanonicalJson(), 0644));
  absl::Status status = WriteFileExclusive(path, View(text));
  if (!status.ok()) unlink(record.c_str());
  return status;
}

absl::StatusOr<Secret32> ReadBareKey(const std::string& path) {
  CM_ASSIGN_OR_RETURN(const FileDescriptor fd, OpenPrivateForReading(path));
  SecretBytes text(kDigits + 2);   // one byte more than a key and its newline tells a longer file
  CM_ASSIGN_OR_RETURN(size_t size, ReadFully(fd.get(), text.Mutable(SecretAccess()), path));
  std::string_view digits = View(text).substr(0, size);
  if (digits.ends_with('\n')) digits.remove_suffix(1);
  SecretBytes key(Secret32::kSize);
  const std::span<uint8_t> out = key.Mutable(SecretAccess());
  if (!HexDecodeInto(digits, out)) return absl::InvalidArgumentError(Cat("'", path, "' is not an exported key: 64 hexadecimal digits and a newline"));
  return Secret32(out.first<Secret32::kSize>());
}

absl::StatusOr<EpochKeys> ReadExport(const std::string& path) {
  CM_ASSIGN_OR_RETURN(const Secret32 key, ReadBareKey(path));
  const std::string record_path = RecordPath(path);
  CM_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(record_path, kMaxRecordBytes));
  absl::StatusOr<EpochRecord> record = EpochRecord::Parse(text);
  if (!record.ok()) return absl::Status(record.status().code(), Cat("'", record_path, "': ", std::string(record.status().message())));
  return EpochKeys{*std::move(record), key, {}};
}

}  // namespace countermark
