// NFKC by ICU, with what became what.
#include <unicode/bytestream.h>
#include <unicode/edits.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <string>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/cleaned/stage.h"

namespace countermark::cleaned {
namespace {

// A part of the text that begins at `offset`, with no long run of marks in it.
absl::Status NormalizePart(const icu::Normalizer2& nfkc, std::string_view part, size_t offset, Stage* stage) {
  if (part.empty()) return absl::OkStatus();
  UErrorCode error = U_ZERO_ERROR;
  icu::Edits edits;
  std::string normalized;
  icu::StringByteSink<std::string> sink(&normalized, static_cast<int32_t>(part.size()));
  nfkc.normalizeUTF8(0, icu::StringPiece(part.data(), static_cast<int32_t>(part.size())), sink, &edits, error);
  if (U_FAILURE(error)) return absl::InternalError(Cat("NFKC: ", u_errorName(error)));
  if (!edits.hasChanges()) return absl::OkStatus();
  icu::Edits::Iterator change = edits.getFineChangesIterator();
  while (change.next(error)) {
    const size_t begin = offset + static_cast<size_t>(change.sourceIndex());
    stage->Replace(begin, begin + static_cast<size_t>(change.oldLength()),
                   std::string_view(normalized).substr(static_cast<size_t>(change.destinationIndex()), static_cast<size_t>(change.newLength())));
  }
  if (U_FAILURE(error)) return absl::InternalError(Cat("NFKC: ", u_errorName(error)));
  return absl::OkStatus();
}

}  // namespace

// A mark moves past the marks before it that have a higher class, so that n of them may cost n² steps. Runs that no writing has are left alone, and cut
// nothing in two: a mark never composes with what comes after it, and what comes after the run is kept from the base by the run.
absl::Status NormalizeInto(std::string_view text, Stage* stage) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* nfkc = icu::Normalizer2::getNFKCInstance(error);
  if (U_FAILURE(error)) return absl::InternalError(Cat("NFKC: ", u_errorName(error)));
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int32_t>(text.size());
  int32_t part = 0, run = 0;
  int marks = 0;  // those from `run` on
  for (int32_t at = 0; at <= size;) {
    const int32_t begin = at;
    UChar32 c = 0;
    if (at < size) {
      U8_NEXT_UNSAFE(bytes, at, c);
    } else {
      ++at;
    }
    if (c >= 0x300 && u_getIntPropertyValue(c, UCHAR_LEAD_CANONICAL_COMBINING_CLASS) != 0) {
      if (marks++ == 0) run = begin;
      continue;
    }
    if (marks > kMostMarks) {
      CM_RETURN_IF_ERROR(NormalizePart(*nfkc, text.substr(static_cast<size_t>(part), static_cast<size_t>(run - part)), static_cast<size_t>(part), stage));
      part = begin;
    }
    marks = 0;
  }
  return NormalizePart(*nfkc, text.substr(static_cast<size_t>(part)), static_cast<size_t>(part), stage);
}

}  // namespace countermark::cleaned
