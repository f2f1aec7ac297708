// What becomes of the matches of a pattern when a text is cut at them ("behavior").
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_CUTTING_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_CUTTING_H_

#include <optional>
#include <string_view>
#include <vector>

#include "src/tokenize/hf/code_points.h"
#include "src/tokenize/hf/pieces.h"
#include "src/tokenize/hf/regex.h"

namespace countermark::hf {

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

std::optional<Behavior> BehaviorOf(std::string_view name);  // as tokenizer.json spells it

// Appends the ranges of a text of `size` bytes cut at its matches; inverted: at what is between them.
void CutAtMatches(size_t size, const std::vector<Match>& matches, bool invert, Behavior behavior, std::vector<Pieces::Cut>* cuts);

// Every character for which the map is not 0 is a match.
std::vector<Match> MatchCharacters(std::string_view text, const CodePointMap& map);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_CUTTING_H_
