// The ways in which a record's text becomes tokens: a view of the text by a tokenizer. Each is tested on its own, and all are counted.
#ifndef COUNTERMARK_TOOLS_DETECT_READING_H_
#define COUNTERMARK_TOOLS_DETECT_READING_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "countermark/detect/detector.h"
#include "countermark/tokenize/tokenizer.h"
#include "tools/detect/passages.h"

namespace countermark::detect_tool {

struct Reading {
  bool cleaned = false;                  // tokenize/cleaned_text.h; else the text as it stands
  bool ids = false;                      // token ids are given, and taken as they are; a prompt may be text
  const Tokenizer* tokenizer = nullptr;  // null where none was given
  bool of_epoch = true;                  // its ids are the epoch's, as far as is known; another tokenizer's may be beyond the epoch's vocabulary
  std::string name;                      // for people: "raw", "cleaned", "raw, tokenizer 2"

  std::string_view view() const { return cleaned ? "cleaned" : "raw"; }
  std::string sha256() const { return ids || tokenizer == nullptr ? std::string() : tokenizer->sha256(); }
};

// A record in one reading.
struct ReadRecord {
  std::vector<uint32_t> ids;
  std::vector<uint32_t> prompt_ids;
  std::vector<ByteSpan> spans;  // of each id in the original text, where they were asked for
  DetectionResult result;
  std::optional<std::vector<Passage>> passages;  // where they are looked for
  std::vector<double> nats;                      // of each id, where weights are asked for
  std::optional<WeightedResult> weighted;        // the same
};

// The ids of a text, and where each stands in it, whatever the view; `spans` may be null. `tokens`: memory that is used again.
absl::Status ReadText(const Reading& reading, std::string_view text, TokenizedText* tokens, std::vector<uint32_t>* ids, std::vector<ByteSpan>* spans);

// The smallest of the values that are not yet corrected for the run: of channels, and of accounts after Holm.
double MostExtreme(const DetectionResult& result);
// The same with passages and weights.
double MostExtreme(const ReadRecord& record);

// The reading that says most, the first of equals. There is at least one.
template <typename T>
size_t Foremost(const std::vector<T>& readings) {
  size_t best = 0;
  for (size_t i = 1; i < readings.size(); ++i) {
    if (MostExtreme(readings[i]) < MostExtreme(readings[best])) best = i;
  }
  return best;
}

// What several readings of one text come to: marked where one is, each having passed its own part of alpha.
RecordVerdict Together(RecordVerdict a, RecordVerdict b);

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_READING_H_
