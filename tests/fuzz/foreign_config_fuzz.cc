// Hostile configurations of other projects' marks: none may crash or be slow to refuse, whatever the format; one that is taken scores a text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "countermark/detect/foreign/format.h"
#include "src/detect/foreign/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace countermark;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool is_json = ConfigObject::Parse(text, "c").ok();
  for (const ForeignFormatInfo& info : ForeignFormats()) {
    const absl::StatusOr<std::unique_ptr<ForeignFormat>> format = OpenForeignFormat(info.name, text, "c");
    if (!format.ok()) continue;
    if (!is_json) std::abort();
    const std::vector<uint32_t> ids = {0, 5, 7, 5, 7, 5, 1, 2, 3, 5, 7, 5};
    if (!(*format)->CheckIds(ids).ok()) continue;
    std::vector<ForeignDraw> draws;
    const ForeignScore score = (*format)->NewScorer()->Score(ids, {ids.data(), 3}, &draws);
    if (!(score.log10_p <= 0) || draws.size() != score.count.draws || score.count.draws > ids.size()) std::abort();
  }
  return 0;
}
