// Encodes records for the comparison with the `tokenizers` package (hf_oracle.py).
//
//   hf_encode TOKENIZER.json [--text-special] [--pieces] < RECORDS > RESULTS
//
// A record is its size in bytes (32 bits, little-endian) and a text. A result is the number of tokens (32 bits; 0xFFFFFFFF: an error), then for
// each its id and the first and last-but-one byte that the package's offsets would say (3 × 32 bits). With --pieces nothing is encoded by bytes.
// The spans of every result are checked here: they must tile the text. With --time N all records are read first and encoded N times as a detector
// does it, and what comes out is the processor's seconds of each time, a line each.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/file.h"
#include "src/tokenize/hf/hf_tokenizer.h"

namespace {

bool Read(void* into, size_t size) { return std::fread(into, 1, size, stdin) == size; }

bool Tiles(std::string_view text, const countermark::TokenizedText& out) {
  uint64_t at = 0;
  for (const countermark::ByteSpan& span : out.spans) {
    if (span.begin != at || span.end < at) return false;
    at = span.end;
  }
  return out.spans.size() == out.ids.size() && (out.ids.empty() || at == text.size());
}

}  // namespace

int main(int argc, char** argv) {
  countermark::hf::HfTokenizer::Options options{.special_as_text = false};
  int rounds = 0;
  for (int i = 2; i < argc; ++i) {
    if (std::strcmp(argv[i], "--text-special") == 0) options.special_as_text = true;
    if (std::strcmp(argv[i], "--pieces") == 0) options.plain_path = false;
    if (std::strcmp(argv[i], "--time") == 0 && i + 1 < argc) rounds = std::atoi(argv[++i]);
  }
  const auto json = countermark::ReadWholeFile(argc > 1 ? argv[1] : "", size_t{1} << 28);
  if (!json.ok()) {
    std::fprintf(stderr, "%s\n", std::string(json.status().message()).c_str());
    return 2;
  }
  const auto tokenizer = countermark::hf::HfTokenizer::Parse(*json, "");
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", std::string(tokenizer.status().message()).c_str());
    return 2;
  }
  std::string text;
  countermark::TokenizedText out;
  if (rounds > 0) {
    std::vector<std::string> texts;
    for (uint32_t size; Read(&size, sizeof size);) {
      text.resize(size);
      if (!Read(text.data(), size)) return 2;
      texts.push_back(text);
    }
    for (; rounds > 0; --rounds) {
      const std::clock_t start = std::clock();
      for (const std::string& one : texts) {
        if (!(*tokenizer)->Encode(one, &out).ok()) return 2;
      }
      std::printf("%.6f\n", static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    return 0;
  }
  std::vector<countermark::ByteSpan> offsets;
  std::vector<uint32_t> result;
  options.offsets = &offsets;
  for (uint32_t size; Read(&size, sizeof size);) {
    text.resize(size);
    if (!Read(text.data(), size)) return 2;
    const absl::Status status = (*tokenizer)->Encode(text, options, &out);
    result.assign(1, status.ok() ? static_cast<uint32_t>(out.ids.size()) : UINT32_MAX);
    if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    for (size_t i = 0; i < out.ids.size(); ++i) {
      result.insert(result.end(), {out.ids[i], static_cast<uint32_t>(offsets[i].begin), static_cast<uint32_t>(offsets[i].end)});
    }
    if (!Tiles(text, out)) {
      std::fprintf(stderr, "the spans do not tile a text of %u bytes\n", size);
      return 3;
    }
    std::fwrite(result.data(), sizeof(uint32_t), result.size(), stdout);
  }
  std::fflush(stdout);
  return 0;
}
