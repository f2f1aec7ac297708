// What the tokenizer tests share: where models and vectors are, and what any spans must satisfy.
#ifndef COUNTERMARK_TESTS_TOKENIZE_TOKENIZE_TESTING_H_
#define COUNTERMARK_TESTS_TOKENIZE_TOKENIZE_TESTING_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "countermark/tokenize/tokenizer.h"

namespace countermark {

inline std::string ModelPath(const std::string& name) { return std::string(COUNTERMARK_CACHE_DIR) + "/models/" + name; }
inline std::string VocabularyPath(const std::string& name) {
  return std::string(COUNTERMARK_CACHE_DIR) + "/llama-0.3.36/share/vocab/ggml-vocab-" + name + ".gguf";
}

// Fails the test, with what to do, if the file cannot be opened as a tokenizer.
inline std::unique_ptr<Tokenizer> MustOpen(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    ADD_FAILURE() << path << " is missing; run tools/setup";
    return nullptr;
  }
  auto tokenizer = OpenTokenizer(path);
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.status();
    return nullptr;
  }
  return *std::move(tokenizer);
}

inline std::string ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  EXPECT_TRUE(file.good()) << path;
  return std::move(content).str();
}

inline nlohmann::json ReadVectors(const std::string& name) { return nlohmann::json::parse(ReadBytes(std::string(COUNTERMARK_TEST_VECTORS) + "/" + name)); }

inline std::string Unhex(const std::string& digits) {
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) bytes.push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  return bytes;
}

inline std::string Unbase64(const std::string& text) {
  std::string bytes;
  uint32_t bits = 0;
  int held = 0;
  for (char c : text) {
    const size_t digit = std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/").find(c);
    if (digit == std::string_view::npos) break;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    held += 6;
    if (held >= 8) bytes.push_back(static_cast<char>(bits >> (held -= 8)));
  }
  return bytes;
}

// A folder of its own for a test, gone with it, and one file in it.
class TemporaryFile {
 public:
  TemporaryFile() {
    folder_ = ::testing::TempDir() + "/tokenize-XXXXXX";
    if (mkdtemp(folder_.data()) == nullptr) ADD_FAILURE() << "no temporary folder";
  }
  ~TemporaryFile() { std::filesystem::remove_all(folder_); }
  std::string Write(std::string_view content) const {
    const std::string path = folder_ + "/file";
    std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
    return path;
  }
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};

inline std::string Shown(std::string_view text) { return nlohmann::json(std::string(text)).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace); }

// Spans tile the text: the first begins at 0, each where the one before ends, the last ends at the text's end.
inline ::testing::AssertionResult SpansTile(std::string_view text, const TokenizedText& tokenized) {
  if (tokenized.ids.size() != tokenized.spans.size()) return ::testing::AssertionFailure() << tokenized.ids.size() << " ids, " << tokenized.spans.size() << " spans";
  if (tokenized.ids.empty()) return ::testing::AssertionSuccess();
  uint64_t at = 0;
  for (size_t i = 0; i < tokenized.spans.size(); ++i) {
    const ByteSpan& span = tokenized.spans[i];
    if (span.begin != at || span.end < span.begin) {
      return ::testing::AssertionFailure() << "span " << i << " is [" << span.begin << ", " << span.end << ") after " << at << " in " << Shown(text);
    }
    at = span.end;
  }
  if (at != text.size()) return ::testing::AssertionFailure() << "spans end at " << at << " of " << text.size() << " in " << Shown(text);
  return ::testing::AssertionSuccess();
}

inline std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

// Random texts of valid UTF-8, of many scripts, the same for a seed. No NUL and no '<', which begins the names of user-defined tokens.
inline std::vector<std::string> RandomTexts(uint32_t seed, int count, int longest) {
  static const std::vector<std::string> kAlphabets[] = {
      {"a", "b", "e", "t", "s", "n", " ", " ", "the", "ing", "'", "."},
      {"0", "1", "9", ".", ",", "-", "(", ")", " ", "\n", "\t", "\r\n", "x", "="},
      {"中", "文", "的", "是", "。", "あ", "い", "カ", "한", "국", " "},
      {"é", "ü", "ß", "İ", "ſ", "а", "б", "в", "ω", "ا", "ب", "न", "ไ", " "},
      {"😀", "👩", "\u200d", "\ufe0f", "🏽", "🇩", "🇪", " ", "a"},
      {"\u2581", " ", "\u00a0", "\u3000", "\u200b", "\ufeff", "a", "\n"},
      {"\x01", "\x7f", "\u0085", "\u2028", "e\u0301", "\ufffd", "\uffff", "\U0010ffff", "ﬁ", "Ａ"},
  };
  std::mt19937 random(seed);
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    std::string text;
    const int length = static_cast<int>(random() % static_cast<uint32_t>(longest)) + 1;
    for (int k = 0; k < length; ++k) {
      const auto& alphabet = kAlphabets[i % 8 == 7 ? random() % 7 : static_cast<uint32_t>(i % 8)];
      text += alphabet[random() % alphabet.size()];
    }
    texts.push_back(std::move(text));
  }
  return texts;
}

// Random bytes, heavy in what upsets tokenizers.
inline std::vector<std::string> RandomBytes(uint32_t seed, int count, int longest) {
  static constexpr uint8_t kHeavy[] = {0x20, 0x61, 0xE2, 0x96, 0x81, 0x00, 0xFF, 0xC0, 0xED, 0xA0, 0xF4, 0x90, 0x80, 0xEF, 0xBF, 0xBD, 0x0A};
  std::mt19937 random(seed);
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    std::string text(random() % static_cast<uint32_t>(longest) + 1, '\0');
    for (char& c : text) c = static_cast<char>(random() % 2 == 0 ? kHeavy[random() % sizeof(kHeavy)] : random() % 256);
    texts.push_back(std::move(text));
  }
  return texts;
}

}  // namespace countermark

#endif  // COUNTERMARK_TESTS_TOKENIZE_TOKENIZE_TESTING_H_
