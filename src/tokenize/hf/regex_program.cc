#include "src/tokenize/hf/regex_program.h"

#include <algorithm>
#include <map>

#include "src/base/strings.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

constexpr size_t kMostSets = 64;
constexpr size_t kMostEntries = 64;
constexpr int kMostSteps = 4096;
constexpr uint32_t kUnlimited = UINT32_MAX;
constexpr size_t kLeastBudget = 50'000'000, kBudgetPerByte = 200;  // ways tried and given up

bool CanBeEmpty(const RegexNode& node) {
  switch (node.kind) {
    case RegexNode::kSet:
      return false;
    case RegexNode::kConcat:
      return std::all_of(node.children.begin(), node.children.end(), CanBeEmpty);
    case RegexNode::kAlternate:
      return std::any_of(node.children.begin(), node.children.end(), CanBeEmpty);
    case RegexNode::kRepeat:
      return node.min == 0 || CanBeEmpty(node.children[0]);
    default:
      return true;
  }
}

}  // namespace

std::unique_ptr<RegexProgram> RegexProgram::Compile(const RegexNode& root) {
  std::unique_ptr<RegexProgram> program(new RegexProgram);
  std::vector<CodePointSet> sets;
  int room = kMostSteps;
  const bool several = root.kind == RegexNode::kAlternate && root.children.size() <= kMostEntries;
  for (size_t i = 0; i < (several ? root.children.size() : 1); ++i) {
    program->entries_.push_back(static_cast<uint32_t>(program->steps_.size()));
    if (!program->Emit(several ? root.children[i] : root, &sets, &room)) return nullptr;
    program->steps_.push_back({.op = Step::kMatch});
  }
  program->can_be_empty_ = CanBeEmpty(root);

  // Classes: characters in the same sets.
  std::vector<char32_t> edges = {0};
  for (const CodePointSet& set : sets) edges.insert(edges.end(), set.flips().begin(), set.flips().end());
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  std::map<uint64_t, uint8_t> classes;
  std::vector<std::pair<char32_t, uint8_t>> runs;
  for (char32_t edge : edges) {
    if (edge >= kCodePoints) break;
    uint64_t in = 0;
    for (size_t i = 0; i < sets.size(); ++i) in |= static_cast<uint64_t>(sets[i].Contains(edge)) << i;
    if (!classes.contains(in)) {
      if (classes.size() == 256) return nullptr;
      classes.emplace(in, static_cast<uint8_t>(program->sets_of_class_.size()));
      program->sets_of_class_.push_back(in);
    }
    runs.emplace_back(edge, classes[in]);
  }
  program->class_of_ = std::make_unique<CodePointMap>(runs);
  for (char32_t c = 0; c < 128; ++c) program->ascii_sets_[c] = program->sets_of_class_[(*program->class_of_)[c]];

  program->MarkSpans(sets);
  program->entries_of_class_.resize(program->sets_of_class_.size());
  for (size_t entry = 0; entry < program->entries_.size(); ++entry) {
    bool empty = false;
    const uint64_t first = program->FirstSets(program->entries_[entry], &empty, 0);
    if (empty) program->entries_of_nothing_ |= uint64_t{1} << entry;
    for (size_t i = 0; i < program->sets_of_class_.size(); ++i) {
      if (empty || (program->sets_of_class_[i] & first) != 0) program->entries_of_class_[i] |= uint64_t{1} << entry;
    }
  }
  return program;
}

uint8_t RegexProgram::SetBit(const CodePointSet& set, std::vector<CodePointSet>* sets) {
  const auto found = std::find(sets->begin(), sets->end(), set);
  const size_t bit = static_cast<size_t>(found - sets->begin());
  if (found == sets->end()) sets->push_back(set);
  return static_cast<uint8_t>(bit);
}

bool RegexProgram::Emit(const RegexNode& node, std::vector<CodePointSet>* sets, int* room) {
  if (--*room < 0) return false;
  switch (node.kind) {
    case RegexNode::kSet: {
      const uint8_t bit = SetBit(node.set, sets);
      steps_.push_back({.op = Step::kSpan, .flag = true, .bit = bit});
      return sets->size() <= kMostSets;
    }
    case RegexNode::kConcat:
      return std::all_of(node.children.begin(), node.children.end(), [&](const RegexNode& child) { return Emit(child, sets, room); });
    case RegexNode::kAlternate: {
      std::vector<size_t> jumps;
      for (size_t i = 0; i < node.children.size(); ++i) {
        const size_t split = steps_.size();
        if (i + 1 < node.children.size()) steps_.push_back({.op = Step::kSplit, .first = static_cast<uint32_t>(split + 1)});
        if (!Emit(node.children[i], sets, room)) return false;
        if (i + 1 == node.children.size()) break;
        jumps.push_back(steps_.size());
        steps_.push_back({.op = Step::kJump});
        steps_[split].second = static_cast<uint32_t>(steps_.size());
      }
      for (size_t jump : jumps) steps_[jump].first = static_cast<uint32_t>(steps_.size());
      return true;
    }
    case RegexNode::kRepeat:
      return EmitRepeat(node, sets, room);
    case RegexNode::kAhead: {
      const RegexNode& child = node.children[0];
      if (child.kind != RegexNode::kSet) return false;
      const uint8_t bit = SetBit(child.set, sets);
      steps_.push_back({.op = Step::kPeek, .flag = node.negated, .bit = bit});
      return sets->size() <= kMostSets;
    }
    default:
      return false;
  }
}

bool RegexProgram::EmitRepeat(const RegexNode& node, std::vector<CodePointSet>* sets, int* room) {
  const RegexNode& child = node.children[0];
  const uint32_t max = node.max == RegexNode::kUnlimited ? kUnlimited : static_cast<uint32_t>(node.max);
  if (child.kind == RegexNode::kSet) {
    const uint8_t bit = SetBit(child.set, sets);
    steps_.push_back({.op = Step::kSpan, .flag = node.greed == RegexNode::kPossessive, .lazy = node.greed == RegexNode::kLazy, .bit = bit,
                      .min = static_cast<uint32_t>(node.min), .max = max});
    return sets->size() <= kMostSets;
  }
  if (node.greed == RegexNode::kPossessive || CanBeEmpty(child)) return false;
  for (int i = 0; i < node.min; ++i) {
    if (!Emit(child, sets, room)) return false;
  }
  const auto split = [&] {
    steps_.push_back({.op = Step::kSplit});
    return steps_.size() - 1;
  };
  const auto aim = [&](size_t at, size_t body, size_t out) {
    steps_[at].first = static_cast<uint32_t>(node.greed == RegexNode::kLazy ? out : body);
    steps_[at].second = static_cast<uint32_t>(node.greed == RegexNode::kLazy ? body : out);
  };
  if (max == kUnlimited) {
    const size_t loop = split();
    if (!Emit(child, sets, room)) return false;
    steps_.push_back({.op = Step::kJump, .first = static_cast<uint32_t>(loop)});
    aim(loop, loop + 1, steps_.size());
    return true;
  }
  std::vector<size_t> splits;
  for (int i = node.min; i < node.max; ++i) {
    splits.push_back(split());
    if (!Emit(child, sets, room)) return false;
  }
  for (size_t at : splits) aim(at, at + 1, steps_.size());
  return true;
}

uint64_t RegexProgram::FirstSets(uint32_t at, bool* empty, int depth) const {
  if (depth > 200) {
    *empty = true;
    return ~uint64_t{0};
  }
  for (;;) {
    const Step& step = steps_[at];
    switch (step.op) {
      case Step::kMatch:
        *empty = true;
        return 0;
      case Step::kPeek:  // takes nothing: what follows may or may not
        *empty = true;
        return 0;
      case Step::kJump:
        at = step.first;
        continue;
      case Step::kSplit:
        return FirstSets(step.first, empty, depth + 1) | FirstSets(step.second, empty, depth + 1);
      case Step::kSpan:
        return uint64_t{1} << step.bit | (step.min == 0 ? FirstSets(at + 1, empty, depth + 1) : 0);
    }
  }
}

// A repeat need not give back what it took where the end follows, or only sets that share no character with its own.
void RegexProgram::MarkSpans(const std::vector<CodePointSet>& sets) {
  for (uint32_t at = 0; at < steps_.size(); ++at) {
    Step& step = steps_[at];
    if (step.op != Step::kSpan || step.lazy || step.min == step.max) continue;
    uint32_t next = at + 1;
    while (steps_[next].op == Step::kJump) next = steps_[next].first;
    if (steps_[next].op == Step::kMatch) {
      step.flag = true;
      continue;
    }
    bool empty = false;
    const uint64_t first = FirstSets(next, &empty, 0);
    if (empty) continue;
    bool shared = false;
    for (size_t i = 0; i < sets.size(); ++i) shared = shared || ((first >> i & 1) != 0 && !(sets[i] & sets[step.bit]).empty());
    if (!shared) step.flag = true;
  }
}

inline uint64_t RegexProgram::SetsOf(std::string_view text, size_t at, size_t* length) const {
  const uint8_t byte = static_cast<uint8_t>(text[at]);
  if (byte < 0x80) {
    *length = 1;
    return ascii_sets_[byte];
  }
  *length = CharacterLength(text[at]);
  return sets_of_class_[(*class_of_)[DecodeCharacter(text.data() + at)]];
}

bool RegexProgram::MatchAt(std::string_view text, size_t at, uint32_t pc, std::vector<Held>* held, size_t* end, size_t* budget) const {
  held->clear();
  for (;;) {
    const Step& step = steps_[pc];
    bool failed = false;
    switch (step.op) {
      case Step::kMatch:
        *end = at;
        return true;
      case Step::kJump:
        pc = step.first;
        break;
      case Step::kSplit:
        held->push_back({.step = step.second, .lazy = false, .low = at, .high = at, .bit = 0});
        pc = step.first;
        break;
      case Step::kPeek: {
        size_t length;
        const bool in = at < text.size() && (SetsOf(text, at, &length) >> step.bit & 1) != 0;
        failed = in == step.flag;
        ++pc;
        break;
      }
      case Step::kSpan: {
        uint32_t count = 0;
        size_t least = at, length;
        const uint32_t most = step.lazy ? step.min : step.max;
        while (count < most && at < text.size() && (SetsOf(text, at, &length) >> step.bit & 1) != 0) {
          at += length;
          if (++count == step.min) least = at;
        }
        failed = count < step.min;
        if (failed) break;
        ++pc;
        if (step.lazy) {
          if (step.max > step.min) held->push_back({.step = pc, .lazy = true, .low = at, .high = step.max == kUnlimited ? SIZE_MAX : step.max - step.min, .bit = step.bit});
        } else if (!step.flag && at > least) {
          held->push_back({.step = pc, .lazy = false, .low = least, .high = at, .bit = 0});
        }
        break;
      }
    }
    while (failed) {
      if (held->empty() || *budget == 0) return false;
      --*budget;
      Held& last = held->back();
      pc = last.step;
      if (last.lazy) {  // one more, while there are
        size_t length;
        if (last.high == 0 || last.low >= text.size() || (SetsOf(text, last.low, &length) >> last.bit & 1) == 0) {
          held->pop_back();
          continue;
        }
        at = last.low += length;
        if (last.high != SIZE_MAX) --last.high;
      } else if (last.low == last.high) {  // the other way of a split
        at = last.low;
        held->pop_back();
      } else {  // one fewer
        do {
          --last.high;
        } while (IsContinuation(text[last.high]));
        at = last.high;
        if (last.high == last.low) held->pop_back();
      }
      failed = false;
    }
  }
}

absl::Status RegexProgram::FindAll(std::string_view text, std::vector<Match>* matches) const {
  matches->clear();
  std::vector<Held> held;
  size_t budget = kLeastBudget + kBudgetPerByte * text.size();
  size_t last_end = SIZE_MAX;  // no match yet
  for (size_t at = 0; at <= text.size();) {
    uint64_t entries = entries_of_nothing_;
    size_t length = 1;
    if (at < text.size()) {
      const uint8_t byte = static_cast<uint8_t>(text[at]);
      length = CharacterLength(text[at]);
      entries = entries_of_class_[(*class_of_)[byte < 0x80 ? byte : DecodeCharacter(text.data() + at)]];
    }
    bool found = false;
    size_t end = at;
    for (; entries != 0 && !found; entries &= entries - 1) found = MatchAt(text, at, entries_[static_cast<size_t>(__builtin_ctzll(entries))], &held, &end, &budget);
    if (budget == 0) return absl::ResourceExhaustedError(Cat("a regular expression finds no end in a text of ", text.size(), " bytes"));
    if (!found || (end == at && last_end == at)) {
      at += length;
      continue;
    }
    matches->push_back({at, end});
    last_end = at = end;
  }
  return absl::OkStatus();
}

}  // namespace countermark::hf
