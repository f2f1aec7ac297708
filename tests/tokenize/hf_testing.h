// A small byte-level tokenizer.json in one's hand, for the tests of its reader.
#ifndef COUNTERMARK_TESTS_TOKENIZE_HF_TESTING_H_
#define COUNTERMARK_TESTS_TOKENIZE_HF_TESTING_H_

#include "src/tokenize/hf/byte_chars.h"
#include "src/tokenize/hf/hf_tokenizer.h"
#include "src/tokenize/hf/utf8.h"
#include "tests/tokenize/tokenize_testing.h"

namespace countermark {

inline std::string InByteChars(std::string_view bytes) {
  std::string text;
  for (char byte : bytes) hf::AppendCharacter(hf::ByteChar(static_cast<uint8_t>(byte)), &text);
  return text;
}

// Bytes 0–255 are their own ids, then one token a merge from 256 on; GPT-2's words.
inline nlohmann::json ByteLevelFile(const std::vector<std::pair<std::string, std::string>>& merges) {
  nlohmann::json vocabulary = nlohmann::json::object(), pairs = nlohmann::json::array();
  for (int byte = 0; byte < 256; ++byte) vocabulary[InByteChars(std::string(1, static_cast<char>(byte)))] = byte;
  int next = 256;
  for (const auto& [left, right] : merges) {
    vocabulary[InByteChars(left + right)] = next++;
    pairs.push_back({InByteChars(left), InByteChars(right)});
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", nlohmann::json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
          {"model", {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr}, {"end_of_word_suffix", nullptr},
                     {"fuse_unk", false}, {"byte_fallback", false}, {"ignore_merges", false}, {"vocab", vocabulary}, {"merges", pairs}}}};
}

inline nlohmann::json Added(int id, const std::string& text, bool special) {
  return {{"id", id}, {"content", text}, {"single_word", false}, {"lstrip", false}, {"rstrip", false}, {"normalized", false}, {"special", special}};
}

inline std::unique_ptr<hf::HfTokenizer> MustParse(const nlohmann::json& file) {
  auto tokenizer = hf::HfTokenizer::Parse(file.dump(), "");
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.status();
    return nullptr;
  }
  return *std::move(tokenizer);
}

}  // namespace countermark

#endif  // COUNTERMARK_TESTS_TOKENIZE_HF_TESTING_H_
