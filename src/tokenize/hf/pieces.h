// A text on its way through a tokenizer: rewritten, cut into pieces, and for every byte the bytes of the original that it came from.
//
//   Pieces pieces(text);                                       // one piece, as it is
//   CM_RETURN_IF_ERROR(pieces.Rewrite(0, changes, 0));         // …
//   pieces.Cut(cuts);                                          // several pieces of one
//
// The same bookkeeping as tokenizers' NormalizedString and PreTokenizedString (normalizer.rs, pre_tokenizer.rs), whose results are to be met byte for byte, also
// where they are odd. Offsets are into the original from its beginning, not from the piece's.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_PIECES_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_PIECES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {

struct Origin {
  uint32_t begin = 0, end = 0;
  bool operator==(const Origin&) const = default;
};

// A character written in the place of others: change 0 replaces one, 1 is added and replaces none, −n replaces one and drops n more after it.
struct Change {
  char32_t character;
  int change;
};

// Text with the origin of every byte, of which pieces are ranges.
struct AlignedText {
  std::string text;
  std::vector<Origin> origins;  // one a byte

  void Append(std::string_view bytes, std::span<const Origin> from) {
    text.append(bytes);
    origins.insert(origins.end(), from.begin(), from.end());
  }
};

struct Piece {
  size_t begin = 0, end = 0;   // in the aligned text
  Origin original = {};        // the original's part that the piece stands for
  int64_t token = -1;          // an added token, done
};

// One piece while it is rewritten.
class Rewriter {
 public:
  Rewriter(std::string_view text, std::span<const Origin> origins, Origin original);

  std::string_view text() const { return now_.text; }
  const AlignedText& aligned() const { return now_; }
  Origin original() const { return original_; }

  // transform(): the whole text becomes these characters, after the first `dropped` have been dropped.
  absl::Status Transform(std::span<const Change> changes, size_t dropped);
  absl::Status Prepend(std::string_view text);
  // filter(), map()
  template <typename Keep>
  absl::Status Filter(Keep keep);
  template <typename To>
  absl::Status Map(To to);
  // replace(): every range becomes `content`, whose bytes have the origin of the byte before the range's end.
  void Replace(std::span<const std::pair<size_t, size_t>> ranges, std::string_view content);

 private:
  absl::Status TransformRange(size_t begin, size_t end, std::span<const Change> changes, size_t dropped);

  AlignedText now_;
  Origin original_;
};

class Pieces {
 public:
  Pieces(std::string_view text, uint32_t origin);  // the text stands at `origin` in the original

  std::vector<Piece>& pieces() { return pieces_; }
  const AlignedText& aligned() const { return aligned_; }
  std::string_view Text(const Piece& piece) const { return std::string_view(aligned_.text).substr(piece.begin, piece.end - piece.begin); }

  // Rewrites every piece that is no token yet; what becomes empty goes if `drop_empty`.
  template <typename Rule>  // absl::Status(Rewriter*)
  absl::Status RewriteAll(Rule rule, bool drop_empty);

  // Cuts every piece that is no token yet: the rule appends ranges within the piece's text; empty ones go.
  struct Cut {
    size_t begin = 0, end = 0;
    int64_t token = -1;
  };
  template <typename Rule>  // absl::Status(std::string_view text, const Piece& piece, std::vector<Cut>* cuts)
  absl::Status CutAll(Rule rule);

 private:
  Origin OriginalOf(const Piece& of, size_t begin, size_t end) const;

  AlignedText aligned_;
  std::vector<Piece> pieces_;
};

// What each byte of valid text in its place comes from: its character.
void AppendIdentity(std::string_view text, uint32_t origin, std::vector<Origin>* origins);

// ---- the rest is the templates

template <typename Keep>
absl::Status Rewriter::Filter(Keep keep) {
  std::vector<Change> changes;
  int removed = 0;
  size_t dropped = 0;
  bool any = false;
  size_t length;
  for (size_t at = 0; at < now_.text.size(); at += length) {
    length = CharacterLength(now_.text[at]);
    const char32_t c = DecodeCharacter(now_.text.data() + at);
    if (!keep(c)) {
      ++removed;
      continue;
    }
    if (any) {
      changes.back().change = -removed;
    } else {
      dropped = static_cast<size_t>(removed);
    }
    any = true;
    changes.push_back({c, 0});
    removed = 0;
  }
  if (any) changes.back().change = -removed;
  return Transform(changes, dropped);
}

template <typename To>
absl::Status Rewriter::Map(To to) {
  std::vector<Change> changes;
  for (size_t at = 0; at < now_.text.size(); at += CharacterLength(now_.text[at])) changes.push_back({to(DecodeCharacter(now_.text.data() + at)), 0});
  return Transform(changes, 0);
}

template <typename Rule>
absl::Status Pieces::RewriteAll(Rule rule, bool drop_empty) {
  AlignedText next;
  std::vector<Piece> kept;
  for (Piece& piece : pieces_) {
    const std::span<const Origin> origins = std::span(aligned_.origins).subspan(piece.begin, piece.end - piece.begin);
    const size_t begin = next.text.size();
    if (piece.token >= 0) {
      next.Append(Text(piece), origins);
    } else {
      Rewriter rewriter(Text(piece), origins, piece.original);
      if (absl::Status status = rule(&rewriter); !status.ok()) return status;
      next.Append(rewriter.text(), rewriter.aligned().origins);
      if (drop_empty && rewriter.text().empty()) continue;
    }
    piece.begin = begin;
    piece.end = next.text.size();
    kept.push_back(piece);
  }
  aligned_ = std::move(next);
  pieces_ = std::move(kept);
  return absl::OkStatus();
}

template <typename Rule>
absl::Status Pieces::CutAll(Rule rule) {
  std::vector<Piece> kept;
  std::vector<Cut> cuts;
  for (const Piece& piece : pieces_) {
    if (piece.token >= 0) {
      kept.push_back(piece);
      continue;
    }
    cuts.clear();
    if (absl::Status status = rule(Text(piece), piece, &cuts); !status.ok()) return status;
    for (const Cut& cut : cuts) {
      if (cut.begin >= cut.end) continue;
      kept.push_back({.begin = piece.begin + cut.begin, .end = piece.begin + cut.end, .original = OriginalOf(piece, cut.begin, cut.end), .token = cut.token});
    }
  }
  pieces_ = std::move(kept);
  return absl::OkStatus();
}

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_PIECES_H_
