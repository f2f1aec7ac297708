#include "src/tokenize/hf/cutting.h"

#include <algorithm>

#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {

std::optional<Behavior> BehaviorOf(std::string_view name) {
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  return std::nullopt;
}

void CutAtMatches(size_t size, const std::vector<Match>& matches, bool invert, Behavior behavior, std::vector<Pieces::Cut>* cuts) {
  struct Part {
    size_t begin, end;
    bool match;
  };
  std::vector<Part> parts;
  const bool whole = behavior == Behavior::kIsolated;  // every part is kept, match or not
  size_t last = 0;
  const auto add = [&](size_t begin, size_t end, bool match) {
    if (whole) {
      cuts->push_back({.begin = begin, .end = end});
    } else {
      parts.push_back({begin, end, match != invert});
    }
  };
  for (const Match& match : matches) {
    if (last != match.begin) add(last, match.begin, false);
    add(match.begin, match.end, true);
    last = match.end;
  }
  if (last != size) add(last, size, false);
  if (whole) return;

  if (behavior == Behavior::kRemoved) {
    for (const Part& part : parts) {
      if (!part.match) cuts->push_back({.begin = part.begin, .end = part.end});
    }
    return;
  }
  // normalizer.rs, split(): a part is joined to the one before (for MergedWithNext, seen from the end) by its own rule.
  const bool backward = behavior == Behavior::kMergedWithNext;
  if (backward) std::reverse(parts.begin(), parts.end());
  const size_t first = cuts->size();
  bool previous = false;
  for (const Part& part : parts) {
    const bool joins = behavior == Behavior::kContiguous ? part.match == previous : part.match && !previous;
    if (joins && cuts->size() > first) {
      if (backward) {
        cuts->back().begin = part.begin;
      } else {
        cuts->back().end = part.end;
      }
    } else {
      cuts->push_back({.begin = part.begin, .end = part.end});
    }
    previous = part.match;
  }
  if (backward) std::reverse(cuts->begin() + static_cast<ptrdiff_t>(first), cuts->end());
}

std::vector<Match> MatchCharacters(std::string_view text, const CodePointMap& map) {
  std::vector<Match> matches;
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharacterLength(text[at]);
    if (map[DecodeCharacter(text.data() + at)] != 0) matches.push_back({at, at + length});
    at += length;
  }
  return matches;
}

}  // namespace countermark::hf
