// The four Unicode normal forms as changes of a text, of the Unicode version that tokenizers' own library knows (unicode-normalization-alignments 0.1.12).
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_NORMAL_FORMS_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_NORMAL_FORMS_H_

#include <string_view>
#include <vector>

#include "src/tokenize/hf/pieces.h"

namespace countermark::hf {

struct NormalForm {
  bool compatible = false;  // NFKD, NFKC
  bool composed = false;    // NFC, NFKC
};

// The characters of the normal form, each with the change it is, as that library's iterators say it.
std::vector<Change> Normalize(std::string_view text, NormalForm form);

// True only if the text is in the form already and every change is 0; may be false where that is so.
bool IsPlainlyNormal(std::string_view text, NormalForm form);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_NORMAL_FORMS_H_
