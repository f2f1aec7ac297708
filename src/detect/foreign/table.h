// What a file format_NAME.cc defines, by one macro:
//
//   FOREIGN_FORMAT(hf_kgw, "KGW lefthash of transformers") {   // → hf-kgw
//     CM_ASSIGN_OR_RETURN(double ratio, config.Number(…));
//     …
//     return std::make_unique<HfKgw>(…);
//   }
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_TABLE_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_TABLE_H_

#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "countermark/detect/foreign/format.h"
#include "src/detect/foreign/config.h"

namespace countermark {

// Reads every member it knows from `config`; the caller refuses what is left. The caller reads vocab_size.
using MakeForeignFormat = absl::StatusOr<std::unique_ptr<ForeignFormat>> (*)(ConfigObject& config);

struct ForeignFormatEntry {
  std::string_view name;
  std::string_view about;
  MakeForeignFormat make;
};
std::span<const ForeignFormatEntry> ForeignFormatTable();

#define FOREIGN_FORMAT_DECLARE(id)                  \
  extern const std::string_view ForeignFormatAbout_##id; \
  absl::StatusOr<std::unique_ptr<ForeignFormat>> MakeForeignFormat_##id(ConfigObject& config)

#define FOREIGN_FORMAT(id, about)                            \
  FOREIGN_FORMAT_DECLARE(id);                                \
  constinit const std::string_view ForeignFormatAbout_##id = about; \
  absl::StatusOr<std::unique_ptr<ForeignFormat>> MakeForeignFormat_##id(ConfigObject& config)

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_TABLE_H_
