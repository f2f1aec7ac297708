#include "src/tokenize/span_walker.h"

#include <algorithm>
#include <cstring>

#include "src/tokenize/utf8_repair.h"

namespace countermark {
namespace {

// How far a lost walk looks: into the text, and along the tokens.
constexpr size_t kBytesAhead = 64;
constexpr size_t kTokensAhead = 8;

// A place in the rewritten text. `part` bytes of the U+2581 at `at` (or of the one put before it, while `prefix`) are used up.
struct Cursor {
  size_t at = 0;
  uint8_t part = 0;
  bool prefix = false;
};

class Walker {
 public:
  Walker(std::string_view text, const RewriteRules& rules) : text_(text), escape_(rules.escape_spaces), dummy_prefix_(rules.dummy_prefix) {}

  // Moves *cursor over `bytes` if they stand there; else leaves it.
  bool Match(std::string_view bytes, Cursor* cursor) const {
    if (!escape_) {
      if (bytes.size() > text_.size() - cursor->at || std::memcmp(text_.data() + cursor->at, bytes.data(), bytes.size()) != 0) return false;
      cursor->at += bytes.size();
      return true;
    }
    Cursor c = *cursor;
    for (char byte : bytes) {
      char expected;
      if (c.prefix) {
        expected = kBlockMark[c.part];
        if (++c.part == kBlockMark.size()) c = {c.at, 0, false};
      } else if (c.at == text_.size()) {
        return false;
      } else if (text_[c.at] == ' ') {
        expected = kBlockMark[c.part];
        if (++c.part == kBlockMark.size()) c = {c.at + 1, 0, false};
      } else {
        expected = text_[c.at++];
      }
      if (byte != expected) return false;
    }
    *cursor = c;
    return true;
  }

  // The same for a token of the table, with what its kind means for a space before it or after it.
  bool MatchToken(std::string_view bytes, TokenTable::Kind kind, Cursor* cursor) const {
    if (kind == TokenTable::kUnknown) return false;
    if (kind == TokenTable::kRaw) {
      Cursor c = *cursor;
      if (c.prefix && c.part == 0) c.prefix = false;  // the text goes on with this token, so no space was put here
      if (!Match(bytes, &c)) return false;
      c.prefix = dummy_prefix_;
      *cursor = c;
      return true;
    }
    if (Match(bytes, cursor)) return true;
    if (!cursor->prefix || cursor->part != 0) return false;
    Cursor c = {cursor->at, 0, false};
    if (!Match(bytes, &c)) return false;
    *cursor = c;
    return true;
  }

 private:
  std::string_view text_;
  bool escape_;
  bool dummy_prefix_;
};

size_t CodePoints(std::string_view bytes) {
  return static_cast<size_t>(std::count_if(bytes.begin(), bytes.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

size_t AdvanceCodePoints(std::string_view text, size_t at, size_t count) {
  while (count > 0 && at < text.size()) {
    ++at;
    while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) ++at;
    --count;
  }
  return at;
}

// Token k does not stand at the cursor: the nearest place where it, or one of those after it, does.
struct Found {
  bool found = false;
  size_t tokens = 0;  // tokens passed over
  size_t at = 0;
};

Found FindAgain(const Walker& walker, std::string_view text, std::span<const uint32_t> ids, size_t k, const TokenTable& table, size_t at) {
  Found best;
  size_t best_cost = kBytesAhead + kTokensAhead + 1;
  for (size_t tokens = 0; tokens <= kTokensAhead && k + tokens < ids.size() && tokens < best_cost; ++tokens) {
    const uint32_t id = ids[k + tokens];
    for (size_t gap = 0; gap <= kBytesAhead && at + gap < text.size() && tokens + gap < best_cost; ++gap) {
      Cursor c = {at + gap, 0, false};
      if (!walker.MatchToken(table.bytes(id), table.kind(id), &c)) continue;
      // One byte alone proves little: the token after it must stand there too.
      if (table.bytes(id).size() < 2 && k + tokens + 1 < ids.size()) {
        const uint32_t next = ids[k + tokens + 1];
        if (!walker.MatchToken(table.bytes(next), table.kind(next), &c)) continue;
      }
      best_cost = tokens + gap;
      best = {true, tokens, at + gap};
      break;
    }
  }
  return best;
}

// Where the first of two tokens passed over ends in text[begin, end): before the white space that the second begins with, else after as many
// characters as it has.
size_t ShareOfGap(std::string_view text, size_t begin, size_t end, std::string_view first, std::string_view second) {
  if (second.substr(0, kBlockMark.size()) == kBlockMark || second.substr(0, 1) == " ") {
    for (size_t at = begin + 1; at < end; ++at) {
      if (text[at] == ' ' || text.substr(at, kBlockMark.size()) == kBlockMark) return at;
    }
  }
  return std::min(end, AdvanceCodePoints(text, begin, CodePoints(first)));
}

}  // namespace

void TokenTable::Add(std::string_view bytes, Kind kind) {
  bytes_.append(bytes);
  begin_.push_back(bytes_.size());
  kind_.push_back(kind);
}

std::string EscapeSpaces(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    if (c == ' ') {
      out.append(kBlockMark);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

void WalkSpans(std::string_view original, std::span<const uint32_t> ids, const TokenTable& table, const RewriteRules& rules,
               std::vector<ByteSpan>* spans) {
  spans->resize(ids.size());
  if (ids.empty()) return;
  const RepairedText repaired = rules.replace_invalid ? RepairUtf8(original) : RepairedText{};
  const std::string_view text = repaired.changed ? std::string_view(repaired.text) : original;

  const Walker walker(text, rules);
  Cursor cursor = {0, 0, rules.dummy_prefix};
  const auto bytes_of = [&](size_t k) { return table.bytes(ids[k]); };
  size_t begin = 0;
  for (size_t k = 0; k < ids.size(); ++k) {
    const std::string_view bytes = bytes_of(k);
    if (!walker.MatchToken(bytes, table.kind(ids[k]), &cursor)) {
      const size_t at = cursor.at;
      const Found again = FindAgain(walker, text, ids, k, table, at);
      cursor = {again.at, 0, false};
      if (!again.found) {
        // Rewritten past recognition: character for character is the best guess there is.
        cursor.at = AdvanceCodePoints(text, at, std::max<size_t>(1, CodePoints(bytes)));
      } else if (again.tokens == 0) {
        walker.MatchToken(bytes, table.kind(ids[k]), &cursor);
      } else {
        for (size_t passed = 1; passed <= again.tokens; ++passed) {
          const size_t end = passed == again.tokens ? again.at : ShareOfGap(text, begin, again.at, bytes_of(k), bytes_of(k + 1));
          (*spans)[k++] = {begin, end};
          begin = end;
        }
        --k;
        continue;
      }
    }
    (*spans)[k] = {begin, cursor.at};
    begin = cursor.at;
  }
  spans->back().end = text.size();
  if (!repaired.changed) return;
  for (ByteSpan& span : *spans) span = {repaired.source[span.begin], repaired.source[span.end]};
}

}  // namespace countermark
