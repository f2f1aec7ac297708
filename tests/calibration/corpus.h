// Unmarked text as token ids, by kind: what null passages are cut from.
//
//   CM_ASSIGN_OR_RETURN(std::vector<Kind> corpus, LoadCorpus(folder, *tokenizer));
//
// The kinds are the files of corpus/ (see its README) and three made from them: two that a served model's texts are full of, "loops", pieces of 3 to 60 tokens said 4 to 40 times over,
// and "chat", paragraphs between the turn marks of a chat template; and one that only an adversary would write, "patchwork", random walks over a handful of tokens.
#ifndef COUNTERMARK_TESTS_CALIBRATION_CORPUS_H_
#define COUNTERMARK_TESTS_CALIBRATION_CORPUS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/tokenize/tokenizer.h"

namespace countermark::calibration {

struct Kind {
  std::string name;
  std::vector<uint32_t> ids;
};

// NotFound or the tokenizer's error; the same ids at every call.
absl::StatusOr<std::vector<Kind>> LoadCorpus(const std::string& folder, const Tokenizer& tokenizer);

}  // namespace countermark::calibration

#endif  // COUNTERMARK_TESTS_CALIBRATION_CORPUS_H_
