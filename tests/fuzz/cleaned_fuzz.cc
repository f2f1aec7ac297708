// Any bytes through the cleaned view. Nothing may crash, what comes out is UTF-8 that cleaning leaves alone, and places lie in the original, in order.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "countermark/tokenize/cleaned_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace countermark;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<CleanedText> cleaned = CleanText(text);
  if (!cleaned.ok()) std::abort();
  const absl::StatusOr<CleanedText> again = CleanText(cleaned->text());
  if (!again.ok() || again->changed()) std::abort();
  ByteSpan last;
  for (uint64_t at = 0; at < cleaned->text().size(); ++at) {
    const ByteSpan span = cleaned->Original({at, at + 1});
    if (span.begin < last.begin || span.end < last.end || span.end < span.begin || span.end > size) std::abort();
    last = span;
  }
  return 0;
}
