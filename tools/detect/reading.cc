#include "tools/detect/reading.h"

#include <algorithm>

#include "countermark/tokenize/cleaned_text.h"
#include "src/base/status_macros.h"
#include "tools/detect/weights.h"

namespace countermark::detect_tool {

absl::Status ReadText(const Reading& reading, std::string_view text, TokenizedText* tokens, std::vector<uint32_t>* ids, std::vector<ByteSpan>* spans) {
  if (reading.tokenizer == nullptr) return absl::InvalidArgumentError("this is text, and no --tokenizer was given");
  std::optional<CleanedText> cleaned;
  if (reading.cleaned) {
    CM_ASSIGN_OR_RETURN(cleaned, CleanText(text));
    text = cleaned->text();
  }
  CM_RETURN_IF_ERROR(reading.tokenizer->Encode(text, tokens));
  ids->assign(tokens->ids.begin(), tokens->ids.end());
  if (spans == nullptr) return absl::OkStatus();
  spans->assign(tokens->spans.begin(), tokens->spans.end());
  if (cleaned && cleaned->changed()) {
    for (ByteSpan& span : *spans) span = cleaned->Original(span);
  }
  return absl::OkStatus();
}

double MostExtreme(const DetectionResult& result) {
  double best = 0;
  for (const ChannelTest& test : result.channels) best = std::min(best, test.log10_p);
  for (const AccountTest& test : result.accounts) best = std::min(best, test.log10_p_adjusted);
  return best;
}

double MostExtreme(const ReadRecord& record) {
  double best = MostExtreme(record.result);
  if (record.passages) {
    for (const Passage& passage : *record.passages) best = std::min(best, passage.placed.region.log10_p_adjusted);
  }
  if (record.weighted) best = std::min(best, MostExtreme(*record.weighted));
  return best;
}

RecordVerdict Together(RecordVerdict a, RecordVerdict b) {
  for (const RecordVerdict verdict : {RecordVerdict::kMarked, RecordVerdict::kUncorrected, RecordVerdict::kNoEvidence}) {
    if (a == verdict || b == verdict) return verdict;
  }
  return RecordVerdict::kInconclusive;
}

}  // namespace countermark::detect_tool
