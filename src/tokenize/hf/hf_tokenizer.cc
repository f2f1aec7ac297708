#include "src/tokenize/hf/hf_tokenizer.h"

#include <algorithm>
#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/backends.h"
#include "src/tokenize/hf/byte_chars.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

constexpr size_t kMostCaches = 64;

}  // namespace

// What comes out, in the order of the text. A span runs from where the last ended to the token's cut.
struct HfTokenizer::Output {
  TokenizedText* tokens;
  std::vector<ByteSpan>* offsets;  // may be nullptr
  uint64_t end = 0;

  void Put(uint32_t id, uint64_t cut) {
    tokens->ids.push_back(id);
    const uint64_t to = std::max(end, cut);
    tokens->spans.push_back({end, to});
    end = to;
  }
};

absl::StatusOr<std::unique_ptr<HfTokenizer>> HfTokenizer::Parse(std::string_view bytes, std::string sha256) {
  CM_ASSIGN_OR_RETURN(const Json json, ParseJson(bytes));
  auto tokenizer = std::make_unique<HfTokenizer>();
  tokenizer->sha256_ = std::move(sha256);
  Fields fields(json, "");
  if (const std::string version = fields.String("version", "1.0"); version != "1.0") fields.Fail(Unknown("/version", Cat("'", version, "' is not known")));
  if (const Json* truncation = fields.Optional("truncation")) CM_RETURN_IF_ERROR(CheckTruncation(*truncation, "/truncation"));
  if (const Json* padding = fields.Optional("padding")) CM_RETURN_IF_ERROR(CheckPadding(*padding, "/padding"));
  if (const Json* post = fields.Optional("post_processor")) CM_RETURN_IF_ERROR(CheckPostProcessor(*post, "/post_processor"));
  const Json& model = fields.Any("model");
  const Json* added = fields.Optional("added_tokens");
  const Json* normalizer = fields.Optional("normalizer");
  const Json* pre_tokenizer = fields.Optional("pre_tokenizer");
  const Json* decoder = fields.Optional("decoder");
  CM_RETURN_IF_ERROR(fields.Done());
  if (normalizer != nullptr) {
    CM_ASSIGN_OR_RETURN(tokenizer->normalizer_, ReadNormalizer(*normalizer, "/normalizer"));
  }
  if (pre_tokenizer != nullptr) CM_RETURN_IF_ERROR(ReadPreTokenizers(*pre_tokenizer, "/pre_tokenizer", &tokenizer->pre_tokenizers_));
  if (decoder != nullptr) {
    CM_ASSIGN_OR_RETURN(tokenizer->decoder_, ReadDecoder(*decoder, "/decoder"));
  }
  CM_ASSIGN_OR_RETURN(tokenizer->model_, ReadModel(model, "/model"));
  CM_ASSIGN_OR_RETURN(tokenizer->added_, AddedTokens::Read(added == nullptr ? Json() : *added, "/added_tokens", *tokenizer->model_, tokenizer->normalizer_.get()));
  tokenizer->ids_ = std::max(tokenizer->model_->vocabulary().ids(), tokenizer->added_.ids());
  if (tokenizer->ids_ == 0) return Broken("/model/vocab", "has no token");
  tokenizer->PlanBytes();
  return tokenizer;
}

// Words can be cut from the text and looked up as bytes if all but the last pre-tokenizer only cut and the last is GPT-2's.
void HfTokenizer::PlanBytes() {
  for (const auto& part : pre_tokenizers_) {
    const auto* byte_level = dynamic_cast<const ByteLevelPreTokenizer*>(part.get());
    prefix_space_ = prefix_space_ || (byte_level != nullptr && byte_level->add_prefix_space());
  }
  if (pre_tokenizers_.empty() || model_->bpe() == nullptr || !model_->bpe()->byte_level() || prefix_space_) return;
  for (const auto& part : pre_tokenizers_) {
    const auto* byte_level = dynamic_cast<const ByteLevelPreTokenizer*>(part.get());
    const auto* cutter = byte_level != nullptr ? byte_level->words() : dynamic_cast<const Cutter*>(part.get());
    const bool last = part == pre_tokenizers_.back();
    if ((byte_level != nullptr) != last || (byte_level == nullptr && cutter == nullptr)) {
      word_cutters_.clear();
      return;
    }
    if (cutter != nullptr) word_cutters_.push_back(cutter);
  }
  by_bytes_ = model_->bpe();
}

absl::Status HfTokenizer::Encode(std::string_view text, const Options& options, TokenizedText* out) const {
  out->ids.clear();
  out->spans.clear();
  if (options.offsets != nullptr) options.offsets->clear();
  CM_RETURN_IF_ERROR(CheckTextLength(text.size()));
  const ValidText valid = MakeValid(text);
  Output output{.tokens = out, .offsets = options.offsets};
  if (const absl::Status status = EncodeValid(valid.changed ? valid.text : text, options, &output); !status.ok()) {
    out->ids.clear();
    out->spans.clear();
    return status;
  }
  if (out->ids.empty()) return absl::OkStatus();
  out->spans.back().end = valid.changed ? valid.text.size() : text.size();
  if (!valid.changed) return absl::OkStatus();
  // Back to the bytes as they came. Of several tokens of one U+FFFD put in, the last has what stood there.
  const auto back = [&](uint64_t at) { return valid.source[at]; };
  for (ByteSpan& span : out->spans) span = {back(span.begin), back(span.end)};
  if (options.offsets != nullptr) {
    for (ByteSpan& span : *options.offsets) span = {back(span.begin), back(span.end)};
  }
  return absl::OkStatus();
}

absl::Status HfTokenizer::EncodeValid(std::string_view text, const Options& options, Output* out) const {
  if (text.empty()) return absl::OkStatus();
  if (!added_.Any(/*normalized=*/false)) return EncodeStretch(text, 0, text.size(), options, out);
  std::vector<Pieces::Cut> cuts;
  added_.Find(text, /*normalized=*/false, options.special_as_text, &cuts);
  for (const Pieces::Cut& cut : cuts) {
    if (cut.token < 0) {
      CM_RETURN_IF_ERROR(EncodeStretch(text, cut.begin, cut.end, options, out));
      continue;
    }
    if (cut.begin >= cut.end) continue;
    out->Put(static_cast<uint32_t>(cut.token), cut.end);
    if (out->offsets != nullptr) out->offsets->push_back({cut.begin, cut.end});
  }
  return absl::OkStatus();
}

absl::Status HfTokenizer::EncodeStretch(std::string_view text, size_t begin, size_t end, const Options& options, Output* out) const {
  if (by_bytes_ == nullptr || !options.plain_path) return EncodePieces(text, begin, end, options, out);
  const std::string_view stretch = text.substr(begin, end - begin);
  if (normalizer_ != nullptr && !normalizer_->Keeps(stretch)) return EncodePieces(text, begin, end, options, out);
  if (!added_.Any(/*normalized=*/true)) return EncodeByBytes(text, begin, end, out);
  std::vector<Pieces::Cut> cuts;
  added_.Find(stretch, /*normalized=*/true, options.special_as_text, &cuts);
  for (const Pieces::Cut& cut : cuts) {
    if (cut.token < 0) {
      CM_RETURN_IF_ERROR(EncodeByBytes(text, begin + cut.begin, begin + cut.end, out));
      continue;
    }
    if (cut.begin >= cut.end) continue;
    out->Put(static_cast<uint32_t>(cut.token), begin + cut.end);
    if (out->offsets != nullptr) out->offsets->push_back({begin + cut.begin, begin + cut.end});
  }
  return absl::OkStatus();
}

absl::Status HfTokenizer::EncodeByBytes(std::string_view text, size_t begin, size_t end, Output* out) const {
  std::vector<Pieces::Cut> words = {{.begin = begin, .end = end}}, next, cuts;
  for (const Cutter* cutter : word_cutters_) {
    next.clear();
    for (const Pieces::Cut& word : words) {
      cuts.clear();
      CM_RETURN_IF_ERROR(cutter->Cut(text.substr(word.begin, word.end - word.begin), &cuts));
      for (const Pieces::Cut& cut : cuts) {
        if (cut.begin < cut.end) next.push_back({.begin = word.begin + cut.begin, .end = word.begin + cut.end});
      }
    }
    words.swap(next);
  }
  std::unique_ptr<WordCache> cache = TakeCache();
  std::vector<uint32_t> merged;
  for (const Pieces::Cut& word : words) {
    const std::string_view bytes = text.substr(word.begin, word.end - word.begin);
    std::span<const uint32_t> ids;
    if (bytes.size() > WordCache::kLongestWord) {
      by_bytes_->TokenizeBytes(bytes, &merged);
      ids = merged;
    } else {
      const uint64_t hash = HashBytes(bytes);
      ids = cache->Find(bytes, hash);
      if (ids.empty()) {
        by_bytes_->TokenizeBytes(bytes, &merged);
        cache->Put(bytes, hash, merged);
        ids = merged;
      }
    }
    uint64_t at = word.begin;
    for (uint32_t id : ids) {
      const uint64_t from = at;
      at += by_bytes_->TokenBytes(id);
      out->Put(id, at);
      if (out->offsets == nullptr) continue;
      // The library gives whole characters.
      ByteSpan whole{from, at};
      while (IsContinuation(text[whole.begin])) --whole.begin;
      while (whole.end < text.size() && IsContinuation(text[whole.end])) ++whole.end;
      out->offsets->push_back(whole);
    }
  }
  GiveCache(std::move(cache));
  return absl::OkStatus();
}

namespace {

// Where the token after byte `cut` of a piece begins in the original. Inside what one part of the original became: at the byte that the cut
// stands for, if the part stands unchanged or as GPT-2's alphabet has it, else at the part's beginning, so that the last token of it has all.
uint64_t CutInOriginal(const AlignedText& aligned, const Piece& piece, size_t cut, std::string_view original) {
  if (cut == 0) return piece.original.begin;
  const size_t at = piece.begin + cut;
  const Origin& before = aligned.origins[at - 1];
  if (at >= aligned.origins.size() || !(aligned.origins[at] == before)) return before.end;
  size_t first = at - 1, last = at;  // what that part became may go on in the pieces beside
  while (first > 0 && aligned.origins[first - 1] == before) --first;
  while (last < aligned.origins.size() && aligned.origins[last] == before) ++last;
  const std::string_view part = std::string_view(aligned.text).substr(first, last - first), source = original.substr(before.begin, before.end - before.begin);
  if (part == source) return before.begin + (at - first);
  const std::optional<std::string> bytes = BytesOf(part);
  if (!bytes.has_value() || *bytes != source) return before.begin;
  const std::string_view head = part.substr(0, at - first);
  return before.begin + static_cast<uint64_t>(std::count_if(head.begin(), head.end(), [](char c) { return !IsContinuation(c); }));
}

}  // namespace

absl::Status HfTokenizer::EncodePieces(std::string_view text, size_t begin, size_t end, const Options& options, Output* out) const {
  if (begin == end) return absl::OkStatus();
  Pieces pieces(text.substr(begin, end - begin), static_cast<uint32_t>(begin));
  if (normalizer_ != nullptr) {
    CM_RETURN_IF_ERROR(pieces.RewriteAll([this](Rewriter* rewriter) { return normalizer_->Apply(rewriter); }, /*drop_empty=*/true));
  }
  CM_RETURN_IF_ERROR(pieces.CutAll([&](std::string_view piece, const Piece&, std::vector<Pieces::Cut>* cuts) {
    added_.Find(piece, /*normalized=*/true, options.special_as_text, cuts);
    return absl::OkStatus();
  }));
  for (const auto& part : pre_tokenizers_) CM_RETURN_IF_ERROR(part->Apply(&pieces));

  std::vector<ModelToken> tokens;
  const std::vector<Origin>& origins = pieces.aligned().origins;
  for (const Piece& piece : pieces.pieces()) {
    if (piece.begin == piece.end) continue;
    tokens.clear();
    if (piece.token >= 0) {
      const size_t size = piece.end - piece.begin;
      tokens.push_back({static_cast<uint32_t>(piece.token), 0, size, size});
    } else {
      CM_RETURN_IF_ERROR(model_->Tokenize(pieces.Text(piece), &tokens));
    }
    for (const ModelToken& token : tokens) {
      const size_t size = piece.end - piece.begin;
      out->Put(token.id, CutInOriginal(pieces.aligned(), piece, std::min(token.cut, size), text));
      if (out->offsets == nullptr) continue;
      if (token.end > size) {  // bytes of an end_of_word_suffix: past the word, where the library gives what it counted
        out->offsets->push_back({token.begin, token.end});
      } else {
        out->offsets->push_back({origins[piece.begin + token.begin].begin, origins[piece.begin + token.end - 1].end});
      }
    }
  }
  return absl::OkStatus();
}

std::string HfTokenizer::Decode(std::span<const uint32_t> ids) const {
  std::vector<std::string> tokens;
  for (uint32_t id : ids) {
    const AddedToken* added = added_.Get(id);
    if (added == nullptr && !model_->vocabulary().Has(id)) continue;
    std::string text(added != nullptr ? std::string_view(added->normalized) : model_->vocabulary().Text(id));
    if (!added_.IsSpecial(text)) tokens.push_back(std::move(text));
  }
  std::string text;
  if (tokens.empty()) return text;
  if (decoder_ != nullptr) {
    decoder_->Apply(&tokens);
    for (const std::string& token : tokens) text += token;
  } else {
    for (const std::string& token : tokens) text += (text.empty() ? "" : " ") + token;
  }
  if (prefix_space_ && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::unique_ptr<WordCache> HfTokenizer::TakeCache() const {
  {
    const std::lock_guard<std::mutex> lock(caches_mutex_);
    if (!caches_.empty()) {
      std::unique_ptr<WordCache> cache = std::move(caches_.back());
      caches_.pop_back();
      return cache;
    }
  }
  return std::make_unique<WordCache>();
}

void HfTokenizer::GiveCache(std::unique_ptr<WordCache> cache) const {
  const std::lock_guard<std::mutex> lock(caches_mutex_);
  if (caches_.size() < kMostCaches) caches_.push_back(std::move(cache));
}

}  // namespace countermark::hf
