// Any bytes as an input file: JSON lines, CSV, text, compressed or not. The first byte chooses the format and the fields. The reader must end, its
// places must go forward, counting must agree with reading, and what is taken from JSON must be what another reader of JSON finds there.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "countermark/detect/input.h"

namespace {

void CheckJson(const countermark::RawRecord& raw, const countermark::InputOptions& options, const countermark::InputRecord& record) {
  const nlohmann::json json = nlohmann::json::parse(raw.bytes, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) std::abort();
  const nlohmann::json& content = json.at(options.content_field());
  if (options.wants_ids()) {
    if (content != nlohmann::json(record.ids)) std::abort();
  } else if (content != nlohmann::json(record.text)) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using countermark::InputFormat;
  if (size == 0) return 0;
  static const int descriptor = memfd_create("input", 0);
  static const std::vector<std::string> files = {"/proc/self/fd/" + std::to_string(descriptor)};
  if (ftruncate(descriptor, 0) != 0 || pwrite(descriptor, data + 1, size - 1, 0) != static_cast<ssize_t>(size - 1)) std::abort();

  countermark::InputOptions options;
  constexpr InputFormat kFormats[] = {InputFormat::kAuto, InputFormat::kJsonl, InputFormat::kCsv, InputFormat::kText};
  options.format = kFormats[data[0] & 3];
  options.default_ids = (data[0] & 4) != 0;
  if (data[0] & 8) options.prompt_field = "prompt";
  if (data[0] & 16) options.prompt_ids_field = "p";
  if (data[0] & 32) options.max_record_bytes = 40;
  options.hash = (data[0] & 64) != 0;

  countermark::InputReader reader(files, options);
  countermark::RawRecord raw;
  countermark::InputRecord record;
  uint64_t records = 0, line = 0, byte = 0;
  while (reader.Next(&raw)) {
    if (raw.line < line || raw.byte < byte) std::abort();
    line = raw.line;
    byte = raw.byte;
    if (!raw.ends_file) ++records;
    const absl::Status status = countermark::ParseRecord(raw, "f", options, &record);
    if (status.ok() != (raw.error.ok() && status.ok()) || record.id.empty()) std::abort();
    if (status.ok() && raw.format == InputFormat::kJsonl) CheckJson(raw, options, record);
    if (!status.ok() && status.message().empty()) std::abort();
  }
  const absl::StatusOr<uint64_t> counted = countermark::CountRecords(files, options);
  if (!counted.ok() || *counted != records) std::abort();
  return 0;
}
