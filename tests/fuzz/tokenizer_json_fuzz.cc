// libFuzzer target: any bytes as a tokenizer.json. It is refused with a reason, or it encodes: the spans must tile the text, the way by bytes and the
// way by pieces must agree, and the process must not end.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "src/tokenize/hf/hf_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using countermark::TokenizedText;
  const auto tokenizer = countermark::hf::HfTokenizer::Parse(std::string_view(reinterpret_cast<const char*>(data), size), "");
  if (!tokenizer.ok()) {
    if (tokenizer.status().message().empty()) std::abort();
    return 0;
  }
  // Short: an expression that backtracks without end is to be given up soon.
  static const std::string kTexts[] = {"ab the <s>", "\xEF\xAC\x81ne e\xCC\x81 \xE4\xB8\xAD\xFF.", " \n \xE2\x96\x81'S 12", std::string("\0x", 2), "\xE1\x84\x92\xE1\x85\xA1\xC2\xA9\xE2\x80\x8D"};
  TokenizedText out, pieces;
  for (const std::string& text : kTexts) {
    const bool encoded = (*tokenizer)->Encode(text, &out).ok();
    if (encoded != (*tokenizer)->Encode(text, {.plain_path = false}, &pieces).ok() || (encoded && out.ids != pieces.ids)) std::abort();
    if (out.ids.size() != out.spans.size()) std::abort();
    uint64_t at = 0;
    for (size_t i = 0; i < out.ids.size(); ++i) {
      if (out.spans[i].begin != at || out.spans[i].end < at || out.ids[i] >= (*tokenizer)->vocabulary()) std::abort();
      at = out.spans[i].end;
    }
    if (!out.ids.empty() && at != text.size()) std::abort();
    (*tokenizer)->Decode(out.ids);
  }
  return 0;
}
