#include <algorithm>
#include <utility>

#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/backends.h"
#include "src/tokenize/sentencepiece_model.h"

namespace countermark {
namespace {

constexpr size_t kMaxModelBytes = size_t{256} << 20;  // the largest in use have 5 MB

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceModel> model, std::string sha256) : model_(std::move(model)), sha256_(std::move(sha256)) {}

  absl::Status Encode(std::string_view text, TokenizedText* out) const override {
    out->ids.clear();
    out->spans.clear();
    CM_RETURN_IF_ERROR(CheckTextLength(text.size()));
    std::vector<uint32_t> ends;
    const std::string error = model_->Encode(text, &out->ids, &ends);
    if (!error.empty()) return absl::InternalError(Cat("SentencePiece could not encode a text of ", text.size(), " bytes: ", error));
    SpansOf(out->ids, ends, text.size(), &out->spans);
    return absl::OkStatus();
  }

  std::string Decode(std::span<const uint32_t> ids) const override { return model_->Decode(ids); }
  uint32_t vocabulary() const override { return model_->size(); }
  const std::string& sha256() const override { return sha256_; }
  std::string_view kind() const override { return "sentencepiece"; }

 private:
  // The library's own spans, with two things set right: white space that the model drops belongs to the piece after it (at the end:
  // before it), so that the spans cover the text; and a character that stands unchanged in its byte pieces is one byte a piece, where the
  // library gives the whole of it to the last.
  void SpansOf(const std::vector<uint32_t>& ids, const std::vector<uint32_t>& ends, uint64_t size, std::vector<ByteSpan>* spans) const {
    spans->resize(ids.size());
    uint64_t at = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      const uint64_t end = std::max(at, std::min<uint64_t>(ends[i], size));
      (*spans)[i] = {at, end};
      at = end;
    }
    if (!ids.empty()) spans->back().end = size;
    for (size_t i = 0; i < ids.size();) {
      if (!model_->IsByte(ids[i])) {
        ++i;
        continue;
      }
      size_t last = i;  // the first piece from i on that has bytes ends the character
      while (last + 1 < ids.size() && (*spans)[last].begin == (*spans)[last].end && model_->IsByte(ids[last + 1])) ++last;
      const ByteSpan character = (*spans)[last];
      if (character.end - character.begin == last - i + 1) {
        for (size_t k = i; k <= last; ++k) (*spans)[k] = {character.begin + (k - i), character.begin + (k - i) + 1};
      }
      i = last + 1;
    }
  }

  std::unique_ptr<SentencePieceModel> model_;
  std::string sha256_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenSentencePiece(const std::string& path, std::string sha256) {
  CM_ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(path, kMaxModelBytes));
  auto model = std::make_unique<SentencePieceModel>();
  const std::string error = model->Load(content);
  if (!error.empty()) {
    return absl::DataLossError(Cat("'", path, "' is neither a GGUF file nor a SentencePiece model that can be read: ", error));
  }
  return std::make_unique<SentencePieceTokenizer>(std::move(model), std::move(sha256));
}

}  // namespace countermark
