// Hostile key stores: a container's header (all that is read before the key derivation), the bodies behind it, and epoch records. Nothing
// may crash, and what is accepted must be in its one form.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "countermark/keys/epoch.h"
#include "keys/body.h"
#include "keys/container.h"

namespace {

using namespace countermark;
using namespace countermark::keys_internal;

void Require(bool ok) {
  if (!ok) std::abort();
}

bool Same(const SecretBytes& written, std::span<const uint8_t> read) {
  const std::span<const uint8_t> bytes = written.Reveal(SecretAccess());
  return std::equal(bytes.begin(), bytes.end(), read.begin(), read.end());
}

void CheckHeader(std::string_view file, ContainerType type) {
  const absl::StatusOr<ContainerHeader> header = ParseContainerHeader(file, type, "file");
  if (!header.ok()) {
    Require(absl::IsDataLoss(header.status()));
    return;
  }
  Require(file.size() == kHeaderSize + header->body_size + kTagSize);
  Require(uint64_t{128} * header->cost.n * header->cost.r <= uint64_t{1} << 30);   // what a stranger's file may cost
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckHeader(text, ContainerType::kKeyStore);
  CheckHeader(text, ContainerType::kBundle);
  const absl::StatusOr<StoreBody> store = DecodeStoreBody(bytes);
  Require(store.ok() ? Same(EncodeStoreBody(*store), bytes) : absl::IsDataLoss(store.status()));
  const absl::StatusOr<EpochKeys> bundle = DecodeBundleBody(bytes);
  Require(bundle.ok() ? Same(EncodeBundleBody(*bundle), bytes) : absl::IsDataLoss(bundle.status()));
  const absl::StatusOr<EpochRecord> record = EpochRecord::Parse(text);
  if (record.ok()) {
    const std::string canonical = record->CanonicalJson();
    const absl::StatusOr<EpochRecord> again = EpochRecord::Parse(canonical);
    Require(again.ok() && again->CanonicalJson() == canonical);
  }
  return 0;
}
