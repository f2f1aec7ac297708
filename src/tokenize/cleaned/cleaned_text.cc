#include "countermark/tokenize/cleaned_text.h"

#include <unicode/utf8.h>

#include <algorithm>

#include "src/base/status_macros.h"
#include "src/tokenize/cleaned/stage.h"

namespace countermark {
namespace {

constexpr size_t kMostBytes = size_t{512} << 20;

bool IsAscii(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; });
}

using Changes = std::vector<CleanedText::Change>;

// How many changes end at or before `at`, or begin before it, in the new text.
uint64_t BeginBefore(const Changes& changes, uint64_t at) {
  // The last change that begins at or before `at`. One that is empty there was removed: what begins at `at` begins behind it.
  const auto next = std::upper_bound(changes.begin(), changes.end(), at, [](uint64_t place, const CleanedText::Change& change) { return place < change.to; });
  if (next == changes.begin()) return at;
  const CleanedText::Change& change = *std::prev(next);
  return at < change.to_end ? change.from : change.from_end + (at - change.to_end);
}

uint64_t EndBefore(const Changes& changes, uint64_t at) {
  // The last change that begins before `at`: what ends at `at` ends in front of what was removed there.
  const auto next = std::lower_bound(changes.begin(), changes.end(), at, [](const CleanedText::Change& change, uint64_t place) { return change.to < place; });
  if (next == changes.begin()) return at;
  const CleanedText::Change& change = *std::prev(next);
  return at <= change.to_end ? change.from_end : change.from_end + (at - change.to_end);
}

}  // namespace

namespace cleaned {

void RepairInto(std::string_view text, Stage* stage) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int32_t>(text.size());
  for (int32_t at = 0; at < size;) {
    const int32_t begin = at;
    UChar32 c;
    U8_NEXT(bytes, at, size, c);
    if (c < 0) stage->Replace(static_cast<size_t>(begin), static_cast<size_t>(at), "\xEF\xBF\xBD");
  }
}

}  // namespace cleaned

ByteSpan CleanedText::Original(ByteSpan span) const {
  for (auto stage = stages_.rbegin(); stage != stages_.rend(); ++stage) {
    const uint64_t begin = BeginBefore(*stage, span.begin);
    span = {begin, span.begin == span.end ? begin : std::max(begin, EndBefore(*stage, span.end))};
  }
  return span;
}

absl::StatusOr<CleanedText> CleanText(std::string_view text) {
  if (text.size() > kMostBytes) return absl::InvalidArgumentError("more than 512 MiB of text");
  CleanedText cleaned;
  cleaned.text_ = text;
  if (IsAscii(text)) return cleaned;
  const auto keep = [&cleaned](cleaned::Stage& stage) {
    if (!stage.changed()) return false;
    std::string next = stage.Finish();
    cleaned.text_ = std::move(next);
    cleaned.stages_.push_back(std::move(stage.changes()));
    return true;
  };
  const auto normalize = [&]() -> absl::Status {
    cleaned::Stage stage(cleaned.text_);
    CM_RETURN_IF_ERROR(cleaned::NormalizeInto(cleaned.text_, &stage));
    keep(stage);
    return absl::OkStatus();
  };
  const auto apply = [&](void (*fill)(std::string_view, cleaned::Stage*)) {
    cleaned::Stage stage(cleaned.text_);
    fill(cleaned.text_, &stage);
    return keep(stage);
  };
  apply(cleaned::RepairInto);
  CM_RETURN_IF_ERROR(normalize());
  if (apply(cleaned::RemoveUnseenInto)) CM_RETURN_IF_ERROR(normalize());
  if (apply(cleaned::UnifyWordsInto)) CM_RETURN_IF_ERROR(normalize());
  return cleaned;
}

}  // namespace countermark
