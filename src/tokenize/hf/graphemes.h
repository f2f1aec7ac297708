// Where an extended grapheme cluster ends (Unicode Annex 29), by ICU's character properties; what joins and what prepends by unicode_tables.h.
#ifndef COUNTERMARK_SRC_TOKENIZE_HF_GRAPHEMES_H_
#define COUNTERMARK_SRC_TOKENIZE_HF_GRAPHEMES_H_

#include <cstddef>
#include <string_view>

namespace countermark::hf {

// The end of the cluster that begins at `begin`, which is less than the text's size.
size_t GraphemeEnd(std::string_view text, size_t begin);

}  // namespace countermark::hf

#endif  // COUNTERMARK_SRC_TOKENIZE_HF_GRAPHEMES_H_
