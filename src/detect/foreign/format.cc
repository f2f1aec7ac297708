#include "countermark/detect/foreign/format.h"

#include <algorithm>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/detect/foreign/config.h"
#include "src/detect/foreign/table.h"

namespace countermark {

absl::Status ForeignFormat::CheckIds(std::span<const uint32_t> ids) const {
  const uint32_t limit = vocab_size_ != 0 ? vocab_size_ : uint32_t{1} << 31;
  const auto beyond = std::find_if(ids.begin(), ids.end(), [limit](uint32_t id) { return id >= limit; });
  if (beyond == ids.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(Cat("token id ", *beyond, " at position ", beyond - ids.begin(), " is beyond the vocabulary of ", limit));
}

std::span<const ForeignFormatInfo> ForeignFormats() {
  static const std::vector<ForeignFormatInfo>* const formats = [] {
    auto* const list = new std::vector<ForeignFormatInfo>;
    for (const ForeignFormatEntry& entry : ForeignFormatTable()) list->push_back({entry.name, entry.about});
    return list;
  }();
  return *formats;
}

absl::StatusOr<std::unique_ptr<ForeignFormat>> OpenForeignFormat(std::string_view name, std::string_view config, std::string_view where) {
  std::string names;
  for (const ForeignFormatEntry& entry : ForeignFormatTable()) {
    names += Cat(names.empty() ? "" : ", ", entry.name);
    if (entry.name != name) continue;
    CM_ASSIGN_OR_RETURN(ConfigObject object, ConfigObject::Parse(config, where));
    CM_ASSIGN_OR_RETURN(const int64_t vocabulary, object.Integer("vocab_size", 1, int64_t{1} << 31, 0));
    CM_ASSIGN_OR_RETURN(std::unique_ptr<ForeignFormat> format, entry.make(object));
    CM_RETURN_IF_ERROR(object.Finish());
    format->name_ = entry.name;
    if (format->label_.empty()) format->label_ = entry.about;
    format->vocab_size_ = static_cast<uint32_t>(vocabulary);
    return format;
  }
  return absl::NotFoundError(Cat("there is no format '", name, "'; there are ", names));
}

struct ForeignPool::Set {
  absl::flat_hash_set<std::array<uint64_t, 2>> ids;
};

ForeignPool::ForeignPool() : seen_(std::make_unique<Set>()) {}
ForeignPool::~ForeignPool() = default;

void ForeignPool::Add(std::span<const ForeignDraw> draws) {
  for (const ForeignDraw& draw : draws) {
    if (seen_->ids.insert(draw.id).second) count_.Add(draw);
  }
}

}  // namespace countermark
