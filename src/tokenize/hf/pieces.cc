#include "src/tokenize/hf/pieces.h"

#include <algorithm>

namespace countermark::hf {
namespace {

absl::Status Fails() {
  return absl::InternalError("the tokenizers library itself fails on this text: a rewriting rule goes past its end");
}

}  // namespace

void AppendIdentity(std::string_view text, uint32_t origin, std::vector<Origin>* origins) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharacterLength(text[at]);
    const uint32_t begin = origin + static_cast<uint32_t>(at);
    for (size_t k = 0; k < length; ++k) origins->push_back({begin, begin + static_cast<uint32_t>(length)});
    at += length;
  }
}

Rewriter::Rewriter(std::string_view text, std::span<const Origin> origins, Origin original) : original_(original) { now_.Append(text, origins); }

// The part of the text that stands for the original: in all but freak cases all of it (convert_offsets of Range::Original(..)).
absl::Status Rewriter::Transform(std::span<const Change> changes, size_t dropped) {
  if (original_.begin == original_.end) return TransformRange(0, 0, changes, dropped);
  size_t begin = 0, end = 0;
  bool has_begin = false, has_end = false;
  for (size_t i = 0; i < now_.origins.size() && original_.end >= now_.origins[i].end; ++i) {
    const Origin& origin = now_.origins[i];
    if (!has_begin && original_.begin <= origin.begin && origin.begin != origin.end) {
      has_begin = true;
      begin = i;
    }
    has_end = true;
    end = i + 1;
  }
  if (!has_begin && !has_end) return absl::OkStatus();
  if (!has_begin) begin = end;
  return TransformRange(begin, end, changes, dropped);
}

absl::Status Rewriter::TransformRange(size_t begin, size_t end, std::span<const Change> changes, size_t dropped) {
  if (begin > end || (begin < now_.text.size() && IsContinuation(now_.text[begin])) || (end < now_.text.size() && IsContinuation(now_.text[end]))) return Fails();
  size_t replaced = begin;  // the next character to be replaced, within the range
  const auto next_length = [&]() -> size_t {
    if (replaced >= end) return 0;
    const size_t length = CharacterLength(now_.text[replaced]);
    replaced += length;
    return length;
  };
  size_t offset = begin;
  for (size_t i = 0; i < dropped; ++i) offset += next_length();

  AlignedText made;
  made.text.reserve(end - begin + 16);
  made.origins.reserve(end - begin + 16);
  for (const Change& change : changes) {
    Origin origin;
    if (change.change > 0) {
      if (offset >= 1) {
        if (offset - 1 >= now_.origins.size()) return Fails();
        origin = now_.origins[offset - 1];
      } else {
        origin = {original_.begin, original_.begin};
      }
    } else {
      if (offset >= now_.origins.size()) return Fails();
      origin = now_.origins[offset];
      offset += next_length();
    }
    for (int i = change.change; i < 0; ++i) offset += next_length();
    AppendCharacter(change.character, &made.text);
    made.origins.resize(made.text.size(), origin);
  }
  if (begin == 0 && end == now_.text.size()) {
    now_ = std::move(made);
    return absl::OkStatus();
  }
  now_.text.replace(begin, end - begin, made.text);
  const auto at = now_.origins.erase(now_.origins.begin() + static_cast<ptrdiff_t>(begin), now_.origins.begin() + static_cast<ptrdiff_t>(end));
  now_.origins.insert(at, made.origins.begin(), made.origins.end());
  return absl::OkStatus();
}

absl::Status Rewriter::Prepend(std::string_view text) {
  if (now_.text.empty()) return absl::OkStatus();
  std::vector<Change> changes;
  for (char32_t c : Decode(text)) changes.push_back({c, changes.empty() ? 0 : 1});
  changes.push_back({DecodeCharacter(now_.text.data()), 1});
  return TransformRange(0, CharacterLength(now_.text[0]), changes, 0);
}

void Rewriter::Replace(std::span<const std::pair<size_t, size_t>> ranges, std::string_view content) {
  if (ranges.empty()) return;
  AlignedText made;
  made.text.reserve(now_.text.size());
  made.origins.reserve(now_.text.size());
  size_t last = 0;
  const std::string_view text = now_.text;
  for (const auto& [begin, end] : ranges) {
    made.Append(text.substr(last, begin - last), std::span(now_.origins).subspan(last, begin - last));
    made.text.append(content);
    made.origins.resize(made.text.size(), end >= 1 ? now_.origins[end - 1] : Origin{original_.begin, original_.begin});
    last = end;
  }
  made.Append(text.substr(last), std::span(now_.origins).subspan(last));
  now_ = std::move(made);
}

Pieces::Pieces(std::string_view text, uint32_t origin) {
  aligned_.text.assign(text);
  aligned_.origins.reserve(text.size());
  AppendIdentity(text, origin, &aligned_.origins);
  pieces_.push_back({.begin = 0, .end = text.size(), .original = {origin, origin + static_cast<uint32_t>(text.size())}});
}

Origin Pieces::OriginalOf(const Piece& of, size_t begin, size_t end) const {
  return {aligned_.origins[of.begin + begin].begin, aligned_.origins[of.begin + end - 1].end};
}

}  // namespace countermark::hf
